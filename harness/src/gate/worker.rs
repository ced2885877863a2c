//! The driver's end of a [`crate::cell::worker`]: a process that takes samples when asked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use relgrad_reports::record::Reason;
use serde::de::DeserializeOwned;

use crate::cell::worker::{Answer, Hello, Request, WorkerSpec};
use crate::console;
use crate::error::{Error, Result};
use crate::run::process;

/// Bytes kept of a worker's standard error: its end says why it died.
const KEPT_STDERR: usize = 8 << 10;
/// Bytes of an answer; ours have some hundreds.
const LONGEST_ANSWER: u64 = 1 << 16;
/// Answers that nobody has taken yet; ours come one at a time.
const MOST_WAITING: usize = 4;

/// A running worker; it ends when this is dropped, and when this process ends.
pub(crate) struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Worker {
    /// Starts a worker of `program`; [`Worker::hello`] waits until it is ready.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(program: &Path, spec: &WorkerSpec) -> Result<Self> {
        let text = serde_json::to_string(spec)
            .map_err(|cause| Error::Usage(format!("a cell cannot be described: {cause}")))?;
        let mut command = Command::new(program);
        command.arg("worker").arg(text).env("RAYON_NUM_THREADS", spec.cell.point.threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process::confine(&mut command, None);
        let cannot = |cause: io::Error| Error::cannot_start(&program.display().to_string(), &cause);
        let mut child = command.spawn().map_err(cannot)?;
        let (sender, lines) = sync_channel(MOST_WAITING);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // From here on dropping the worker ends its process, too.
        let mut worker = Self { child, requests: stdin, lines, stderr: None };
        worker.stderr = Some(process::collect(stderr, KEPT_STDERR, || ()).map_err(cannot)?);
        if let Some(stdout) = stdout {
            let send = move || {
                let lines = Lines(BufReader::new(stdout));
                // A receiver that is gone means that nobody waits any more.
                lines.map(|line| sender.send(line)).take_while(|sent| sent.is_ok()).for_each(drop);
            };
            std::thread::Builder::new().spawn(send).map_err(cannot)?;
        }
        Ok(worker)
    }

    /// Waits for the first words.
    ///
    /// # Errors
    /// Why there are none, as a record's reason.
    pub(crate) fn hello(&mut self, limit: Duration) -> Result<Hello, Reason> {
        self.receive(limit)
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// Why there is no answer, as a record's reason.
    pub(crate) fn ask(&mut self, request: Request, limit: Duration) -> Result<Answer, Reason> {
        let mut line = serde_json::to_string(&request).map_err(|cause| cause.to_string())?;
        line.push('\n');
        let written = match &mut self.requests {
            Some(requests) => requests.write_all(line.as_bytes()).and_then(|()| requests.flush()),
            None => Ok(()),
        };
        match written {
            Ok(()) => self.receive(limit),
            Err(_) => Err(self.cause_of_death()),
        }
    }

    fn receive<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T, Reason> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                serde_json::from_str(&line).map_err(|_| format!("not an answer: `{}`", console::quoted(&line)).into())
            }
            Err(RecvTimeoutError::Timeout) => Err(Reason::timed_out(limit.as_secs_f64())),
            Err(RecvTimeoutError::Disconnected) => Err(self.cause_of_death()),
        }
    }

    fn cause_of_death(&mut self) -> Reason {
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        match self.child.wait() {
            Ok(status) => process::cause_of_death(status, &String::from_utf8_lossy(&stderr)).into(),
            Err(cause) => format!("its process was lost: {cause}").into(),
        }
    }
}

/// Lines of at most [`LONGEST_ANSWER`] bytes; a longer one comes in parts, none of which is an answer.
struct Lines<R>(R);

impl<R: BufRead> Iterator for Lines<R> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = self.0.by_ref().take(LONGEST_ANSWER).read_until(b'\n', &mut line);
        let ended = read.is_err() || line.is_empty();
        (!ended).then(|| String::from_utf8_lossy(&line).trim_end().to_string())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker that has ended already is no error, and there is nobody to tell of any other.
        self.requests = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
