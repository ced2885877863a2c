//! The ceilings of this machine: rates of arithmetic, bandwidth of memory, cost of a parallel region.
//!
//! Everything that the kernels have an operation for is measured through it, so that a ceiling is that of the engine
//! which the gradients use. Each count of threads has a thread pool of its own size, as a cell's process has.

pub(crate) mod operations;
mod streaming;
pub(crate) mod table;
mod timing;

use std::process::Command;
use std::time::{Duration, Instant};

use relgrad_kernels::{Cpu, Cuda, Math};
use relgrad_reports::record::Reason;
use relgrad_reports::roofline::Roofline;
use relgrad_reports::run::{Machine, Settings};
use serde::{Deserialize, Serialize};

use crate::cmd;
use crate::error::{Error, Result};
use crate::machine::gpu;
use crate::machine::load::Watch;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::run::interrupt::Events;
use crate::measure::run::process::{self, ChildLimits};
use crate::measure::run::{address_space, identity, keep_arithmetic};
use crate::measure::workload::{DeviceKind, with_dtype};
use operations::Sizes;
use timing::Effort;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) device: DeviceKind,
    /// Arithmetics that the device knows.
    pub(crate) maths: Vec<Math>,
    /// Counts of threads; on a GPU, of whose host nothing is measured, the last one is only noted.
    pub(crate) threads: Vec<usize>,
    pub(crate) batch: usize,
    pub(crate) quick: bool,
}

/// What `relgrad roofline --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// [`relgrad_reports::record::SCHEMA_VERSION`] of the writer.
    pub(crate) schema: u32,
    pub(crate) version: String,
    /// Git revision of the source, absent outside a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) git_revision: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) roofline: Roofline,
}

/// One device with what every measurement on it needs.
struct Bench<D> {
    device: D,
    threads: usize,
    batch: usize,
    sizes: Sizes,
    effort: Effort,
}

impl<D> Bench<D> {
    fn new(plan: &Plan, device: D, threads: usize) -> Self {
        Self {
            device,
            threads,
            batch: plan.batch,
            sizes: Sizes::of(plan.device, plan.quick),
            effort: if plan.quick { Effort::QUICK } else { Effort::FULL },
        }
    }
}

pub(crate) fn measure(plan: &Plan) -> Result<Roofline> {
    let (start, watch) = (Instant::now(), Watch::start());
    let mut roofline = Roofline {
        device: plan.device,
        quick: plan.quick,
        started: rfc3339(unix_seconds()),
        wall_seconds: 0.0,
        rates: Vec::new(),
        bandwidths: Vec::new(),
        regions: Vec::new(),
        state: None,
    };
    match plan.device {
        DeviceKind::Cpu => on_cpu(plan, &mut roofline)?,
        DeviceKind::Cuda => {
            let device = gpu::require().and_then(|()| gpu::open(Math::F32)).map_err(gpu::told)?;
            let threads = plan.threads.last().copied().unwrap_or(1);
            on_gpu(plan, &Bench::new(plan, device, threads), &mut roofline).map_err(cannot)?;
        }
    }
    roofline.wall_seconds = start.elapsed().as_secs_f64();
    let threads = plan.threads.iter().copied().max().filter(|_| plan.device == DeviceKind::Cpu);
    roofline.state = Some(watch.finish(threads.unwrap_or(1)));
    Ok(roofline)
}

fn cannot(cause: relgrad_kernels::Error) -> Error {
    Error::Usage(format!("cannot measure the ceilings: {cause}"))
}

fn on_cpu(plan: &Plan, roofline: &mut Roofline) -> Result<()> {
    let bytes = Sizes::of(plan.device, plan.quick).skinny_bytes(plan.batch);
    cmd::require_memory("a product of this --batch", bytes)?;
    for &threads in &plan.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(cmd::no_threads)?;
        let bench = Bench::new(plan, Cpu::new(threads), threads);
        pool.install(|| on_threads(plan, &bench, roofline)).map_err(cannot)?;
    }
    Ok(())
}

fn on_threads(plan: &Plan, bench: &Bench<Cpu>, roofline: &mut Roofline) -> relgrad_kernels::Result<()> {
    for &math in &plan.maths {
        let bench = Bench::new(plan, bench.device.with_math(math)?, bench.threads);
        roofline.rates.extend(with_dtype!(math.dtype(), T => operations::rates::<_, T>(&bench)?));
    }
    roofline.bandwidths.push(streaming::reading(bench)?);
    roofline.bandwidths.push(streaming::copying(bench)?);
    roofline.regions.push(streaming::region(bench)?);
    Ok(())
}

/// Reading alone has no operation there, and nothing is woken: a copy and the products are all.
fn on_gpu(plan: &Plan, bench: &Bench<Cuda>, roofline: &mut Roofline) -> relgrad_kernels::Result<()> {
    for &math in &plan.maths {
        let bench = Bench::new(plan, bench.device.with_math(math), bench.threads);
        roofline.rates.extend(with_dtype!(math.dtype(), T => operations::rates::<_, T>(&bench)?));
    }
    roofline.bandwidths.push(streaming::copying(bench)?);
    Ok(())
}

/// Time after which the process is killed; it takes some three seconds on a quiet machine, ten on a GPU.
const KILL_AFTER: Duration = Duration::from_secs(60);

/// Measures the ceilings that the cells of `settings` on one device need: those, or why they are not known; nothing
/// when a signal cut it off. Calls `tick` as [`process::run_watched`] does.
pub(crate) fn measure_isolated(
    device: DeviceKind,
    settings: &Settings,
    events: &mut Events,
    tick: impl FnMut(Duration) -> Option<Duration>,
) -> Result<Option<Result<Roofline, Reason>>> {
    let mut threads: Vec<usize> = [1].into_iter().chain(settings.thread_counts()).collect();
    threads.sort_unstable();
    threads.dedup();
    let list = threads.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let mut command = Command::new(identity::program()?);
    command.args(["roofline", "--quick", "--json", "--device", device.name()]);
    command.args(["--threads", &list, "--batch", &settings.batch.to_string()]);
    match settings.math {
        Some(_) => command.args(["--math", settings.arithmetic(device).name()]),
        None => command.args(["--dtype", settings.dtype.name()]),
    };
    keep_arithmetic(&mut command, settings.math);
    let address_space_bytes = address_space(device, settings.memory_limit_bytes, settings.most_threads());
    let limits = ChildLimits { address_space_bytes, kill_after: Some(KILL_AFTER * threads.len() as u32) };
    let reply = process::reply::<Output>(command, limits, events, tick);
    let reply = reply.map_err(|cause| Error::Output(format!("cannot start the process of the ceilings: {cause}")))?;
    Ok(reply.map(|reply| reply.map(|output| output.roofline)))
}
