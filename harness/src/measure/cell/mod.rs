//! One measurement in a process of its own: `relgrad cell SPEC`, which the sweep and the gate start alike.
//!
//! The process builds the cell's problem under the eyes of a memory trace, evaluates it once, checks its gradient and
//! warms up. Where the [`Spec`] has rules it samples until they end it and prints one [`Reply`]. Otherwise it says that
//! it is ready and answers one [`Request`] a line, so that several processes can be measured in turn. Whatever else
//! happens to it (a signal, a panic, a missing reply) the driver turns into a failed record.

mod calibration;
mod child;
mod gpu;
mod inject;
pub(crate) mod memory;
mod ranks;
pub(crate) mod sampling;

use std::path::Path;
use std::process::Command;

use relgrad_reports::record::{
    Cell, Check, Exchanged, Gpu, MemoryPoint, Point, Reason, Refresh, Solved, State, TransportKind,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::child::serve;
use super::run::{identity, keep_arithmetic};
use crate::error::{Error, Result};
use crate::machine::mpi;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The cell; its method may be a calibration kernel.
    pub(crate) cell: Cell,
    /// When to stop sampling; without them the process takes samples when asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<sampling::Rules>,
    /// A fault to plant, for tests of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inject: Option<String>,
    /// What the ranks talk by, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<TransportKind>,
}

impl Spec {
    /// The command of the process that `program` is to measure in.
    pub(crate) fn command(&self, program: &Path) -> Result<Command> {
        let text = serde_json::to_string(self);
        let text = text.map_err(|cause| Error::Usage(format!("cannot describe a cell: {cause}")))?;
        let Point { threads, ranks, .. } = self.cell.point;
        let (mut command, threads) = match self.transport {
            Some(TransportKind::Mpi) => (mpi::command(program, ranks)?, (threads / ranks).max(1)),
            _ => {
                let mut command = Command::new(program);
                identity::name(&mut command);
                (command, threads)
            }
        };
        // The verb's name in older builds, which a gate may measure.
        command.arg("worker").arg(text).env("RAYON_NUM_THREADS", threads.to_string());
        keep_arithmetic(&mut command, self.cell.point.math);
        Ok(command)
    }
}

/// The first words of the process, and with rules the last ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reply {
    /// The gradient passed its check and was timed.
    Measured(Box<Measurement>),
    /// The gradient passed its check and samples can be taken.
    Ready(Ready),
    Failed(Failed),
}

/// What a process measured; the fields are those of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) seconds: Vec<f64>,
    pub(crate) evaluations_per_sample: u64,
    pub(crate) warmup_seconds: Vec<f64>,
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) memory_trace: Vec<MemoryPoint>,
    pub(crate) check: Option<Check>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh: Option<Refresh>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inverse_error: Option<f64>,
    pub(crate) solved: Option<Solved>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exchanged: Option<Exchanged>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpu: Option<Gpu>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
}

/// What is known before the first sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// A calibration kernel has none.
    pub(crate) check: Option<Check>,
    pub(crate) peak_bytes: Option<u64>,
    /// Seconds of an evaluation after warm-up.
    pub(crate) evaluation_seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) reason: Reason,
    /// The check, when it was reached.
    pub(crate) check: Option<Check>,
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Self { reason, check: None }
    }
}

impl From<relgrad_kernels::Error> for Failed {
    fn from(cause: relgrad_kernels::Error) -> Self {
        Reason::from(cause.to_string()).into()
    }
}

/// What the driver asks a process that is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// Seconds of one evaluation, as the mean of this many.
    Sample(u64),
    Memory,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// To [`Request::Sample`].
    Seconds(f64),
    /// To [`Request::Memory`]; absent where the system does not tell.
    Bytes(Option<u64>),
    Failed(Reason),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate measures builds in turn, and one of them may be older than a change of these words.
    #[test]
    fn what_older_builds_say_is_understood() {
        let ready = r#"{"state":"ready","check":null,"peak_bytes":7,"evaluation_seconds":0.5}"#;
        let expected = Ready { check: None, peak_bytes: Some(7), evaluation_seconds: 0.5 };
        assert_eq!(serde_json::from_str::<Reply>(ready).unwrap(), Reply::Ready(expected));
        let failed = r#"{"state":"failed","reason":"out of memory","check":null}"#;
        let expected = Failed::from(Reason::from("out of memory"));
        assert_eq!(serde_json::from_str::<Reply>(failed).unwrap(), Reply::Failed(expected));
        assert_eq!(serde_json::to_string(&Request::Sample(3)).unwrap(), r#"{"sample":3}"#);
        assert_eq!(serde_json::from_str::<Answer>(r#"{"bytes":null}"#).unwrap(), Answer::Bytes(None));
    }
}
