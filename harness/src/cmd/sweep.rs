//! `relgrad sweep`: measures every cell of a plan and writes the report.

mod on;
mod outcome;
mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, FromArgMatches};
use relgrad_kernels::{Activation, Dtype, Math, Method, Tuning, UpdateRule};
use relgrad_reports::atlas::Predictor;
use relgrad_reports::record::Record;
use relgrad_reports::run::{Change, Settings, Shard};
use relgrad_reports::study::{Study, read_run};
use relgrad_reports::units;

use self::outcome::report_on;
use crate::cluster::Cluster;
use crate::cluster::campaign::{Campaign, MOST_PARTS};
use crate::cmd::{MAX_BATCH, at_least_one, count, up_to, warn_of_ranks, warn_of_threads};
use crate::error::{Error, Result};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::machine::{self, gpu, mpi};
use crate::measure::atlas;
use crate::measure::plan::dims::Dims;
use crate::measure::plan::grids::{Grids, Kernel};
use crate::measure::plan::preview;
use crate::measure::plan::schedule::Schedule;
use crate::measure::run::interrupt::Events;
use crate::measure::run::quiet::Budget;
use crate::measure::run::{Options, Session, folder, identity};
use crate::measure::workload::DeviceKind;
use crate::quantity::{MemoryLimit, TimeLimit};
use crate::{console, outputs};

const EXAMPLES: &str = "\
Examples:
  relgrad sweep                                    D from 10 to 20,000 in about ten minutes
  relgrad sweep --dims 10,100,1000 --rounds 1      three dimensions, one process each
  relgrad sweep --dims 100:5000 --dtype f64 --bias --activation tanh:1:0.1
  relgrad sweep --dims 30:1000 --batch 100,10,1000 over N too (N = 100 in figures against D)
  relgrad sweep --dims 200,5000 --threads 1,2,4    speed-up and efficiency against threads
  relgrad sweep --dims 1000 --methods relative --ranks 1,2,4   weights split by columns, over MPI
  relgrad sweep --device cpu,cuda --math tf32      both in one report, TF32 products on the GPU
  relgrad sweep --math bf16                        bf16 products on the CPU
  relgrad sweep --wait-quiet 5m                    wait for other programs to end, up to 5 min
  relgrad sweep --list                             print the plan and its predicted cost
  relgrad sweep --list --atlas built-in            the same, predicted from the machine's ceilings
  relgrad sweep --shard 2/3 --out part-2           the second of three parts; merge joins them
  relgrad sweep --on slurm --parts 12 --out big    12 tasks of a Slurm cluster, one report
  relgrad sweep --on ssh:node-1,node-2             two hosts that ssh reaches without a password
  relgrad sweep --budget none --cell-limit none    everything that fits in memory
  relgrad sweep --coupling conv --channels 8       convolution layers on grids of 10 to 5,000 points
  relgrad sweep --coupling conv --grids 8x8,16x16,32x32 --kernel 3x3 --methods ordinary,autodiff
  relgrad sweep --resume results/2026-11-24T00-15-00Z
  relgrad sweep --resume results/2026-11-24T00-15-00Z --budget 1h

A cell is one method at one D, N, L, number of threads and device, in one round.

- The range 10:20000 has both ends, and 1, 2, 3 and 5 times each power of ten between them.
- Each cell is measured in a new process. In each round the seed sets their order.
- A cell whose prediction exceeds a limit is skipped. Its record has the prediction.
- --resume runs the cells without a record; skipped and failed cells have one. With a raised limit
  it also runs the cells that this limit stopped. The budget includes the time already spent.
- --on submits a task for each part (over ssh it starts them), follows them, submits a part again
  that was lost, and merges the records. Each task has the whole --budget and a node to itself.
  DIR must be on a file system that all nodes have, but for ssh. --resume follows the tasks again.
  Without sbatch, hq or ssh on PATH the exit code is 7.
";

/// Measures time and memory of one gradient over the data dimension D, and writes a report with figures
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Data dimensions D: a list, ranges, or both (10,20,50 or 10:20000) [default: 10:20000]
    #[arg(long, value_name = "LIST")]
    dims: Option<Dims>,
    /// Layers: dense, or conv (circular convolutions, swept over --grids instead of --dims)
    #[arg(long, value_name = "KIND", default_value = "dense", value_parser = ["dense", "conv"])]
    coupling: String,
    /// Grids of conv layers: numbers of points, ranges, or rows x columns such as 8x8 [default: 10:5000]
    #[arg(long, value_name = "LIST", conflicts_with = "dims")]
    grids: Option<Grids>,
    /// Channels of conv layers; D = channels times grid points [default: 4]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    channels: Option<usize>,
    /// Taps of the kernels of conv layers: full, a number, or rows x columns such as 3x3 [default: full]
    #[arg(long, value_name = "SIZE")]
    #[arg(long_help = KERNEL_HELP)]
    kernel: Option<Kernel>,
    /// Methods to measure, comma-separated
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "relative,ordinary,autodiff")]
    #[arg(long_help = methods_help())]
    methods: Vec<Method>,
    /// Samples in a batch, N: a number or a list; figures against D use the first
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "100", value_parser = at_least_one)]
    batch: Vec<usize>,
    /// Layers of the network, L: a number or a list; figures against D use the first
    #[arg(long, value_name = "L", value_delimiter = ',', default_value = "2", value_parser = at_least_one)]
    layers: Vec<usize>,
    /// Number type: f32 or f64 [default: that of --math, else f32]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,
    /// Give the layers biases
    #[arg(long)]
    bias: bool,
    /// Nonlinearity: smooth:ALPHA or tanh:ALPHA:BETA
    #[arg(long, value_name = "SIGMA", default_value = "smooth:0.3")]
    activation: Activation,
    /// CPU threads: a number or a list; figures against D use the first [default: all available]
    #[arg(long, value_name = "COUNT", value_delimiter = ',', value_parser = at_least_one)]
    threads: Option<Vec<usize>>,
    /// Ranks that share the columns of the weights: a number or a list; figures against D use the first [default: 1]
    #[arg(long, value_name = "COUNT", value_delimiter = ',', value_parser = at_least_one)]
    #[arg(long_help = RANKS_HELP)]
    ranks: Option<Vec<usize>>,
    /// Seed of the networks, the data and the order of cells
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Devices to measure, comma-separated: cpu, cuda (the first NVIDIA GPU)
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "cpu")]
    device: Vec<DeviceKind>,
    /// Arithmetic of matrix products: f32 or f64, tf32 on a GPU, bf16 on a CPU with AVX512-BF16 [default: that of
    /// --dtype]
    #[arg(long, value_name = "NAME")]
    math: Option<Math>,
    /// Measure the whole update: gradient, then a step by this rule (plain, adam or muon) [default: gradients alone]
    #[arg(long, value_name = "RULE")]
    step: Option<UpdateRule>,
    /// Numbers of the methods that approximate: probes=COUNT, tolerance=NUMBER and beta=NUMBER, comma-separated
    #[arg(long, value_name = "LIST", default_value_t)]
    tune: Tuning,
    /// Measure one part of the plan: 2/5 is the second of five, alike in predicted seconds; relgrad merge joins them
    #[arg(long, value_name = "I/N", conflicts_with = "on")]
    shard: Option<Shard>,
    /// Measure on a cluster, in parts, with one report in the end: slurm, slurm:PARTITION, hq (HyperQueue) or
    /// ssh:HOST,HOST
    #[arg(long, value_name = "CLUSTER")]
    on: Option<Cluster>,
    /// With --on: number of parts, one a task [default: 4, over ssh one a host]
    #[arg(long, value_name = "COUNT", requires = "on", value_parser = count::<MOST_PARTS>)]
    parts: Option<usize>,
    /// With --on, or --resume of such a sweep: time between two looks at the tasks [default: 15s]
    #[arg(long, value_name = "TIME")]
    poll: Option<TimeLimit>,
    /// Continue the sweep in --out if there is one of this machine; one of another is put aside. For the tasks of --on
    #[arg(long = "continue", hide = true, requires = "out")]
    continues: bool,
    /// Independent processes per cell
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = at_least_one)]
    rounds: usize,
    /// Least number of samples of a cell, unless it reaches --cell-limit; 0: the first evaluation alone, for memory
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = up_to::<MAX_BATCH>)]
    min_samples: usize,
    /// Time for the whole sweep (90s, 10m, 1h30m, none) [default: 10m]
    #[arg(long, value_name = "TIME")]
    budget: Option<TimeLimit>,
    /// Time to sample one cell, without building and checking its problem [default: 60s]
    #[arg(long, value_name = "TIME")]
    cell_limit: Option<TimeLimit>,
    /// Memory for one cell: a size (12GiB), or a share of the available or the GPU's memory [default: 80%]
    #[arg(long, value_name = "SIZE")]
    mem_limit: Option<MemoryLimit>,
    /// New or empty folder for the results [default: results/ and the UTC time]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the sweep in DIR with its settings; --budget, --cell-limit and --mem-limit may be changed
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "dims", "methods", "batch", "layers", "dtype", "bias", "activation", "threads", "ranks", "seed", "device",
        "math", "step", "tune", "shard", "on", "parts", "rounds", "min_samples", "out", "coupling", "grids", "channels",
        "kernel",
    ])]
    resume: Option<PathBuf>,
    /// With --resume: continue with another program or on another machine; the report says so
    #[arg(long, requires = "resume")]
    allow_mixed: bool,
    /// Wait for a quiet machine, TIME in all, at the start and after a disturbed cell; beyond --budget
    #[arg(long, value_name = "TIME")]
    wait_quiet: Option<TimeLimit>,
    /// Most processes for a cell that has a disturbed machine; the further ones after all cells, within --budget
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = at_least_one)]
    attempts: usize,
    /// Plan the first cells by an atlas (relgrad atlas), or by that of the archive: built-in
    #[arg(long, value_name = "FILE")]
    atlas: Option<PathBuf>,
    /// Print the plan and its predicted cost, and measure nothing; with --atlas the ceilings alone
    #[arg(long)]
    list: bool,
    /// Skip the machine's ceilings; the report then has no fractions of them
    #[arg(long, conflicts_with = "atlas")]
    no_roofline: bool,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

const RANKS_HELP: &str = "\
Ranks that share the columns of the weights: a number or a list; figures against D use the first [default: 1]

A cell of several ranks is one mpiexec with a process a rank where MPI is found (relgrad doctor), otherwise one \
process with a thread a rank. The ranks divide --threads among them. Methods: relative, relative-inplace. \
`mpiexec -n 4 relgrad sweep` is `relgrad sweep --ranks 4`: its first process drives, the others end.";

const KERNEL_HELP: &str = "\
Taps of the kernels of conv layers: full, a number, or rows x columns such as 3x3 [default: full]

Only the kernels full and 1x1 have a relative gradient. Others have the methods ordinary, autodiff and \
autodiff-streamed.";

fn methods_help() -> String {
    let list = Method::ALL.map(|method| format!("\n  {:<18}{}", method.name(), method.description())).concat();
    format!("Methods to measure, comma-separated:{list}")
}

impl Arguments {
    fn options(&self) -> Options {
        let wait = self.wait_quiet.map_or(Duration::ZERO, |TimeLimit(seconds)| {
            seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(Duration::MAX)
        });
        Options { roofline: !self.no_roofline, quiet: self.quiet, attempts: self.attempts, wait }
    }
}

/// The settings of `relgrad sweep` with these words behind it.
pub(crate) fn settings_of(words: &[String]) -> Result<Settings> {
    settings::settings(&arguments_of(words)?)
}

fn arguments_of(words: &[String]) -> Result<Arguments> {
    let command = Arguments::augment_args(clap::Command::new("sweep").no_binary_name(true));
    let parsed = command.try_get_matches_from(words).and_then(|words| Arguments::from_arg_matches(&words));
    let first_line = |text: &str| text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string();
    parsed.map_err(|cause| Error::Usage(first_line(&cause.to_string())))
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    // Of several processes that a launcher started, the first drives; the ranks of a cell are others.
    if mpi::started_as().is_some_and(|(rank, _)| rank > 0) {
        return Ok(0);
    }
    let known = arguments.resume.as_deref().map(Campaign::find).transpose()?.flatten();
    let known = known.filter(|campaign| campaign.ended.is_none());
    if arguments.poll.is_some() && arguments.on.is_none() && known.is_none() {
        return Err(Error::Usage("--poll requires --on, or --resume of a sweep that is on a cluster".to_string()));
    }
    match (known, &arguments.resume) {
        (Some(campaign), _) => on::resume(campaign, arguments),
        (None, Some(dir)) => resume(dir, arguments),
        (None, None) => start(arguments),
    }
}

fn start(arguments: &Arguments) -> Result<u8> {
    if arguments.allow_mixed {
        return Err(Error::Usage("--allow-mixed requires --resume".to_string()));
    }
    let settings = settings::settings(arguments)?;
    if let Some(cluster) = arguments.on.as_ref().filter(|_| !arguments.list) {
        return on::start(arguments, cluster, &settings);
    }
    if let Some(dir) = arguments.out.as_deref().filter(|dir| arguments.continues && dir.join("run.json").exists()) {
        folder::wait_until_free(dir);
        if is_ours(dir, &settings)? {
            return resume(dir, arguments);
        }
        let aside = folder::set_aside(dir)?;
        note!("relgrad: the sweep in {} is of another machine; it is now {}", dir.display(), aside.display());
    }
    require_devices(&settings)?;
    let mut schedule = Schedule::of(&settings)?;
    let atlas = arguments.atlas.as_deref().map(atlas::read).transpose()?;
    if arguments.list {
        if let Some(atlas) = &atlas {
            let rooflines = atlas::ceilings(&settings, &mut Events::install()?)?;
            schedule.expect(&Predictor::new(atlas, &machine::facts(), rooflines, &[]).map_err(Error::Input)?);
        }
        preview::table(schedule, 0.0, |line| say!("{line}"));
        let part = settings.shard.map_or(String::new(), |shard| format!(", part {shard}"));
        say!("plan {}{part}", settings.plan_name());
        return Ok(0);
    }
    settings.thread_counts().for_each(warn_of_threads);
    settings.rank_counts().for_each(warn_of_ranks);
    let dir = arguments.out.clone().map_or_else(|| outputs::fresh("results"), Ok)?;
    let events = Events::install()?;
    let (run, writer) = folder::create(&dir, settings)?;
    let session = Session::new(&dir, (run, writer), schedule, events, Budget::after(0.0), arguments.options());
    report_on(&dir, Session { atlas, ..session }.run()?)
}

fn resume(dir: &Path, arguments: &Arguments) -> Result<u8> {
    let atlas = arguments.atlas.as_deref().map(atlas::read).transpose()?;
    let (Study { mut run, mut records, replaced, .. }, writer) = if arguments.list {
        (folder::read(dir)?, None)
    } else {
        let (study, writer) = folder::resume(dir)?;
        (study, Some(writer))
    };
    records.extend(replaced);
    let before = run.settings.clone();
    // A task that continues is told the limits that it has.
    let (raised, limits) = match arguments.continues {
        true => (Vec::new(), Vec::new()),
        false => settings::change_limits(arguments, &mut run.settings)?,
    };
    require_devices(&run.settings)?;
    let mut schedule = Schedule::of(&run.settings)?;
    let again = |record: &Record| raised.iter().any(|limit| limit.held_back(record));
    records.iter().filter(|record| !again(record)).for_each(|record| schedule.observe(record));
    let on_cells: f64 = records.iter().map(|record| record.wall_seconds).sum();
    let on_ceilings: f64 = run.rooflines.iter().map(|roofline| roofline.wall_seconds).sum();
    let spent_seconds = on_cells + on_ceilings;
    let Some(mut writer) = writer else {
        if let Some(atlas) = &atlas {
            let rooflines = run.rooflines.clone();
            schedule.expect(&Predictor::new(atlas, &run.machine, rooflines, &[]).map_err(Error::Input)?);
        }
        preview::table(schedule, spent_seconds, |line| say!("{line}"));
        return Ok(0);
    };

    // Where no cell is left to measure nothing can mix.
    let (cells, recorded) = schedule.progress();
    let is_complete = recorded == cells && schedule.disturbed(arguments.attempts).is_empty();
    let mixed = if !is_complete { identity::differences(&run, &folder::describe(before)) } else { Vec::new() };
    if !mixed.is_empty() && !arguments.allow_mixed {
        return Err(Error::Usage(format!(
            "the sweep in {} was started by another program or machine ({}): resume it there, or add --allow-mixed",
            dir.display(),
            mixed.join("; ")
        )));
    }
    run.settings.thread_counts().for_each(warn_of_threads);
    run.settings.rank_counts().for_each(warn_of_ranks);
    let events = Events::install()?;
    let removed = writer.retain(|record| !again(record)).map_err(|cause| Error::Output(cause.to_string()))?;
    if removed > 0 {
        note!("relgrad: {} run again: their limit was raised", units::counted(removed, "cell"));
    }
    if !mixed.is_empty() || !limits.is_empty() {
        let (at, command) = (rfc3339(unix_seconds()), console::command_line());
        run.changes.push(Change { at, command, records: records.len() - removed, limits, mixed });
        folder::write(dir, &run)?;
    }
    run.ended = None;
    let budget = Budget::after(spent_seconds);
    let session = Session::new(dir, (run, writer), schedule, events, budget, arguments.options());
    report_on(dir, Session { atlas, ..session }.run()?)
}

/// Whether the sweep in `dir` has ended, or can go on with this program on this machine.
fn is_ours(dir: &Path, settings: &Settings) -> Result<bool> {
    let run = read_run(dir).map_err(|cause| Error::Input(cause.to_string()))?;
    Ok(run.ended.is_some() || identity::differences(&run, &folder::describe(settings.clone())).is_empty())
}

/// Fails before anything is written when a requested device is missing.
pub(super) fn require_devices(settings: &Settings) -> Result<()> {
    if settings.devices.contains(&DeviceKind::Cuda) {
        gpu::require().map_err(gpu::told)?;
    }
    if settings.devices.contains(&DeviceKind::Cpu) {
        machine::require_math(settings.arithmetic(DeviceKind::Cpu)).map_err(gpu::told)?;
    }
    Ok(())
}
