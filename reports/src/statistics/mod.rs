//! From timing samples to medians, fits and a summary of a sweep.
//!
//! Samples have two levels: independent processes (*rounds*), and evaluations within each. Processes differ from one
//! another by more than their own samples show (memory placement, page colours, other tenants), so an interval that
//! pools all samples is too narrow (Kalibera & Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).
//! [`bootstrap`] resamples both levels. [`order`] needs one process only; the harness stops sampling by it.

pub mod bootstrap;
pub mod diagnosis;
pub mod fit;
pub mod order;
pub(crate) mod random;
pub(crate) mod resample;
pub(crate) mod scatter;
pub(crate) mod states;
pub(crate) mod student;
mod summarize;
pub mod summary;

pub use bootstrap::{Processes, median_estimate, ratio, ratio_estimate};
pub use order::{median, median_interval, relative_half_width_of_median};
pub(crate) use student::NORMAL_975;
