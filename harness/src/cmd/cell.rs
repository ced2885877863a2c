//! `relgrad cell`: the hidden verb of a process that measures one cell.

use clap::Args;

use crate::error::{Error, Result};
use crate::measure::cell;

/// Measures one cell in this process (sweep, gate and calibrate start it)
#[derive(Debug, Args)]
#[command(hide = true, alias = "worker")]
pub(crate) struct Arguments {
    /// The cell and its rules, as JSON
    spec: String,
}

/// Prints replies as lines of JSON; a cell that fails is a reply too.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    super::start_threads(None)?;
    let spec = serde_json::from_str(&arguments.spec)
        .map_err(|cause| Error::Usage(format!("invalid description of a cell: {cause}")))?;
    cell::serve(&spec).map_err(|cause| Error::Output(format!("the result cannot be printed: {cause}")))?;
    Ok(0)
}
