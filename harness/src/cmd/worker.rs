//! `relgrad worker`: the hidden verb of a process that takes samples when asked.

use clap::Args;

use crate::cell::worker::{WorkerSpec, serve};
use crate::error::{Error, Result};

/// What to prepare.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The cell, as JSON
    spec: String,
}

/// Answers requests from standard input until it closes.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let spec: WorkerSpec = serde_json::from_str(&arguments.spec)
        .map_err(|cause| Error::Usage(format!("the cell is not described: {cause}")))?;
    serve(&spec).map_err(|cause| Error::Output(format!("the driver is gone: {cause}")))?;
    Ok(0)
}
