//! Ctrl-C and termination signals, and the end of a child, as events of one queue.

use std::sync::mpsc::{Receiver, Sender, channel};
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
    /// A child has said something, or closed its output.
    Heard,
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
        #[cfg(unix)]
        let ignored = ignores_hang_up();
        let (sender, receiver) = channel();
        let from_handler = sender.clone();
        let mut first: Option<Instant> = None;
        ctrlc::set_handler(move || {
            let is_new = first.is_none_or(|first| first.elapsed() > SAME_REQUEST);
            let again = is_new && first.is_some();
            first.get_or_insert_with(Instant::now);
            let closed = from_handler.send(Event::Interrupt).is_err();
            // The second signal of a request may be heard when the first one has ended the queue already.
            if again || (closed && is_new) {
                std::process::exit(i32::from(code::INTERRUPTED));
            }
        })
        .map_err(|cause| match cause {
            ctrlc::Error::System(cause) => Error::cannot_start("a thread that listens for Ctrl-C", &cause),
            other => Error::Output(format!("cannot listen for Ctrl-C: {other}")),
        })?;
        #[cfg(unix)]
        if ignored {
            // The handlers took it.
            // SAFETY: nothing runs when the signal comes.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        }
        Ok(Self { sender, receiver, interrupted: false })
    }

    /// A queue that no signal reaches: Ctrl-C ends the program, and its children with it.
    pub(crate) fn without_signals() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver, interrupted: false }
    }

    /// A sender for the thread that listens to a child.
    pub(crate) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Event {
        let wait = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // The queue has a sender of its own, and is never closed.
        let event = match wait {
            None => self.receiver.recv().unwrap_or(Event::Interrupt),
            Some(wait) => self.receiver.recv_timeout(wait).unwrap_or(Event::TimedOut),
        };
        self.interrupted |= event == Event::Interrupt;
        event
    }

    /// Whether a stop was asked for. Empties the queue.
    pub(crate) fn interrupted(&mut self) -> bool {
        while let Ok(event) = self.receiver.try_recv() {
            self.interrupted |= event == Event::Interrupt;
        }
        self.interrupted
    }
}

/// Whether the hang-up that a closing terminal sends is ignored.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    // SAFETY: a zeroed action is one without flags; with a null pointer the call only asks, and writes to `now`.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}
