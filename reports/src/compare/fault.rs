//! What is wrong with a cell beyond its time: a wrong gradient, a failure, a leak, memory.

use serde::{Deserialize, Serialize};

use super::rounds::{self, Rounds};
use super::{Kind, Quantity, Rules, Verdict};
use crate::record::{Failure, Outcome as Ended, Reason, Record};
use crate::statistics::median;
use crate::statistics::summary::Estimate;

/// Bytes of peak memory that come and go with the allocator.
const MEMORY_SLACK_BYTES: f64 = 524_288.0;
/// Bytes gained while sampling from which memory is said to leak.
const LEAK_BYTES: f64 = 1_048_576.0;

/// What is wrong with a cell beyond its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// The gradient is wrong: the cell has no speed.
    WrongGradient {
        /// What the check said.
        reason: Reason,
    },
    /// The cell was measured before and fails now.
    Failed {
        /// What the record says.
        reason: Reason,
    },
    /// Memory grows with every evaluation.
    Leak {
        /// Bytes an evaluation.
        bytes_per_evaluation: f64,
    },
}

pub(super) fn fault(base: &Rounds<'_>, new: &Rounds<'_>, interleaved: bool) -> Option<Fault> {
    let reason = |record: &Record| record.reason.clone().unwrap_or_else(|| "no reason recorded".into());
    if let Some(record) = new.values().find(|r| r.check_failed() || says_wrong_gradient(r)) {
        return Some(Fault::WrongGradient { reason: reason(record) });
    }
    if !new.values().any(|r| rounds::is_valid(r)) {
        let failed = new.values().find(|r| r.outcome == Ended::Failed)?;
        return Some(Fault::Failed { reason: reason(failed) });
    }
    if !interleaved {
        return None;
    }
    let (bytes, evaluations) = gained(new)?;
    let before = gained(base).map_or(0.0, |(bytes, _)| bytes);
    let leaks = bytes > LEAK_BYTES && bytes > 2.0 * before;
    leaks.then(|| Fault::Leak { bytes_per_evaluation: bytes / evaluations })
}

/// A check whose error is not a number leaves only its reason in the record.
fn says_wrong_gradient(record: &Record) -> bool {
    record.outcome == Ended::Failed && record.failure() == Some(Failure::WrongGradient)
}

/// Bytes gained while sampling and the evaluations meanwhile, of the round that gained least.
fn gained(rounds: &Rounds<'_>) -> Option<(f64, f64)> {
    let of = |record: &&Record| {
        let (first, last) = (record.memory_trace.first()?, record.memory_trace.last()?);
        let evaluations = record.seconds.len() as f64 * record.evaluations_per_sample as f64;
        Some((last.bytes - first.bytes, evaluations.max(1.0)))
    };
    let valid = rounds.values().filter(|r| rounds::is_valid(r));
    valid.filter_map(of).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Peak memory has no noise worth an interval: it is the number of pages that the same allocations touch.
pub(super) fn memory(base: f64, new: f64, rules: &Rules) -> Quantity {
    let verdict = if new > base * (1.0 + rules.max_growth) + MEMORY_SLACK_BYTES {
        Verdict::Worse
    } else if base > new * (1.0 + rules.max_growth) + MEMORY_SLACK_BYTES {
        Verdict::Better
    } else {
        Verdict::Same
    };
    let change = Estimate::exact(new / base);
    Quantity { kind: Kind::PeakMemory, base, new, change, verdict, judged: true, rounds: 1, more_rounds: None }
}

/// The median of rounds measured in turn; of separate runs the largest, which their reports show.
pub(super) fn peak(rounds: &Rounds<'_>, paired: bool) -> Option<f64> {
    let valid = rounds.values().filter(|r| rounds::is_valid(r));
    let bytes: Vec<f64> = valid.filter_map(|r| r.peak_bytes).map(|b| b as f64).collect();
    let peak = if paired { median(&bytes) } else { bytes.into_iter().reduce(f64::max) };
    peak.filter(|b| *b > 0.0)
}
