//! Measures the cost of the gradient of a log-likelihood with a Jacobian determinant, and trains models with it.
//!
//! The program `relgrad` is [`cmd::main`]. This library does the same from Rust.
//!
//! A sweep measures every method at every dimension. Each cell runs in a new process of the calling program.
//! `harness/examples/small_sweep.rs` is a complete program.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use relgrad_harness::Error;
//! use relgrad_harness::measure::{Sweep, serve_child};
//! use relgrad_kernels::Method;
//! use relgrad_reports::summary::Summary;
//!
//! fn main() -> Result<ExitCode, Error> {
//!     if let Some(code) = serve_child() {
//!         return Ok(code);
//!     }
//!     let mut sweep = Sweep::new(&[100, 200, 500, 1000], &[Method::Relative, Method::Ordinary]);
//!     sweep.settings.rounds = 5;
//!     let study = sweep.run("results/today")?;
//!     for series in Summary::of(&study).series {
//!         println!("{}: {:?}", series.method, series.fit.map(|fit| fit.exponent));
//!     }
//!     Ok(ExitCode::SUCCESS)
//! }
//! ```
//!
//! A comparison of two studies, cell by cell, reports regressions:
//!
//! ```no_run
//! use relgrad_harness::compare::{self, Invalid, Outcome, Rules};
//!
//! # fn main() -> Result<(), relgrad_harness::Error> {
//! let [base, new] = ["results/yesterday", "results/today"].map(|dir| compare::read(dir, Invalid::Refuse));
//! let comparison = compare::studies(&base?, &new?, &Rules { max_slowdown: 0.05, ..Rules::default() });
//! assert!(comparison.outcome != Outcome::Regression, "{}", comparison.table());
//! # Ok(())
//! # }
//! ```
//!
//! A training writes its model, checkpoints and log to a folder:
//!
//! ```no_run
//! use relgrad_harness::learn;
//!
//! # fn main() -> Result<(), relgrad_harness::Error> {
//! let mut settings = learn::settings("toy:moons")?;
//! (settings.epochs, settings.learning_rate) = (50, 0.01);
//! let training = learn::train(&settings, None, "trainings/moons")?;
//! println!("{:?}", training.outcome.map(|outcome| outcome.test));
//! # Ok(())
//! # }
//! ```

#[macro_use]
mod console;

mod cluster;
pub mod cmd;
pub mod compare;
mod data;
mod error;
mod experiment;
pub mod learn;
mod machine;
pub mod measure;
mod outputs;
mod paper;
mod quantity;
mod selftest;
mod train;
mod verify;

pub use error::{Error, Result};
use measure::run;

/// Tests of readers count the memory that they use.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;
