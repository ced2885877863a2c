//! Records of measurements, their statistics and reports.
//!
//! * [`record`]: the format of records; writing and reading it.
//! * [`statistics`]: from records to numbers with intervals.
//! * [`compare`]: two studies next to each other, with verdicts. [`merge`]: those of several machines. [`atlas`]: a
//!   model of many machines, which predicts a further one.
//! * [`report`] and [`export`]: texts for people and files for programs.
//!
//! The crate does not draw (`relgrad-plots` does) or measure (`relgrad-harness` does).

/// Tests of readers count the memory that they use.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;

pub mod atlas;
pub mod compare;
pub mod export;
#[doc(hidden)]
pub mod fixture;
pub mod merge;
pub mod record;
pub mod report;
pub mod selftest;
pub mod statistics;
pub mod table;
pub mod units;

pub use compare::{baseline, history};
pub use record::{error, experiment, roofline, run, study, training, writer};
pub use statistics::{fit, summary};
