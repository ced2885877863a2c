//! placeholder
use clap::Args;
use crate::error::Result;
#[derive(Debug, Args)]
pub(crate) struct Arguments {}
pub(crate) fn run(_: &Arguments) -> Result<u8> { Ok(0) }
