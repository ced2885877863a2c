//! `relgrad cell`: the hidden verb that a cell's process runs.

use clap::Args;

use crate::cell::{Spec, child};
use crate::console;
use crate::error::{Error, Result};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The cell and its rules, as JSON
    spec: String,
}

/// Prints the reply as one line; a cell that fails is a reply too.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let spec: Spec = serde_json::from_str(&arguments.spec)
        .map_err(|cause| Error::Usage(format!("the cell is not described: {cause}")))?;
    let reply = serde_json::to_string(&child::measure(&spec))
        .map_err(|cause| Error::Output(format!("the result cannot be printed: {cause}")))?;
    console::emit(&format!("{reply}\n"));
    Ok(0)
}
