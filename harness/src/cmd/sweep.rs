//! `relgrad sweep`: measures every cell of a plan and writes the report.

mod outcome;
mod settings;

use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_kernels::{Activation, Dtype, Math, Method};
use relgrad_reports::record::Record;
use relgrad_reports::run::{Change, Settings};
use relgrad_reports::study::Study;
use relgrad_reports::units;

use self::outcome::report_on;
use crate::cmd::{at_least_one, warn_of_threads};
use crate::error::{Error, Result};
use crate::machine::gpu;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::plan::dims::Dims;
use crate::measure::plan::grids::{Grids, Kernel};
use crate::measure::plan::preview;
use crate::measure::plan::schedule::Schedule;
use crate::measure::run::interrupt::Events;
use crate::measure::run::{Session, folder, identity};
use crate::measure::workload::DeviceKind;
use crate::quantity::{MemoryLimit, TimeLimit};
use crate::{console, outputs};

const EXAMPLES: &str = "\
Examples:
  relgrad sweep                                    D from 10 to 20,000 in about ten minutes
  relgrad sweep --dims 10,100,1000 --rounds 1      three dimensions, one process each
  relgrad sweep --dims 100:5000 --dtype f64 --bias --activation tanh:1:0.1
  relgrad sweep --dims 30:1000 --batch 100,10,1000 also against the batch size; figures against D show N = 100
  relgrad sweep --device cpu,cuda --math tf32      both in one report, the GPU's products in TF32
  relgrad sweep --list                             the plan and its predicted cost, nothing runs
  relgrad sweep --budget none --cell-limit none    everything that fits in memory, however long
  relgrad sweep --coupling conv --channels 8       convolution layers on grids of 10 to 5,000 points
  relgrad sweep --coupling conv --grids 8x8,16x16,32x32 --kernel 3x3 --methods ordinary,autodiff
  relgrad sweep --resume results/2026-11-24T00-15-00Z
  relgrad sweep --resume results/2026-11-24T00-15-00Z --budget 1h

A dimension range such as 10:20000 takes both ends and 1, 2, 3 and 5 times every power of ten between them. Each round \
measures every cell once, in an order shuffled from the seed and in a process of its own. A cell whose prediction \
exceeds a limit is recorded as skipped, with the prediction. A skipped or failed cell counts as done: --resume runs \
only the cells without a record, within what is left of the budget, and those that a limit held back which is raised \
then.
";

/// Measures time and memory of one gradient over the data dimension D, and writes a report with figures
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Data dimensions D: a list, ranges, or both (10,20,50 or 10:20000) [default: 10:20000]
    #[arg(long, value_name = "LIST")]
    dims: Option<Dims>,
    /// What the layers are: dense, or conv for circular convolutions, with the grid as the axis of the sweep
    #[arg(long, value_name = "KIND", default_value = "dense", value_parser = ["dense", "conv"])]
    coupling: String,
    /// Grids of conv layers: numbers of points, ranges of them, or rows x columns [default: 10:5000]
    #[arg(long, value_name = "LIST", conflicts_with = "dims")]
    grids: Option<Grids>,
    /// Channels of conv layers; D is the channels times the points of the grid [default: 4]
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
    /// Samples in a batch, N; of several, comma-separated, figures against D show the first
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "100", value_parser = at_least_one)]
    batch: Vec<usize>,
    /// Layers of the network, L; of several, comma-separated, figures against D show the first
    #[arg(long, value_name = "L", value_delimiter = ',', default_value = "2", value_parser = at_least_one)]
    layers: Vec<usize>,
    /// Number type: f32 or f64; that of --math when absent, and otherwise f32
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,
    /// Give the layers biases
    #[arg(long)]
    bias: bool,
    /// Nonlinearity: smooth:ALPHA or tanh:ALPHA:BETA
    #[arg(long, value_name = "SIGMA", default_value = "smooth:0.3")]
    activation: Activation,
    /// CPU threads; all that this process may use when absent
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    threads: Option<usize>,
    /// Seed of the networks, the data and the order of cells
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Devices to measure, comma-separated: cpu, cuda (the first NVIDIA GPU)
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "cpu")]
    device: Vec<DeviceKind>,
    /// Arithmetic of matrix products on a GPU: f32, tf32 or f64; that of --dtype when absent
    #[arg(long, value_name = "NAME")]
    math: Option<Math>,
    /// Independent processes per cell
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = at_least_one)]
    rounds: usize,
    /// Fewest samples of a cell, unless its time is up
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = at_least_one)]
    min_samples: usize,
    /// Time for the whole sweep (90s, 10m, 1h30m, none) [default: 10m]
    #[arg(long, value_name = "TIME")]
    budget: Option<TimeLimit>,
    /// Time for the evaluations of one cell; building and checking its problem come on top [default: 60s]
    #[arg(long, value_name = "TIME")]
    cell_limit: Option<TimeLimit>,
    /// Memory for one cell, a size or a share of what is available, or of a GPU's memory (12GiB, 80%) [default: 80%]
    #[arg(long, value_name = "SIZE")]
    mem_limit: Option<MemoryLimit>,
    /// Folder for the results, new or empty; results/ and the UTC time when absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the sweep in DIR, with the settings it was started with; --budget, --cell-limit and --mem-limit may
    /// change
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "dims", "methods", "batch", "layers", "dtype", "bias", "activation", "threads", "seed", "device", "math",
        "rounds", "min_samples", "out", "coupling", "grids", "channels", "kernel",
    ])]
    resume: Option<PathBuf>,
    /// With --resume: go on although the program or the machine is another than at the start; the report will say so
    #[arg(long, requires = "resume")]
    allow_mixed: bool,
    /// Print the plan and its predicted cost, and run nothing
    #[arg(long)]
    list: bool,
    /// Do not measure the machine's ceilings first: the report will have no fractions of them
    #[arg(long)]
    no_roofline: bool,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

const KERNEL_HELP: &str = "\
Taps of the kernels of conv layers: full, a number, or rows x columns such as 3x3 [default: full]

Only kernels with every tap of their grid (full) or with one (1x1) have a relative gradient; others have the methods \
ordinary, autodiff and autodiff-streamed.";

fn methods_help() -> String {
    let list = Method::ALL.map(|method| format!("\n  {:<18}{}", method.name(), method.description())).concat();
    format!("Methods to measure, comma-separated:{list}")
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    match &arguments.resume {
        Some(dir) => resume(dir, arguments),
        None => start(arguments),
    }
}

fn start(arguments: &Arguments) -> Result<u8> {
    if arguments.allow_mixed {
        return Err(Error::Usage("--allow-mixed is for --resume".to_string()));
    }
    let settings = settings::settings(arguments)?;
    require_devices(&settings)?;
    let schedule = Schedule::of(&settings)?;
    if arguments.list {
        preview::table(schedule, 0.0, |line| say!("{line}"));
        return Ok(0);
    }
    warn_of_threads(settings.threads);
    let dir = arguments.out.clone().map_or_else(|| outputs::fresh("results"), Ok)?;
    let events = Events::install()?;
    let (run, writer) = folder::create(&dir, settings)?;
    let (roofline, quiet) = (!arguments.no_roofline, arguments.quiet);
    let session = Session { dir: &dir, run, writer, schedule, events, spent_seconds: 0.0, roofline, quiet };
    report_on(&dir, session.run()?)
}

fn resume(dir: &Path, arguments: &Arguments) -> Result<u8> {
    let (Study { mut run, records, .. }, writer) = if arguments.list {
        (folder::read(dir)?, None)
    } else {
        let (study, writer) = folder::resume(dir)?;
        (study, Some(writer))
    };
    let before = run.settings.clone();
    let (raised, limits) = settings::change_limits(arguments, &mut run.settings)?;
    require_devices(&run.settings)?;
    let mut schedule = Schedule::of(&run.settings)?;
    let again = |record: &Record| raised.iter().any(|limit| limit.held_back(record));
    records.iter().filter(|record| !again(record)).for_each(|record| schedule.observe(record));
    let on_cells: f64 = records.iter().map(|record| record.wall_seconds).sum();
    let on_ceilings: f64 = run.rooflines.iter().map(|roofline| roofline.wall_seconds).sum();
    let spent_seconds = on_cells + on_ceilings;
    let Some(mut writer) = writer else {
        preview::table(schedule, spent_seconds, |line| say!("{line}"));
        return Ok(0);
    };

    // Where no cell is left to measure nothing can mix.
    let (cells, recorded) = schedule.progress();
    let mixed = if recorded < cells { identity::differences(&run, &folder::describe(before)) } else { Vec::new() };
    if !mixed.is_empty() && !arguments.allow_mixed {
        return Err(Error::Usage(format!(
            "{} began with another program or on another machine ({}): go on there, or add --allow-mixed and its \
             report will say so",
            dir.display(),
            mixed.join("; ")
        )));
    }
    warn_of_threads(run.settings.threads);
    let events = Events::install()?;
    let removed = writer.retain(|record| !again(record)).map_err(|cause| Error::Output(cause.to_string()))?;
    if removed > 0 {
        note!("relgrad: {} held back by a limit that is higher now: tried again", units::counted(removed, "cell"));
    }
    if !mixed.is_empty() || !limits.is_empty() {
        let (at, command) = (rfc3339(unix_seconds()), console::command_line());
        run.changes.push(Change { at, command, records: records.len() - removed, limits, mixed });
        folder::write(dir, &run)?;
    }
    run.ended = None;
    let (roofline, quiet) = (!arguments.no_roofline, arguments.quiet);
    let session = Session { dir, run, writer, schedule, events, spent_seconds, roofline, quiet };
    report_on(dir, session.run()?)
}

/// Fails before anything is written when a device that will be measured is not there.
fn require_devices(settings: &Settings) -> Result<()> {
    if settings.devices.contains(&DeviceKind::Cuda) {
        gpu::require().map_err(gpu::told)?;
    }
    Ok(())
}
