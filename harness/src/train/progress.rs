//! What the user sees while a network trains: a bar on a terminal, plain lines elsewhere, nothing when quiet.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use relgrad_reports::training::Epoch;
use relgrad_reports::units;

use crate::console;

/// Where progress goes; always standard error.
pub(crate) enum Display {
    Quiet,
    Lines { prefix: String },
    Bar { prefix: String, bar: ProgressBar },
}

impl Display {
    /// A bar of `steps` when standard error is a terminal, lines otherwise. `prefix` says which training this is.
    pub(crate) fn new(quiet: bool, prefix: &str, steps: u64) -> Self {
        let prefix = prefix.to_string();
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { prefix };
        }
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template("{bar:24} step {pos}/{len}  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        console::keep_moving(&bar);
        Self::Bar { prefix, bar }
    }

    pub(crate) fn step(&self, step: u64) {
        if let Self::Bar { bar, .. } = self {
            bar.set_position(step);
        }
    }

    /// A message amid the training.
    pub(crate) fn tell(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines { prefix } => note!("{prefix}{text}"),
            Self::Bar { prefix, bar } => bar.println(format!("{prefix}{text}")),
        }
    }

    /// An epoch is over: where it stands, and what is left at this pace.
    pub(crate) fn epoch(&self, epoch: &Epoch, epochs: usize, best: bool, left_seconds: Option<f64>) {
        let star = if best { " (best so far)" } else { "" };
        let left =
            left_seconds.map_or(String::new(), |left| format!(", {} left at most", units::seconds(left.round())));
        let edge =
            epoch.edge_share.map_or(String::new(), |share| format!(", μλ at {:.0} % of its limit", 100.0 * share));
        let undone = match epoch.rejected_steps {
            None | Some(0) => String::new(),
            Some(count) => format!(", {} undone", units::counted(count, "step")),
        };
        self.tell(&format!(
            "epoch {}/{epochs}  validation {:.4} nats{star}{edge}{undone}, {} of training{left}",
            epoch.epoch,
            epoch.validation_nats,
            units::seconds(epoch.seconds),
        ));
    }

    pub(crate) fn finish(&self) {
        if let Self::Bar { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}
