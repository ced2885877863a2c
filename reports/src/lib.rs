//! What relgrad measured and what follows from it.
//!
//! [`record`] owns the format of records and reads it back, [`statistics`] turns records into numbers, [`compare`] puts
//! two studies side by side, [`report`] and [`export`] write what people and programs read. The crate draws nothing
//! (that is `relgrad-plots`) and measures nothing (that is the `relgrad` program).

/// Tests of readers count the memory that they take.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;

pub mod compare;
pub mod export;
#[doc(hidden)]
pub mod fixture;
pub mod record;
pub mod report;
pub mod selftest;
pub mod statistics;
pub mod table;
pub mod units;

pub use compare::{baseline, history};
pub use record::{error, experiment, roofline, run, study, training, writer};
pub use statistics::{fit, summary};
