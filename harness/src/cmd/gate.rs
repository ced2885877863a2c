//! `relgrad gate`: measures this build and fails if it is slower than a baseline or another revision.

use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_kernels::{Activation, Dtype, Method};
use relgrad_reports::compare::trials::Plan;
use relgrad_reports::record::{Cell, Outcome, Point, Reason};
use relgrad_reports::run::Settings;
use relgrad_reports::study::{Invalid, Study};
use relgrad_reports::units::{self, counted};

use super::compare::{Format, Tolerance, exit_code, print};
use crate::compare;
use crate::compare::gate::bench::{Contender, Timing};
use crate::compare::gate::{Cells, Decision, Session, build, decide};
use crate::console;
use crate::error::{Error, Result, code};
use crate::machine;
use crate::measure::default_settings;
use crate::measure::plan::{self, dims::Dims};
use crate::measure::run::{folder, identity};
use crate::quantity::TimeLimit;

const EXAMPLES: &str = "\
Examples:
  relgrad gate --save reports/baselines/ci.jsonl --rounds 12       measure a baseline
  relgrad gate --baseline reports/baselines/ci.jsonl --max-slowdown 10%
  relgrad gate --against main                                      this build against that of main
  relgrad gate --against-program old/relgrad --dims 100,1000 --methods relative

- Each round starts a new process per cell. Samples alternate, A B … B A, so that a change of the
  machine affects both alike.
- With --against and --against-program, paired ratios of the times are judged.
- With --baseline, the cells of the baseline are measured. Judged are their speed-ups, and their
  times over those of two calibration kernels: a matrix product of the same shape and a memory
  copy. Absolute times are judged only with --absolute, on the machine of the baseline.
- A cell undecided after --rounds gets more rounds. A regression counts only if the added rounds
  alone show it. A false alarm has a probability of at most 1 % in a cell and 5 % in all.
- A wrong gradient, a leak and a failed cell also end with code 1.
";

/// Characters of a reason that is printed.
const MOST_REASON: usize = 300;

/// Fails if this build is slower than a baseline or another revision; noise alone does not fail it
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Compare with the records in FILE, a baseline file or the folder of a sweep
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "against", "against_program", "dims", "methods", "batch", "layers", "dtype", "activation", "threads",
    ])]
    baseline: Option<PathBuf>,
    /// Build git revision REV and compare with it, both measured in turn
    #[arg(long, value_name = "REV", conflicts_with = "against_program")]
    against: Option<String>,
    /// Cargo profile to build REV with; use the profile of this build
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// Compare with another build of this program, both measured in turn
    #[arg(long, value_name = "PATH")]
    against_program: Option<PathBuf>,
    /// Save the records of this build in FILE, as a baseline
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Judge absolute times too, if the baseline is from this machine
    #[arg(long, requires = "baseline")]
    absolute: bool,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    tolerance: Tolerance,
    #[command(flatten)]
    format: Format,
}

/// The cells to measure where no baseline says which.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// Data dimensions D: a list, ranges, or both
    #[arg(long, value_name = "LIST", default_value = "100,300,1000")]
    dims: Dims,
    /// Methods to measure, comma-separated
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "relative,ordinary")]
    methods: Vec<Method>,
    /// Samples in a batch, N
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = super::count::<{ super::MAX_BATCH }>)]
    batch: usize,
    /// Layers of the network, L
    #[arg(long, value_name = "L", default_value_t = 2, value_parser = super::count::<{ super::MAX_LAYERS }>)]
    layers: usize,
    /// Number type: f32 or f64
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: Dtype,
    /// Nonlinearity: smooth:ALPHA or tanh:ALPHA:BETA
    #[arg(long, value_name = "SIGMA", default_value = "smooth:0.3")]
    activation: Activation,
    /// CPU threads [default: all available]
    #[arg(long, value_name = "COUNT", value_parser = super::count::<{ super::MAX_THREADS }>)]
    threads: Option<usize>,
}

/// How long to measure.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Rounds before the first verdict
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().first,
        value_parser = super::count::<{ super::MAX_ROUNDS }>)]
    rounds: usize,
    /// Rounds added while a cell is undecided
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().more,
        value_parser = super::count::<{ super::MAX_ROUNDS }>)]
    more_rounds: usize,
    /// Most rounds; undecided cells are then inconclusive
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().most,
        value_parser = super::count::<{ super::MAX_ROUNDS }>)]
    max_rounds: usize,
    /// Time to sample one dimension in one round
    #[arg(long, value_name = "TIME", default_value = "1s")]
    round_time: TimeLimit,
    /// Timeout of a process
    #[arg(long, value_name = "TIME", default_value = "60s")]
    cell_limit: TimeLimit,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Plant a fault in the new side: METHOD:factor=1.1, :constant=20us, :slope=0.1, :wrong-gradient or :leak
    #[cfg(feature = "inject")]
    #[arg(long, value_name = "FAULT", hide = true)]
    inject: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let (how, plan) = (&arguments.how, arguments.how.plan());
    let new = Contender { program: identity::program()?, inject: how.injection() };
    let baseline = arguments.baseline.as_deref().map(|path| read_baseline(path, arguments.save.as_deref()));
    let baseline = baseline.transpose()?;
    let base = base_program(arguments)?.map(|program| Contender { program, inject: None });
    if baseline.is_none() && base.is_none() && arguments.save.is_none() {
        let complaint = "one of --baseline, --against, --against-program and --save is required";
        return Err(Error::Usage(complaint.to_string()));
    }
    let (settings, cells) = match &baseline {
        Some(study) => {
            let settings = Settings { rounds: plan.first, ..study.run.settings.clone() };
            (settings, Cells::measured_in(study, true))
        }
        None => {
            let settings = arguments.what.settings(how);
            let cells = Cells::new(cells(&settings)?, base.is_none());
            (settings, cells)
        }
    };
    let contenders: Vec<Contender> = base.into_iter().chain([new]).collect();
    cells.require_memory(contenders.len())?;
    let run = folder::describe(settings);
    run.settings.thread_counts().for_each(super::warn_of_threads);
    let mut session = Session::new(&cells, &contenders, how.timing(), &run);
    session.quiet = how.quiet;
    session.save = arguments.save.as_deref();
    if baseline.is_none() && contenders.len() == 1 {
        return save_alone(session, plan);
    }
    if baseline.is_none() {
        session.studies[0].run.git_revision = arguments.against.clone();
    }
    let decision = Decision { rules: arguments.tolerance.rules(plan.looks()), plan, absolute: arguments.absolute };
    let comparisons = decide(&mut session, baseline.as_ref(), &decision)?;
    session.keep()?;
    let Some(comparison) = comparisons.first() else { return Ok(code::NOTHING_MEASURED) };
    print(comparison, arguments.format)?;
    Ok(exit_code(comparison))
}

/// The baseline to judge by, which `save` must not replace.
fn read_baseline(path: &Path, save: Option<&Path>) -> Result<Study> {
    let same = |a: &Path, b: &Path| a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    if save.is_some_and(|save| same(save, path)) {
        let complaint = "--save and --baseline name the same file";
        return Err(Error::Usage(complaint.to_string()));
    }
    compare::read(path, Invalid::Refuse)
}

/// The program to measure in turn with this one, if any.
fn base_program(arguments: &Arguments) -> Result<Option<PathBuf>> {
    if let Some(revision) = &arguments.against {
        return build::program_of(revision, &arguments.profile, arguments.how.quiet).map(Some);
    }
    let Some(program) = &arguments.against_program else { return Ok(None) };
    // A file of the current folder has no slash, and would be looked for where commands are.
    let file = program.canonicalize().unwrap_or_else(|_| program.clone());
    build::require_worker(&file, &program.display().to_string())?;
    Ok(Some(file))
}

fn save_alone(mut session: Session<'_>, plan: Plan) -> Result<u8> {
    session.measure(0, plan.first, |_| true)?;
    session.keep()?;
    let records = &session.studies[0].records;
    let measured = records.iter().filter(|r| r.outcome == Outcome::Measured).count();
    for record in records.iter().filter(|r| r.outcome == Outcome::Failed) {
        let Cell { method, point: Point { dim, .. }, .. } = record.cell;
        let reason = console::cut(record.reason.as_ref().map_or("no reason", Reason::as_str), MOST_REASON);
        note!("relgrad: {method} at D = {} failed: {reason}", units::grouped(dim));
    }
    if measured == 0 {
        note!("relgrad: nothing was measured");
        return Ok(code::NOTHING_MEASURED);
    }
    let file = session.save.unwrap_or(Path::new("")).display();
    say!("{} of {} in {file}", counted(measured, "record"), counted(plan.first, "round"));
    Ok(if measured < records.len() { code::CHECK_FAILED } else { 0 })
}

/// The cells of one round of the settings.
pub(crate) fn cells(settings: &Settings) -> Result<Vec<Cell>> {
    let planned = plan::plan(&Settings { rounds: 1, ..settings.clone() });
    let mut cells: Vec<Cell> = planned.map_err(Error::Usage)?.into_iter().map(|planned| planned.cell).collect();
    cells.sort_by_key(|cell| (cell.point.dim, settings.methods.iter().position(|m| cell.method == *m)));
    Ok(cells)
}

impl What {
    /// Settings as a sweep of these cells would have them.
    pub(crate) fn settings(&self, how: &How) -> Settings {
        Settings {
            dims: self.dims.0.clone(),
            methods: super::distinct(self.methods.iter().copied()),
            batch: self.batch,
            layers: self.layers,
            dtype: self.dtype,
            activation: self.activation,
            threads: self.threads.unwrap_or_else(machine::logical_cores),
            rounds: how.rounds,
            min_samples: 2,
            cell_limit_seconds: how.cell_limit.0,
            ..default_settings()
        }
    }
}

impl How {
    /// The rounds; the first verdict has all of its rounds even where fewer are allowed in all.
    pub(crate) fn plan(&self) -> Plan {
        Plan { first: self.rounds, more: self.more_rounds, most: self.max_rounds.max(self.rounds) }
    }

    pub(crate) fn timing(&self) -> Timing {
        const UNLIMITED_SECONDS: f64 = 1e6;
        Timing {
            round_seconds: self.round_time.0.unwrap_or(UNLIMITED_SECONDS),
            limit_seconds: self.cell_limit.0.unwrap_or(UNLIMITED_SECONDS),
        }
    }

    /// The fault to plant in the new side.
    pub(crate) fn injection(&self) -> Option<String> {
        #[cfg(feature = "inject")]
        let inject = self.inject.clone();
        #[cfg(not(feature = "inject"))]
        let inject = None;
        inject
    }
}
