//! Ctrl-C and termination signals, and the end of a child, as events of one queue.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, code};

/// Signals closer together than this are one request: `timeout` and some shells send each signal twice, to the process
/// and to its group.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// What the driver waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The user, or the system, asks the program to stop.
    Interrupt,
    /// The child with this serial number closed its output: it has ended.
    Closed(usize),
    /// The time waited for has come.
    TimedOut,
}

/// The queue. One for the whole program, since signals are.
pub(crate) struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    interrupted: bool,
}

impl Events {
    /// Installs the signal handlers. A second request ends the program at once; the child dies with it. A hang-up that
    /// was ignored, as under `nohup`, stays ignored.
    pub(crate) fn install() -> Result<Self> {
        let _kept = hang_up::Kept::now();
        let (sender, receiver) = channel();
        let from_handler = sender.clone();
        let mut first: Option<Instant> = None;
        ctrlc::set_handler(move || {
            let again = first.is_some_and(|first| first.elapsed() > SAME_REQUEST);
            first.get_or_insert_with(Instant::now);
            let closed = from_handler.send(Event::Interrupt).is_err();
            if closed || again {
                std::process::exit(i32::from(code::INTERRUPTED));
            }
        })
        .map_err(|cause| match cause {
            ctrlc::Error::System(cause) => Error::cannot_start("a thread that listens for Ctrl-C", &cause),
            other => Error::Output(format!("cannot listen for Ctrl-C: {other}")),
        })?;
        Ok(Self { sender, receiver, interrupted: false })
    }

    /// A queue that no signal reaches: Ctrl-C ends the program, and its children with it.
    pub(crate) fn without_signals() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver, interrupted: false }
    }

    /// A sender for the thread that watches a child.
    pub(crate) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Waits for the next event, at most until `deadline`.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Event {
        let event = match deadline {
            None => self.receiver.recv().unwrap_or(Event::Interrupt),
            Some(deadline) => {
                let wait = deadline.saturating_duration_since(Instant::now());
                self.receiver.recv_timeout(wait).unwrap_or_else(|error| match error {
                    RecvTimeoutError::Timeout => Event::TimedOut,
                    RecvTimeoutError::Disconnected => Event::Interrupt,
                })
            }
        };
        self.interrupted |= event == Event::Interrupt;
        event
    }

    /// Whether a stop was asked for.
    pub(crate) fn interrupted(&mut self) -> bool {
        while let Ok(event) = self.receiver.try_recv() {
            self.interrupted |= event == Event::Interrupt;
        }
        self.interrupted
    }
}

/// SIGHUP, which a terminal that closes sends.
mod hang_up {
    /// Keeps it ignored, where it was, until this is dropped: the handlers of Ctrl-C take it otherwise.
    pub(super) struct Kept {
        ignored: bool,
    }

    #[cfg(unix)]
    impl Kept {
        pub(super) fn now() -> Self {
            // SAFETY: a zeroed action is one without flags; with a null pointer the call only asks, and writes to
            // `now`.
            let ignored = unsafe {
                let mut now: libc::sigaction = std::mem::zeroed();
                libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
            };
            Self { ignored }
        }
    }

    #[cfg(unix)]
    impl Drop for Kept {
        fn drop(&mut self) {
            if self.ignored {
                // SAFETY: nothing runs when the signal comes.
                unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
            }
        }
    }

    #[cfg(not(unix))]
    impl Kept {
        pub(super) fn now() -> Self {
            Self { ignored: false }
        }
    }
}
