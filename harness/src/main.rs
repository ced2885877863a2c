//! `relgrad`: what the gradient of a log-determinant-of-the-Jacobian objective costs.
//!
//! A sweep goes through folders that name its stages: [`plan`] (axes to cells, their order and predicted cost), [`run`]
//! (one process per cell, a record of each at once), [`cell`] (what that process does), and then the report. [`cmd`] has
//! one file per verb. [`gate`] measures builds in turn and compares them. Learning has three folders of its own: [`data`],
//! [`train`], and the [`experiment`]s made of them. Everything is printed through [`console`].

#[macro_use]
mod console;

mod cell;
mod cmd;
mod data;
mod error;
mod experiment;
mod gate;
mod machine;
mod outputs;
mod peer;
mod plan;
mod roofline;
mod run;
mod selftest;
mod train;
mod units;
mod verify;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;

/// Tests of readers count the memory that they take.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;

fn main() -> ExitCode {
    let ended = cmd::Cli::parse().run();
    // What was measured is in its folder by now, whatever became of the words about it.
    let ended = ended.and_then(|code| match console::failure() {
        Some(cause) => Err(Error::Output(cause)),
        None => Ok(code),
    });
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            note!("relgrad: {error}");
            ExitCode::from(error.code())
        }
    }
}
