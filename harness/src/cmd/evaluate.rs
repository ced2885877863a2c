//! `relgrad evaluate`: the hidden verb that does nothing but evaluate.

use clap::Args;
use relgrad_kernels::evaluation::{self, Workload};
use relgrad_kernels::{Architecture, Dtype, Math, Method, cost};

use crate::error::{Error, Result};
use crate::machine::{self, gpu};

/// Evaluates the gradient of one cell again and again, for instruction counters and profilers
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// Method
    #[arg(long, default_value = "relative")]
    method: Method,
    /// Data dimension D
    #[arg(long, value_parser = super::count::<{ crate::measure::plan::dims::MAX_DIM }>)]
    dim: usize,
    /// Samples in a batch, N
    #[arg(long, default_value_t = 100, value_parser = super::count::<{ super::MAX_BATCH }>)]
    batch: usize,
    /// Layers of the network, L
    #[arg(long, default_value_t = 2, value_parser = super::count::<{ super::MAX_LAYERS }>)]
    layers: usize,
    /// Number type: f32 or f64
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// Arithmetic of products [default: that of --dtype]
    #[arg(long)]
    math: Option<Math>,
    /// CPU threads
    #[arg(long, default_value_t = 1, value_parser = super::count::<{ super::MAX_THREADS }>)]
    threads: usize,
    /// Evaluations
    #[arg(long, value_parser = super::count::<{ u32::MAX as usize }>)]
    count: usize,
}

/// Prepares the problem once and evaluates it `count` times, as a cell does: on a thread of a pool. Prints nothing.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let Arguments { method, dim, batch, layers, dtype, math, threads, count } = *arguments;
    let math = math.unwrap_or(Math::of(dtype));
    let architecture = Architecture::new(dim, layers);
    let cost = cost(method, &architecture, batch, dtype).map_err(|cause| Error::Usage(cause.to_string()))?;
    super::require_memory("this problem", cost.expected_bytes)?;
    super::warn_of_threads(threads);
    machine::require_math(math).map_err(gpu::told)?;
    let workload = Workload { threads, ..Workload::new(method, architecture, batch, dtype) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(super::no_threads)?;
    let evaluated = pool.install(|| {
        let mut evaluation = evaluation::prepare_in(math, &workload)?;
        (0..count).try_for_each(|_| evaluation.evaluate())
    });
    evaluated.map_err(|cause| Error::Usage(cause.to_string()))?;
    Ok(0)
}
