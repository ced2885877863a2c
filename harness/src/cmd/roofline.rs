//! `relgrad roofline`: the ceilings of this machine.

use clap::Args;
use relgrad_kernels::{Dtype, Math};
use relgrad_reports::record::SCHEMA_VERSION;

use crate::error::Result;
use crate::machine::{self, gpu};
use crate::measure::roofline::{self, Output, Plan, table};
use crate::measure::workload::DeviceKind;

const EXAMPLES: &str = "\
Examples:
  relgrad roofline                           f32 and f64, one thread and all, about half a minute
  relgrad roofline --quick --dtype f32       as a sweep does before its cells, a few seconds
  relgrad roofline --json > ceilings.json    with every raw sample
  relgrad roofline --math f32,bf16           a CPU with AVX512-BF16
  relgrad roofline --device cuda --math f32,tf32   the first NVIDIA GPU

Products and inverses use the operations of the gradients. Bandwidth is measured in arrays of 256 MiB. The parallel \
region is empty: it wakes every thread and waits for it. Measure on a quiet machine.
";

/// Measures this machine's ceilings: rates of products and inverses, memory bandwidth, cost of a parallel region
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Device to measure: cpu, or cuda (the first NVIDIA GPU)
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceKind,
    /// Number types, comma-separated
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "f32,f64")]
    dtype: Vec<Dtype>,
    /// Arithmetics of products, comma-separated: f32 and f64, tf32 on a GPU, bf16 on a CPU with AVX512-BF16 [default:
    /// those of --dtype]
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "dtype")]
    math: Vec<Math>,
    /// Counts of threads, comma-separated [default: 1 and all available]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::count::<{ super::MAX_THREADS }>)]
    threads: Vec<usize>,
    /// Samples in a batch, N, for the products of a D×D with a D×N matrix
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = super::count::<{ super::MAX_BATCH }>)]
    batch: usize,
    /// Fewer sizes, fewer and shorter samples
    #[arg(long)]
    quick: bool,
    /// Print all measurements and the machine as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let mut threads = arguments.threads.clone();
    if threads.is_empty() {
        threads = vec![1, machine::logical_cores()];
    }
    for math in &arguments.math {
        super::require_known(*math, &[arguments.device])?;
        if arguments.device == DeviceKind::Cpu {
            machine::require_math(*math).map_err(gpu::told)?;
        }
    }
    super::warn_of_threads(threads.iter().copied().max().unwrap_or(1));
    let of_dtypes: Vec<Math> = arguments.dtype.iter().map(|dtype| Math::of(*dtype)).collect();
    let plan = Plan {
        device: arguments.device,
        maths: super::distinct(if arguments.math.is_empty() { of_dtypes } else { arguments.math.clone() }),
        threads: super::distinct(threads),
        batch: arguments.batch,
        quick: arguments.quick,
    };
    let machine = machine::facts();
    let output = Output {
        schema: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").to_string(),
        git_revision: option_env!("RELGRAD_GIT_REVISION").map(str::to_string),
        machine,
        roofline: roofline::measure(&plan)?,
    };
    if arguments.json {
        super::print_json(&output)?;
    } else {
        say_text!("{}", table::table(&output));
    }
    Ok(0)
}
