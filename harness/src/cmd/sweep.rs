//! `relgrad sweep`: measures every cell of a plan and writes the report.

use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_kernels::{Activation, Dtype, Math, Method};
use relgrad_reports::record::Outcome;
use relgrad_reports::run::{Convolution, Run, Settings};
use relgrad_reports::writer::RecordWriter;

use crate::cmd::{at_least_one, report};
use crate::error::{EXIT_CODES, Error, Result, code};
use crate::machine;
use crate::machine::gpu;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::outputs;
use crate::plan::dims::{Dims, MAX_DIM};
use crate::plan::grids::{Grids, Kernel};
use crate::plan::preview;
use crate::plan::schedule::{Limits, Schedule};
use crate::plan::{self};
use crate::roofline::isolated::{self, Ceilings};
use crate::run::folder;
use crate::run::interrupt::Events;
use crate::run::progress::{Position, Progress};
use crate::run::{Driver, Ending};
use crate::units::{MemoryLimit, TimeLimit};
use crate::workload::DeviceKind;

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

A dimension range such as 10:20000 takes both ends and 1, 2, 3 and 5 times every power of ten between them. Each round \
measures every cell once, in an order shuffled from the seed and in a process of its own. A cell whose prediction exceeds \
a limit is recorded as skipped, with the prediction. A skipped or failed cell counts as done: --resume runs only the \
cells without a record, within what is left of the budget.
";

/// Measures time and memory of one gradient over the data dimension D, and writes a report with figures
#[derive(Debug, Args)]
#[command(after_help = help())]
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

    /// Time for the whole sweep (90s, 10m, 1h30m, none)
    #[arg(long, value_name = "TIME", default_value = "10m")]
    budget: TimeLimit,

    /// Time for the evaluations of one cell; building and checking its problem come on top
    #[arg(long, value_name = "TIME", default_value = "60s")]
    cell_limit: TimeLimit,

    /// Memory for one cell, a size or a share of what is available, or of a GPU's memory (12GiB, 80%)
    #[arg(long, value_name = "SIZE", default_value = "80%")]
    mem_limit: MemoryLimit,

    /// Folder for the results, new or empty; results/ and the UTC time when absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Continue the sweep in DIR, with the settings it was started with
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "dims", "methods", "batch", "layers", "dtype", "bias", "activation", "threads", "seed", "device", "math",
        "rounds", "min_samples", "budget", "cell_limit", "mem_limit", "out", "coupling", "grids", "channels", "kernel",
    ])]
    resume: Option<PathBuf>,

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

fn help() -> String {
    format!("{EXAMPLES}\n{EXIT_CODES}")
}

fn methods_help() -> String {
    let list =
        Method::ALL.map(|method| format!("\n  {:<18}{}", method.name(), method.description())).concat();
    format!("Methods to measure, comma-separated:{list}")
}

/// Runs, resumes or lists a sweep.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    match &arguments.resume {
        Some(dir) => resume(dir, arguments),
        None => start(arguments),
    }
}

fn start(arguments: &Arguments) -> Result<u8> {
    let settings = settings(arguments)?;
    require_devices(&settings)?;
    let schedule = schedule(&settings)?;
    if arguments.list {
        say_text!("{}", preview::table(&schedule, 0.0));
        return Ok(0);
    }
    let dir = arguments.out.clone().map_or_else(|| outputs::fresh("results"), Ok)?;
    let events = Events::install()?;
    let run = folder::create(&dir, settings)?;
    let (roofline, quiet) = (!arguments.no_roofline, arguments.quiet);
    Session { dir: &dir, run, schedule, events, spent_seconds: 0.0, roofline, quiet }.finish()
}

fn resume(dir: &Path, arguments: &Arguments) -> Result<u8> {
    let study = folder::read(dir)?;
    require_devices(&study.run.settings)?;
    let mut schedule = schedule(&study.run.settings)?;
    study.records.iter().for_each(|record| schedule.observe(record));
    let on_cells: f64 = study.records.iter().map(|record| record.wall_seconds).sum();
    let on_ceilings: f64 = study.run.rooflines.iter().map(|roofline| roofline.wall_seconds).sum();
    let spent_seconds = on_cells + on_ceilings;
    if arguments.list {
        say_text!("{}", preview::table(&schedule, spent_seconds));
        return Ok(0);
    }
    let events = Events::install()?;
    let cpu = machine::facts().cpu;
    if cpu != study.run.machine.cpu {
        note!(
            "relgrad: this sweep began on another machine ({}); its records will mix both",
            study.run.machine.cpu
        );
    }
    let run = Run { ended: None, ..study.run };
    let (roofline, quiet) = (!arguments.no_roofline, arguments.quiet);
    Session { dir, run, schedule, events, spent_seconds, roofline, quiet }.finish()
}

/// Fails before anything is written when a device that will be measured is not there.
fn require_devices(settings: &Settings) -> Result<()> {
    if settings.devices.iter().any(|device| device == DeviceKind::Cuda.name()) {
        gpu::require().map_err(gpu::told)?;
    }
    Ok(())
}

/// The number type, and the arithmetic of a GPU's products if one will be measured.
fn arithmetic(arguments: &Arguments) -> Result<(Dtype, Option<Math>)> {
    let on_gpu = arguments.device.contains(&DeviceKind::Cuda);
    let Some(math) = arguments.math else {
        let dtype = arguments.dtype.unwrap_or(Dtype::F32);
        return Ok((dtype, on_gpu.then_some(Math::of(dtype))));
    };
    if !on_gpu {
        return Err(Error::Usage("--math is for a GPU: add --device cuda, or use --dtype".to_string()));
    }
    match arguments.dtype {
        Some(dtype) if dtype != math.dtype() => {
            Err(Error::Usage(format!("--math {math} multiplies {} numbers, not {dtype}", math.dtype())))
        }
        _ => Ok((math.dtype(), Some(math))),
    }
}

/// The settings with defaults filled in for this machine.
fn settings(arguments: &Arguments) -> Result<Settings> {
    let (dtype, math) = arithmetic(arguments)?;
    let mut devices: Vec<String> = Vec::new();
    for device in arguments.device.iter().map(ToString::to_string) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    // Without a GPU the sweep ends before the limit could matter.
    let device_memory = math.and_then(|_| gpu::memory_bytes().ok());
    let mut methods: Vec<String> = Vec::new();
    for method in arguments.methods.iter().map(ToString::to_string) {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    let (batch, other_batches) = first_and_others(&arguments.batch);
    let (layers, other_layers) = first_and_others(&arguments.layers);
    let convolution = convolution(arguments)?;
    if convolution.is_some() && math.is_some() {
        return Err(Error::Usage("--coupling conv is for --device cpu".to_string()));
    }
    let dims = match &convolution {
        None => match &arguments.dims {
            Some(dims) => dims.0.clone(),
            None => DEFAULT_DIMS.parse::<Dims>().map_err(Error::Usage)?.0,
        },
        Some(c) => c.grids.iter().map(|[rows, cols]| c.channels * rows * cols).collect(),
    };
    Ok(Settings {
        dims,
        methods,
        devices,
        batch,
        other_batches,
        layers,
        other_layers,
        dtype: dtype.to_string(),
        bias: arguments.bias,
        activation: arguments.activation.to_string(),
        threads: arguments.threads.unwrap_or_else(machine::logical_cores),
        seed: arguments.seed,
        rounds: arguments.rounds,
        min_samples: arguments.min_samples,
        budget_seconds: arguments.budget.0,
        cell_limit_seconds: arguments.cell_limit.0,
        memory_limit_bytes: arguments.mem_limit.resolve(machine::available_bytes()),
        convolution,
        device_memory_limit_bytes: device_memory.map(|bytes| arguments.mem_limit.resolve(bytes)),
        math: math.map(|math| math.to_string()),
    })
}

/// The first of a list, which clap keeps from being empty, and the others, ascending and without repeats.
fn first_and_others(list: &[usize]) -> (usize, Vec<usize>) {
    let first = list.first().copied().unwrap_or(1);
    let mut others: Vec<usize> = list.iter().copied().filter(|value| *value != first).collect();
    others.sort_unstable();
    others.dedup();
    (first, others)
}

/// The grids, channels and kernels of `--coupling conv`.
fn convolution(arguments: &Arguments) -> Result<Option<Convolution>> {
    let Arguments { coupling, grids, channels, kernel, .. } = arguments;
    if coupling == "dense" {
        return match (grids, channels, kernel) {
            (None, None, None) => Ok(None),
            _ => Err(Error::Usage("--grids, --channels and --kernel are for --coupling conv".to_string())),
        };
    }
    if arguments.dims.is_some() {
        return Err(Error::Usage("--coupling conv takes --grids in place of --dims".to_string()));
    }
    let grids = match grids {
        Some(grids) => grids.0.clone(),
        None => DEFAULT_GRIDS.parse::<Grids>().map_err(Error::Usage)?.0,
    };
    let channels = channels.unwrap_or(DEFAULT_CHANNELS);
    let largest = grids.iter().map(|[rows, cols]| rows.saturating_mul(*cols).saturating_mul(channels)).max();
    if largest.is_some_and(|dim| dim > MAX_DIM) {
        return Err(Error::Usage(format!("channels times points of a grid may be {MAX_DIM} at most")));
    }
    Ok(Some(Convolution { channels, kernel: kernel.and_then(|kernel| kernel.0), grids }))
}

/// Four a decade over the range of the paper.
const DEFAULT_DIMS: &str = "10:20000";
/// D = 40 to 20,000 with the default number of channels.
const DEFAULT_GRIDS: &str = "10:5000";
const DEFAULT_CHANNELS: usize = 4;

/// The same plan whenever the settings are the same.
fn schedule(settings: &Settings) -> Result<Schedule> {
    let limits = Limits {
        budget_seconds: settings.budget_seconds,
        cell_seconds: settings.cell_limit_seconds,
        memory_bytes: settings.memory_limit_bytes as f64,
        device_memory_bytes: settings.device_memory_limit_bytes.map(|bytes| bytes as f64),
        min_samples: settings.min_samples,
    };
    let plan = plan::plan(settings).map_err(|cause| Error::Usage(cause.to_string()))?;
    Ok(Schedule::new(plan, limits))
}

/// What is left to do once the folder stands and the records so far are known.
struct Session<'a> {
    dir: &'a Path,
    run: Run,
    schedule: Schedule,
    events: Events,
    spent_seconds: f64,
    /// Whether the ceilings are to be measured where `run` has none.
    roofline: bool,
    quiet: bool,
}

impl Session<'_> {
    /// Runs the missing cells, writes the report and says how it went.
    fn finish(mut self) -> Result<u8> {
        let writer = RecordWriter::open(self.dir).map_err(|cause| Error::Output(cause.to_string()))?;
        let (cells, recorded) = self.schedule.progress();
        let remaining_seconds = self.schedule.remaining_seconds(self.spent_seconds);
        let progress = Progress::new(self.quiet, Position { cells, recorded, remaining_seconds });
        let program = std::env::current_exe().map_err(|cause| {
            Error::Output(format!("cannot find this program to start it for a cell: {cause}"))
        })?;
        for device in DeviceKind::ALL {
            let wanted = self.run.settings.devices.iter().any(|name| name == device.name());
            if self.roofline && wanted && recorded < cells && self.run.roofline(device.name()).is_none() {
                progress.say("measuring the machine's ceilings (see relgrad roofline)");
                self.measure_ceilings(&program, device)?;
            }
        }
        let mut driver = Driver {
            schedule: self.schedule,
            writer,
            progress,
            events: self.events,
            program,
            min_samples: self.run.settings.min_samples,
            memory_limit_bytes: self.run.settings.memory_limit_bytes,
            spent_seconds: self.spent_seconds,
        };
        let ending = driver.run()?;
        if ending == Ending::Complete {
            self.run.ended = Some(rfc3339(unix_seconds()));
            folder::write(self.dir, &self.run)?;
        }
        report_on(self.dir, ending)
    }

    /// Adds the ceilings to `run.json`. A sweep goes on without them where they cannot be had.
    fn measure_ceilings(&mut self, program: &Path, device: DeviceKind) -> Result<()> {
        match isolated::measure(program, device, &self.run.settings, &mut self.events)? {
            Ceilings::Measured(roofline) => {
                self.spent_seconds += roofline.wall_seconds;
                self.run.rooflines.push(*roofline);
                folder::write(self.dir, &self.run)
            }
            Ceilings::Failed(reason) => {
                note!("relgrad: the report will have no fractions of ceilings: {reason}");
                Ok(())
            }
            // The driver sees the same signal before its first cell.
            Ceilings::Interrupted => Ok(()),
        }
    }
}

/// Writes the report of what is there and returns the exit code.
fn report_on(dir: &Path, ending: Ending) -> Result<u8> {
    let study = folder::read(dir)?;
    report::write(dir, &study)?;
    let count = |outcome| study.records.iter().filter(|record| record.outcome == outcome).count();
    let (measured, skipped, failed) =
        (count(Outcome::Measured), count(Outcome::Skipped), count(Outcome::Failed));
    say!("{measured} cells measured, {skipped} skipped, {failed} failed");
    say!("report: {}", dir.join("report.html").display());

    if ending == Ending::Interrupted {
        note!("relgrad: interrupted; continue with: relgrad sweep --resume {}", dir.display());
        return Ok(code::INTERRUPTED);
    }
    let check_failed = |check: &relgrad_reports::record::Check| !matches!(check.max_rel_err.partial_cmp(&check.tolerance), Some(order) if order.is_le());
    if study.records.iter().filter_map(|record| record.check.as_ref()).any(check_failed) {
        note!("relgrad: a gradient failed its check; the report says which");
        return Ok(code::CHECK_FAILED);
    }
    if measured == 0 {
        note!("relgrad: nothing was measured; the records say why");
        return Ok(code::NOTHING_MEASURED);
    }
    Ok(0)
}
