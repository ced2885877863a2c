//! Sweeps: a plan of cells, a process for each, and a record of each.

pub(crate) mod cell;
pub(crate) mod plan;
pub(crate) mod roofline;
pub(crate) mod run;
pub(crate) mod workload;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use relgrad_kernels::{Activation, DeviceKind, Dtype, Method};
use relgrad_reports::run::Settings;
use relgrad_reports::study::Study;

use self::plan::schedule::Schedule;
use self::run::interrupt::Events;
use self::run::{Session, folder};
use crate::error::{Error, Result};
use crate::{cmd, machine};

/// Whether the processes of cells, which run this program again, will do what they are for.
static SERVES: AtomicBool = AtomicBool::new(false);

/// A sweep over the data dimension D.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// All settings; those of `relgrad sweep` on one device, without a budget.
    pub settings: Settings,
    /// Whether no progress is shown on standard error.
    pub quiet: bool,
}

impl Sweep {
    /// A sweep of these methods over these dimensions, ascending.
    pub fn new(dims: &[usize], methods: &[Method]) -> Self {
        let (dims, methods) = (dims.to_vec(), methods.to_vec());
        Self { settings: Settings { dims, methods, ..default_settings() }, quiet: true }
    }

    /// Measures every cell in a process of its own, keeps a record of each in the folder `dir`, and returns them. The
    /// processes run this program again: its `main` has to begin with [`serve_child`].
    ///
    /// # Errors
    /// When `main` did not, the settings make no sense, or `dir` has something in it or cannot be written. A cell that
    /// fails is a record, not an error.
    pub fn run(&self, dir: impl AsRef<Path>) -> Result<Study> {
        if !SERVES.load(Ordering::Relaxed) {
            let told = "a program that sweeps must begin with relgrad_harness::measure::serve_child()";
            return Err(Error::Usage(told.to_string()));
        }
        self.settings.validate().map_err(Error::Usage)?;
        let (dir, quiet) = (dir.as_ref(), self.quiet);
        let schedule = Schedule::of(&self.settings)?;
        let (run, writer) = folder::create(dir, self.settings.clone())?;
        let events = Events::without_signals();
        Session { dir, run, writer, schedule, events, spent_seconds: 0.0, roofline: false, quiet }.run()?;
        folder::read(dir)
    }
}

/// Does the work of a process that [`Sweep::run`] started, where this is one, and returns its exit code. To be called
/// first in `main`.
pub fn serve_child() -> Option<ExitCode> {
    SERVES.store(true, Ordering::Relaxed);
    (std::env::args_os().nth(1)? == "worker").then(cmd::main)
}

/// The settings of a sweep of no dimension and no method.
pub(crate) fn default_settings() -> Settings {
    Settings {
        dims: Vec::new(),
        methods: Vec::new(),
        devices: vec![DeviceKind::Cpu],
        batch: 100,
        other_batches: Vec::new(),
        layers: 2,
        other_layers: Vec::new(),
        dtype: Dtype::F32,
        bias: false,
        activation: Activation::SmoothLeaky { alpha: 0.3 },
        threads: machine::logical_cores(),
        seed: 0,
        rounds: 3,
        min_samples: 5,
        budget_seconds: None,
        cell_limit_seconds: None,
        memory_limit_bytes: machine::available_bytes(),
        convolution: None,
        device_memory_limit_bytes: None,
        math: None,
    }
}
