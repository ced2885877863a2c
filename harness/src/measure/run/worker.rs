//! A cell's process that stays and takes samples when asked.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use relgrad_reports::record::Reason;
use serde::de::DeserializeOwned;

use super::interrupt::Events;
use super::process::{self, Child, Heard};
use crate::console;
use crate::error::{Error, Result};
use crate::measure::cell::{Answer, Request, Spec};

/// A running process; it ends when this is dropped, and when this process ends.
pub(crate) struct Worker {
    child: Child,
    events: Events,
}

impl Worker {
    /// Starts a process of `program`; [`Worker::hear`] waits for the reply that says whether it is ready.
    pub(crate) fn start(program: &Path, spec: &Spec) -> Result<Self> {
        let events = Events::without_signals();
        let cannot = |cause: io::Error| Error::cannot_start(&program.display().to_string(), &cause);
        let child = Child::start(spec.command(program)?, None, &events).map_err(cannot)?;
        Ok(Self { child, events })
    }

    pub(crate) fn ask(&mut self, request: Request, limit: Duration) -> Result<Answer, Reason> {
        let line = serde_json::to_string(&request).map_err(|cause| Reason::from(cause.to_string()))?;
        match self.child.tell(&line) {
            Ok(()) => self.hear(limit),
            Err(_) => Err(self.cause_of_death()),
        }
    }

    pub(crate) fn hear<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T, Reason> {
        match self.child.hear(&mut self.events, Instant::now().checked_add(limit)) {
            Heard::Line(line) => {
                serde_json::from_str(&line).map_err(|_| format!("not an answer: `{}`", console::quoted(&line)).into())
            }
            Heard::TimedOut => Err(Reason::timed_out(limit.as_secs_f64())),
            Heard::Closed | Heard::Interrupted => Err(self.cause_of_death()),
        }
    }

    fn cause_of_death(&mut self) -> Reason {
        match self.child.end(None) {
            Ok((status, stderr)) => process::cause_of_death(status, &stderr),
            Err(cause) => format!("its process was lost: {cause}").into(),
        }
    }
}
