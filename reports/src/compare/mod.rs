//! Whether something got worse: comparisons of two studies, verdicts, and what moved.
//!
//! [`Comparison::of`] puts two studies side by side; [`judge`](judge::judge) is the one place where a change becomes a
//! verdict; [`shift`](shift()) says whether an offset, a factor or the exponent moved; [`trials`] replays decisions to
//! count false alarms and missed slowdowns, and [`Calibration`] sums up what trials on a machine showed.

pub mod baseline;
mod calibration;
mod change;
mod comparison;
mod draft;
mod fault;
pub mod history;
mod judge;
mod location;
mod pooled;
mod rounds;
mod shift;
pub mod simulated;
mod text;
pub mod trials;

pub use calibration::{Calibration, CellCalibration, Counted, Trial};
pub use change::Change;
pub use comparison::{CellComparison, Comparison, Kind, Outcome, Quantity, SeriesComparison, Sides};
pub use fault::Fault;
pub use judge::{Limits, Rules, Verdict, judge, rounds_to_decide};
pub(crate) use rounds::OverKernels;
pub use rounds::log_ratio;
pub use shift::{Observed, Shift, exponent_change, shift};
