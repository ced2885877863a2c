//! `relgrad`: what the gradient of a log-determinant-of-the-Jacobian objective costs.
//!
//! A sweep goes through folders that name its stages: [`plan`] (axes to cells, their order and predicted cost), [`run`]
//! (one process per cell, a record of each at once), [`cell`] (what that process does), and then the report. [`cmd`] has
//! one file per verb. Learning has three folders of its own: [`data`], [`train`], and the [`experiment`]s made of them.
//! (one process per cell, a record of each at once), [`cell`] (what that process does), and then the report. [`gate`]
//! measures builds in turn and compares them. [`cmd`] has one file per verb.

mod cell;
mod cmd;
mod data;
mod error;
mod experiment;
mod gate;
mod machine;
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

fn main() -> ExitCode {
    match cmd::Cli::parse().run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("relgrad: {error}");
            ExitCode::from(error.code())
        }
    }
}
