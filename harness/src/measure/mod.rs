//! Sweeps: a plan of cells, a process for each, and a record of each.

pub(crate) mod atlas;
pub(crate) mod cell;
pub(crate) mod plan;
pub(crate) mod roofline;
pub(crate) mod run;
pub(crate) mod workload;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use relgrad_kernels::{Activation, DeviceKind, Dtype, Method, Tuning};
use relgrad_reports::run::Settings;
use relgrad_reports::study::Study;

use self::plan::schedule::Schedule;
use self::run::interrupt::Events;
use self::run::quiet::Budget;
use self::run::{Options, Session, folder};
use crate::error::{Error, Result};
use crate::{cmd, machine};

/// Whether `main` called [`serve_child`], so that a process of this program can measure a cell.
static SERVES: AtomicBool = AtomicBool::new(false);

/// A sweep over the data dimension D.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// All settings. The defaults are those of `relgrad sweep` on one device, without limits of time.
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

    /// Measures every cell in a new process, writes a record of each to the folder `dir`, and returns them. The
    /// processes run this program, so its `main` must begin with [`serve_child`].
    ///
    /// # Errors
    /// When `main` did not call it, the settings are invalid, or `dir` is not empty or cannot be written. A failed cell
    /// is a record, not an error.
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
        let options = Options { roofline: false, quiet, ..Options::default() };
        Session::new(dir, (run, writer), schedule, events, Budget::after(0.0), options).run()?;
        folder::read(dir)
    }
}

/// In a process that [`Sweep::run`] started: measures its cell and returns the exit code. Call it first in `main`.
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
        other_threads: Vec::new(),
        ranks: 1,
        other_ranks: Vec::new(),
        seed: 0,
        rounds: 3,
        min_samples: 5,
        budget_seconds: None,
        cell_limit_seconds: None,
        memory_limit_bytes: machine::available_bytes(),
        convolution: None,
        device_memory_limit_bytes: None,
        shard: None,
        math: None,
        update: None,
        tuning: Tuning::default(),
    }
}
