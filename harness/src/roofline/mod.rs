//! The ceilings of this machine: rates of arithmetic, bandwidth of memory, cost of a parallel region.
//!
//! Everything that the kernels have an operation for is measured through it, so that a ceiling is that of the engine
//! which the gradients use. Each count of threads has a thread pool of its own size, as a cell's process has.

pub(crate) mod isolated;
mod operations;
mod streaming;
pub(crate) mod table;
mod timing;

use std::time::Instant;

use relgrad_kernels::{Cpu, Dtype};
use relgrad_reports::roofline::Roofline;
use relgrad_reports::run::Machine;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::machine::time::{rfc3339, unix_seconds};
use timing::Effort;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Number types.
    pub(crate) dtypes: Vec<Dtype>,
    /// Counts of threads.
    pub(crate) threads: Vec<usize>,
    /// Samples N of the skinny products.
    pub(crate) batch: usize,
    /// Fewer sizes, fewer and shorter samples.
    pub(crate) quick: bool,
}

/// What `relgrad roofline --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// [`relgrad_reports::record::SCHEMA_VERSION`] of the writer.
    pub(crate) schema: u32,
    /// Version of relgrad.
    pub(crate) version: String,
    /// Git revision of the source, absent outside a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) git_revision: Option<String>,
    /// The machine.
    pub(crate) machine: Machine,
    /// The ceilings.
    pub(crate) roofline: Roofline,
}

/// One device with what every measurement on it needs.
struct Bench {
    device: Cpu,
    batch: usize,
    quick: bool,
    effort: Effort,
}

/// Measures everything of `plan` in this process.
///
/// # Errors
/// When there is no memory for the arrays, or no thread can be started.
pub(crate) fn measure(plan: &Plan) -> Result<Roofline> {
    let start = Instant::now();
    let mut roofline = Roofline {
        device: "cpu".to_string(),
        quick: plan.quick,
        started: rfc3339(unix_seconds()),
        wall_seconds: 0.0,
        rates: Vec::new(),
        bandwidths: Vec::new(),
        regions: Vec::new(),
    };
    for &threads in &plan.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|cause| Error::Usage(format!("cannot start {threads} threads: {cause}")))?;
        let bench = Bench {
            device: Cpu::new(threads),
            batch: plan.batch,
            quick: plan.quick,
            effort: if plan.quick { Effort::QUICK } else { Effort::FULL },
        };
        let measured = pool.install(|| on_threads(&bench, &plan.dtypes, &mut roofline));
        measured.map_err(|cause| Error::Usage(format!("the ceilings cannot be measured: {cause}")))?;
    }
    roofline.wall_seconds = start.elapsed().as_secs_f64();
    Ok(roofline)
}

fn on_threads(bench: &Bench, dtypes: &[Dtype], roofline: &mut Roofline) -> relgrad_kernels::Result<()> {
    for dtype in dtypes {
        roofline.rates.extend(match dtype {
            Dtype::F32 => operations::rates::<f32>(bench)?,
            Dtype::F64 => operations::rates::<f64>(bench)?,
        });
    }
    roofline.bandwidths.extend(streaming::bandwidths(bench)?);
    roofline.regions.push(streaming::region(bench)?);
    Ok(())
}
