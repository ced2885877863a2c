//! `relgrad peer-case`: the hidden verb that shows other implementations what to compute.

use clap::Args;

use crate::error::{Error, Result};
use crate::peer;

/// Prints a small network, a batch and the gradients of every method as JSON, to verify other implementations
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    shape: peer::Shape,
    /// Print the cost models alone, no numbers of the network
    #[arg(long)]
    models: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    super::start_threads(None)?;
    let Arguments { shape, models } = arguments;
    if !models {
        super::require_memory("this case", peer::expected_bytes(shape))?;
    }
    super::print_json(&peer::case(shape, !models).map_err(|cause| Error::Usage(cause.to_string()))?)?;
    Ok(0)
}
