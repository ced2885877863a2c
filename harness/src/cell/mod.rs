//! One measurement in a process of its own: what the driver asks, and what the child answers.
//!
//! The child gets a [`Spec`] as JSON on its command line and prints one [`Reply`] as a JSON line. Whatever else happens
//! to it (a signal, a panic, a missing reply) the driver turns into a failed record. A [`worker`] is a child that stays
//! and takes a sample whenever it is asked, so that several can be measured in turn.

mod calibration;
pub(crate) mod child;
mod gpu;
pub(crate) mod inject;
pub(crate) mod memory;
pub(crate) mod sampling;
pub(crate) mod worker;

use relgrad_reports::record::{Cell, Check, Gpu, MemoryPoint, Reason};
use serde::{Deserialize, Serialize};

/// What to measure, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The cell.
    pub(crate) cell: Cell,
    /// When to stop.
    pub(crate) rules: sampling::Rules,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub(crate) enum Reply {
    /// The gradient passed its check and was timed.
    Measured(Box<Measurement>),
    /// There is no valid measurement.
    Failed {
        /// Why.
        reason: Reason,
        /// The check, when it was reached.
        check: Option<Check>,
    },
}

/// What a child measured; the fields are those of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) seconds: Vec<f64>,
    pub(crate) evaluations_per_sample: u64,
    pub(crate) warmup_seconds: Vec<f64>,
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) memory_trace: Vec<MemoryPoint>,
    pub(crate) check: Check,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpu: Option<Gpu>,
}
