//! What relgrad measured and what follows from it.
//!
//! This crate owns the record format ([`record`], [`run`]), reading it back, the statistics, the complexity fits and
//! the text of a report. It draws nothing (that is `relgrad-plots`) and measures nothing (that is the `relgrad`
//! program).

/// Tests of readers count the memory that they take.
#[cfg(test)]
#[global_allocator]
static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;

pub mod baseline;
mod contents;
pub mod error;
pub mod experiment;
pub mod export;
mod failure;
pub mod fit;
#[doc(hidden)]
pub mod fixture;
pub mod history;
mod log;
mod random;
pub mod record;
pub mod regress;
pub mod roofline;
pub mod run;
pub mod selftest;
pub mod stats;
pub mod study;
mod summarize;
pub mod summary;
pub mod training;
pub mod units;
mod validity;
pub mod writer;
