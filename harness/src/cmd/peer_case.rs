//! `relgrad peer-case`: the hidden verb that shows other implementations what to compute.

use clap::Args;
use relgrad_kernels::Dtype;

use crate::error::{Error, Result};
use crate::peer;

/// Prints a small network, a batch and the gradients of every method as JSON, to verify other implementations
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
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
    #[arg(long, default_value = "f64")]
    dtype: Dtype,

    /// Seed of the network and the batch
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Print the cost models alone, no numbers of the network
    #[arg(long)]
    models: bool,
}

/// Prints the case as one line of JSON.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    super::start_threads(None)?;
    let Arguments { dim, batch, layers, dtype, seed, models } = *arguments;
    let shape = peer::Shape { dim, batch, layers, dtype, seed };
    if !models {
        super::require_memory("this case", peer::expected_bytes(&shape))?;
    }
    let case = peer::case(&shape, !models).map_err(|cause| Error::Usage(cause.to_string()))?;
    super::print_json(&case)?;
    Ok(0)
}
