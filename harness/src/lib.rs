//! Measures what the gradient of a log-determinant-of-the-Jacobian objective costs, and trains models with it.
//!
//! The program `relgrad` is [`cmd::main`]; the same from Rust:
//!
//! A sweep measures every method at every dimension, each cell in a process of its own, which is the calling program
//! again. `harness/examples/small_sweep.rs` is a whole program.
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
//! Two studies are compared cell by cell, and the comparison says whether something got worse:
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
//! A training leaves its model, checkpoints and log in a folder:
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

pub mod cmd;
pub mod compare;
mod data;
mod error;
mod experiment;
pub mod learn;
mod machine;
pub mod measure;
mod outputs;
mod quantity;
mod selftest;
mod train;
mod verify;

pub use error::{Error, Result};
use measure::run;

/// Tests of readers count the memory that they take.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;
