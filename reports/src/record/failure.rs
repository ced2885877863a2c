//! Why a cell has no measurement: what programs go by, and the sentence in which a record says it.

use std::fmt;

use relgrad_vocabulary::{Method, excerpt};
use serde::{Deserialize, Serialize};

use crate::units;

/// A process is killed no earlier than this many cell limits after its start, unless the budget ends first: the child
/// stops by itself at its limit, unless one evaluation is far slower than predicted.
pub const KILL_FACTOR: f64 = 1.5;

/// What kept a cell from a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Not tried: it would take more memory than it may.
    OverMemory,
    /// Not tried: even one sample would take longer than a cell may.
    OverCellLimit,
    /// Not tried: too little was left of the budget.
    OverBudget,
    /// Not tried: its method was killed for its time at a smaller dimension.
    OutOfTime,
    /// Killed because its time was up.
    TimedOut,
    /// Its gradient is wrong.
    WrongGradient,
    /// Its process ended without an answer.
    Died,
    /// Its process, or the sweep, refused for a reason of its own.
    Refused,
}

/// How a sentence begins.
const BEGINS: [(Failure, &str); 6] = [
    (Failure::TimedOut, "timed out"),
    (Failure::WrongGradient, "wrong gradient"),
    (Failure::Died, "killed"),
    (Failure::Died, "ended with"),
    (Failure::Died, "its process was lost"),
    (Failure::Refused, ""),
];
/// What a sentence of a cell that was not tried has in it.
const HOLDS: [(Failure, &str); 4] = [
    (Failure::OverMemory, "exceeds the memory limit of"),
    (Failure::OverCellLimit, "exceeds the cell limit of"),
    (Failure::OverBudget, "left of the budget of"),
    (Failure::OutOfTime, "ran out of time at D ="),
];

impl Failure {
    /// The words by which its sentences are known.
    fn words(self) -> &'static str {
        HOLDS.iter().chain(&BEGINS).find(|(failure, _)| *failure == self).map_or("", |(_, words)| words)
    }

    fn of(sentence: &str) -> Self {
        let holds = HOLDS.iter().find(|(_, words)| sentence.contains(words));
        let begins = || BEGINS.iter().find(|(_, words)| sentence.starts_with(words));
        holds.or_else(begins).map_or(Self::Refused, |(failure, _)| *failure)
    }
}

/// Why a cell has no measurement, in a sentence; what it means was decided when it was read or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Reason {
    failure: Failure,
    sentence: String,
}

impl Reason {
    /// What it means.
    pub fn failure(&self) -> Failure {
        self.failure
    }

    /// The sentence.
    pub fn as_str(&self) -> &str {
        &self.sentence
    }

    /// Its first 200 characters, control characters visible: it may come from a file.
    pub fn shown(&self) -> String {
        excerpt(&self.sentence, 200)
    }

    /// A cell that takes more bytes than it may.
    pub fn over_memory(wanted: f64, allowed: f64) -> Self {
        Self::predicted(units::bytes(wanted), Failure::OverMemory, units::bytes(allowed))
    }

    /// A cell whose `what` alone is expected to take longer than a cell may. How long is what a report predicts, from
    /// more than was known then.
    pub fn over_cell_limit(what: &str, limit: f64) -> Self {
        let failure = Failure::OverCellLimit;
        Self { failure, sentence: format!("{what} {} {}, as predicted", failure.words(), units::seconds(limit)) }
    }

    /// A cell that needs more seconds than are left of the budget.
    pub fn over_budget(need: f64, left: f64, budget: f64) -> Self {
        let predicted = format!("{} for this cell exceeds the {}", units::seconds(need), units::seconds(left));
        Self::predicted(predicted, Failure::OverBudget, units::seconds(budget))
    }

    /// A cell of a method that was killed for its time at a smaller dimension.
    pub fn out_of_time(method: Method, dim: usize) -> Self {
        let failure = Failure::OutOfTime;
        Self { failure, sentence: format!("{method} {} {}", failure.words(), units::grouped(dim)) }
    }

    /// A process that was killed after so many seconds.
    pub fn timed_out(seconds: f64) -> Self {
        let failure = Failure::TimedOut;
        Self { failure, sentence: format!("{}: no result after {}", failure.words(), units::seconds(seconds)) }
    }

    /// A gradient that is further from its check than it may be.
    pub fn wrong_gradient(max_rel_err: f64, tolerance: f64, check: &str) -> Self {
        let failure = Failure::WrongGradient;
        let told = format!("relative error {max_rel_err:.1e} exceeds {tolerance:.0e} ({check})");
        Self { failure, sentence: format!("{}: {told}", failure.words()) }
    }

    fn predicted(predicted: String, failure: Failure, limit: String) -> Self {
        Self { failure, sentence: format!("predicted {predicted} {} {limit}", failure.words()) }
    }
}

impl From<String> for Reason {
    fn from(sentence: String) -> Self {
        Self { failure: Failure::of(&sentence), sentence }
    }
}

impl From<&str> for Reason {
    fn from(sentence: &str) -> Self {
        sentence.to_string().into()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.sentence
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_means_when_it_is_read_what_it_meant_when_it_was_made() {
        for (reason, failure, sentence) in [
            (
                Reason::over_memory(2.5e9, 1e9),
                Failure::OverMemory,
                "predicted 2.33 GiB exceeds the memory limit of 954 MiB",
            ),
            (
                Reason::over_cell_limit("one evaluation", 60.0),
                Failure::OverCellLimit,
                "one evaluation exceeds the cell limit of 60 s, as predicted",
            ),
            (
                Reason::over_budget(30.0, 8.0, 600.0),
                Failure::OverBudget,
                "predicted 30 s for this cell exceeds the 8 s left of the budget of 10 min",
            ),
            (Reason::out_of_time(Method::Ordinary, 5000), Failure::OutOfTime, "ordinary ran out of time at D = 5,000"),
            (Reason::timed_out(90.0), Failure::TimedOut, "timed out: no result after 90 s"),
            (
                Reason::wrong_gradient(0.5, 1e-3, "reference"),
                Failure::WrongGradient,
                "wrong gradient: relative error 5.0e-1 exceeds 1e-3 (reference)",
            ),
            ("killed by SIGSEGV".into(), Failure::Died, "killed by SIGSEGV"),
            ("ended with code 1 and no result".into(), Failure::Died, "ended with code 1 and no result"),
            ("weight of layer 2 is singular".into(), Failure::Refused, "weight of layer 2 is singular"),
        ] {
            assert_eq!((reason.failure(), reason.as_str()), (failure, sentence));
            let written = serde_json::to_string(&reason).unwrap();
            assert_eq!(written, format!("\"{sentence}\""));
            assert_eq!(serde_json::from_str::<Reason>(&written).unwrap(), reason);
        }
    }
}
