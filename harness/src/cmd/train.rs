//! `relgrad train`: a network learns a data set.

mod convolution;
mod ending;
mod ranks;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, FromArgMatches};
use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::{Activation, Base, Dtype, Method, Tuning};
use relgrad_reports::training::{Stop, Training, TrainingSettings};

use crate::console;
use crate::data::text::Header;
use crate::data::{self, DataSet, Request};
use crate::error::{EXIT_CODES, Error, Result, code};
use crate::experiment::figures;
use crate::machine;
use crate::measure::plan::grids::{self, Kernel};
use crate::outputs;
use crate::quantity::TimeLimit;
use crate::run::interrupt::Events;
use crate::train::edge::Edge;
use crate::train::learner::Tracking;
use crate::train::prepare::prepare;
use crate::train::recipe::{AdamCorrection, EpochSchedule, Optimizer, Recipe};
use crate::train::start::Start;
use crate::train::store::{self, Store};
use crate::train::trainer::{self, Job, Trained};
use crate::train::{memory, ranked, recipe};

/// Data sets, starts from the data, and examples.
const HELP: &str = include_str!("train.txt");

/// Trains a network by maximum likelihood with any gradient backend, and keeps the best model
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(crate) struct Arguments {
    /// What to learn: a data set, toy:NAME, or a file
    #[arg(required_unless_present = "resume")]
    dataset: Option<OsString>,

    /// Folder of the data sets
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Whether the first line of a file of text names the columns; auto: where none of its fields is a number
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = PossibleValuesParser::new(Header::NAMES))]
    header: String,

    /// Learn the density of x given u: labels (the classes of mnist and optdigits), or columns of a file, by number
    /// or name and comma-separated; they leave x, and go in as they are
    #[arg(long, value_name = "WHAT")]
    conditional: Option<String>,

    /// Training samples of a toy set
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..))]
    toy_samples: u32,

    /// Gradient backend; with SGD the relative ones step in place and store no gradient
    #[arg(long, default_value = "relative", value_parser = super::named::<Method, _>(Method::NAMES))]
    method: Method,

    /// Numbers of a method that approximates: probes=COUNT, tolerance=NUMBER and beta=NUMBER, comma-separated
    #[arg(long, value_name = "LIST", default_value_t)]
    tune: Tuning,

    /// Biases: the exact relative gradient, the paper's rule (without the share of the log-determinant), or plain
    #[arg(long, default_value = "exact", value_parser = PossibleValuesParser::new(BiasMode::NAMES))]
    bias_mode: String,

    /// Optimiser; Adam has its published parameters, equivariant-adam the moments of the relative step W <- (I + E)W
    /// and not of EW (for networks of few units: a D x D product a layer)
    #[arg(long, default_value = "adam", value_parser = PossibleValuesParser::new(Optimizer::NAMES))]
    optimizer: String,

    /// Which t is in Adam's corrections 1 - beta^t: the number of steps, as published, or of epochs plus 1, as the
    /// paper's authors run it, for comparison: settled steps are then 0.24 of the step size in epoch 1, 0.31 in 100
    #[arg(long, value_name = "T", default_value = "step",
        value_parser = PossibleValuesParser::new(AdamCorrection::NAMES))]
    adam_correction: String,

    /// Step size
    #[arg(long, value_name = "MU", default_value_t = 1e-3)]
    learning_rate: f64,

    /// How the step size falls: cosine (to 0 over all epochs), inverse:EPOCHS (halved after so many), or constant
    #[arg(long, default_value = "cosine")]
    schedule: EpochSchedule,

    /// Keep the step size below this share of the largest stable one, which is estimated every 400 steps; off: log and
    /// warn only; none: no estimates, and none of their memory
    #[arg(long, value_name = "SHARE", default_value = "off")]
    edge: Edge,

    /// Undo a step that lowers the likelihood of the training part, and halve the step size; for full batches and SGD
    #[arg(long)]
    line_search: bool,

    /// Where five epochs in a row end more than this below the best validation likelihood, or one leaves the numbers,
    /// go back to the best network and halve the step size; absent: never
    #[arg(long, value_name = "NATS")]
    rewind: Option<f64>,

    /// Add normal noise of this standard deviation to the training samples; it falls to 0 over the first half of the
    /// steps, so that a network learns coarse shapes first
    #[arg(long, value_name = "SIGMA", default_value_t = 0.0)]
    noise: f64,

    /// Take plain steps as they are, even where one might make a layer singular
    #[arg(long)]
    no_guard: bool,

    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,

    /// Epochs at most
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    epochs: usize,

    /// Stop after so many epochs without a better validation likelihood; 0 never does
    #[arg(long, value_name = "EPOCHS", default_value_t = 30)]
    patience: usize,

    /// Choose the best model, and count --patience, from the validations of every so many epochs alone
    #[arg(long, value_name = "EPOCHS", value_parser = super::at_least_one)]
    validate_every: Option<usize>,

    /// Stop, with a checkpoint, after this time (15m, 2h, none)
    #[arg(long, value_name = "TIME", default_value = "none")]
    time_limit: TimeLimit,

    /// Layers of the network
    #[arg(long, value_name = "L", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    layers: u32,

    /// What the layers are: dense, or conv for circular convolutions on a grid
    #[arg(long, value_name = "KIND", default_value = "dense", value_parser = ["dense", "conv"])]
    coupling: String,

    /// Grid of conv layers: rows x columns such as 8x8, or a number of points in one row; that of the pictures of mnist
    /// and optdigits when absent
    #[arg(long, value_name = "SIZE", value_parser = grids::grid)]
    grid: Option<[usize; 2]>,

    /// Channels of conv layers; a sample is as many grids, one after another [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = super::at_least_one)]
    channels: Option<usize>,

    /// Taps of the kernels of conv layers: full, a number, or rows x columns such as 3x3; those between 1x1 and full
    /// have no relative gradient: add --method ordinary [default: full]
    #[arg(long, value_name = "SIZE")]
    kernel: Option<Kernel>,

    /// Nonlinearity: smooth:ALPHA or tanh:ALPHA:BETA
    #[arg(long, default_value = "smooth:0.3")]
    activation: Activation,

    /// Apply the nonlinearity after the last layer too
    #[arg(long)]
    last_nonlinear: bool,

    /// Leave out the biases
    #[arg(long)]
    no_bias: bool,

    /// Density of the latents: normal, sech, sech:C, logistic, laplace
    #[arg(long, default_value = "normal")]
    base: Base,

    /// First network: drawn from the seed, or with a first layer that standardises or whitens the training data, or
    /// with every layer normalising what it receives of them
    #[arg(long, default_value = "orthogonal", value_parser = PossibleValuesParser::new(Start::NAMES))]
    init: String,

    /// Number type
    #[arg(long, default_value = "f32", value_parser = super::named::<Dtype, 2>(Dtype::NAMES))]
    dtype: Dtype,

    /// Seed of network, order and toy data
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// CPU threads, of all ranks together; all when absent
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,

    /// Split the columns of every weight over so many ranks, processes by mpiexec or else threads: for plain relative
    /// steps (--optimizer sgd) of dense layers; under mpiexec as many as it starts
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u32).range(1..))]
    ranks: Option<u32>,

    /// Epochs between checkpoints
    #[arg(long, value_name = "EPOCHS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: u32,

    /// Folder for log, checkpoints and figure, new or empty; trainings/ and the UTC time when absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Continue the training in DIR with the settings it was started with
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "dataset", "header", "toy_samples", "method", "tune", "bias_mode", "optimizer", "adam_correction",
        "learning_rate", "schedule", "edge", "line_search", "rewind", "noise", "no_guard", "batch", "epochs",
        "patience", "validate_every", "layers", "activation",
        "last_nonlinear", "no_bias", "base", "init", "dtype", "seed", "threads", "checkpoint_every", "out",
        "conditional", "coupling", "grid", "channels", "kernel",
    ])]
    resume: Option<PathBuf>,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

fn help() -> String {
    format!("{HELP}\n{EXIT_CODES}")
}

impl Arguments {
    /// Threads that the command line names, where they are not too many.
    pub(super) fn asked_threads(&self) -> Option<usize> {
        self.threads.map(|threads| threads as usize).filter(|threads| *threads <= recipe::MOST_THREADS)
    }
}

/// The settings of `relgrad train DATA` without further flags.
pub(crate) fn default_settings(data: &str) -> Result<TrainingSettings> {
    let command = Arguments::augment_args(clap::Command::new("train"));
    let parsed = command.try_get_matches_from(["train", data]).and_then(|words| Arguments::from_arg_matches(&words));
    parsed.map(|arguments| settings(&arguments)).map_err(|cause| Error::Usage(cause.to_string()))
}

/// Starts or resumes a training.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    if let Some(code) = ranks::run(arguments)? {
        return Ok(code);
    }
    super::start_threads(arguments.asked_threads())?;
    let Begun { store, training, set } = begin(arguments, None)?;
    let recipe = Recipe::for_data(&training.settings, &set.parts)?;
    let mut events = Events::install()?;
    let job = Job {
        store: Some(&store),
        time_limit_seconds: arguments.time_limit.0,
        quiet: arguments.quiet,
        ..Job::new(&recipe, &set.parts, Tracking::On)
    };
    let ended = trainer::train(&job, &mut events).and_then(|trained| end(&store, training, &trained));
    if ended.is_err() && arguments.resume.is_none() {
        store.give_back();
    }
    ended
}

/// A training whose folder is open and whose data are read.
struct Begun {
    store: Store,
    training: Training,
    set: DataSet,
}

/// Starts or opens it; over several ranks with their number and how many of them are here.
fn begin(arguments: &Arguments, ranks: Option<(usize, usize)>) -> Result<Begun> {
    let folder = data::folder(arguments.data.as_deref());
    match &arguments.resume {
        Some(dir) => resume(dir, folder.as_deref()).inspect(|begun| tell(arguments, &begun.set)),
        None => start(arguments, folder.as_deref(), ranks),
    }
}

/// Says what was read.
fn tell(arguments: &Arguments, set: &DataSet) {
    if !arguments.quiet {
        set.told.iter().for_each(|words| note!("{words}"));
    }
}

fn start(arguments: &Arguments, folder: Option<&Path>, ranks: Option<(usize, usize)>) -> Result<Begun> {
    convolution::require(arguments)?;
    let mut settings = settings(arguments);
    let is_watched = ranks.is_some() && arguments.edge == Edge::Off;
    if is_watched {
        settings.edge = Edge::Unseen.word();
    }
    let set = load(arguments, &settings, folder)?;
    let mut set = data::conditional(set, settings.conditional.as_deref(), folder)?;
    settings.convolution = convolution::layers(arguments, &set)?;
    // Before anything is written: the settings must make sense for these data, and there must be memory.
    let recipe = Recipe::for_data(&settings, &set.parts)?;
    ranks.map_or(Ok(()), |(ranks, _)| ranked::require(&recipe, ranks))?;
    memory::require(&recipe, &set.parts, ranks)?;
    let prepared = prepare(&mut set, &recipe);
    // What was read comes first, also where it is refused.
    tell(arguments, &set);
    prepared?.iter().for_each(|words| note!("relgrad: {words}"));
    if is_watched && !arguments.quiet {
        note!("the sharpness is not estimated over ranks (--edge none)");
    }
    let dir = arguments.out.clone().map_or_else(|| outputs::fresh("trainings"), Ok)?;
    let training = store::begun(console::command_line(), settings, &set);
    Ok(Begun { store: Store::create(&dir, &training)?, training, set })
}

fn resume(dir: &Path, folder: Option<&Path>) -> Result<Begun> {
    let (store, training) = Store::open(dir)?;
    // The pool was started before the settings were known.
    faer::set_global_parallelism(match training.settings.threads {
        1 => faer::Par::Seq,
        threads => faer::Par::rayon(threads),
    });
    let set = data::load_again(&training, folder)?;
    Ok(Begun { store, training, set })
}

fn load(arguments: &Arguments, settings: &TrainingSettings, folder: Option<&Path>) -> Result<DataSet> {
    let header: Header = arguments.header.parse()?;
    match &arguments.dataset {
        Some(file) if data::is_file_name(file) => data::load_file(Path::new(file), header),
        _ if header != Header::Auto => Err(Error::Usage("--header is for files of text".to_string())),
        _ => data::load(&Request {
            name: &settings.data,
            folder,
            seed: settings.seed,
            toy_samples: settings.toy_samples,
        }),
    }
}

/// As many as are asked for, or as there are cores.
fn threads(arguments: &Arguments) -> usize {
    arguments.threads.map_or_else(|| machine::logical_cores().min(recipe::MOST_THREADS), |threads| threads as usize)
}

/// The settings with defaults filled in for this machine.
fn settings(arguments: &Arguments) -> TrainingSettings {
    TrainingSettings {
        data: arguments.dataset.as_deref().unwrap_or_default().to_string_lossy().into_owned(),
        toy_samples: arguments.toy_samples as usize,
        method: arguments.method,
        bias_mode: arguments.bias_mode.clone(),
        optimizer: arguments.optimizer.clone(),
        learning_rate: arguments.learning_rate,
        schedule: arguments.schedule.to_string(),
        guard: !arguments.no_guard,
        batch: arguments.batch as usize,
        epochs: arguments.epochs,
        patience: (arguments.patience > 0).then_some(arguments.patience),
        layers: arguments.layers as usize,
        activation: arguments.activation,
        last_nonlinear: arguments.last_nonlinear,
        bias: !arguments.no_bias,
        base: arguments.base,
        init: arguments.init.clone(),
        dtype: arguments.dtype,
        seed: arguments.seed,
        threads: threads(arguments),
        checkpoint_every: arguments.checkpoint_every as usize,
        // What the layers are can depend on the data.
        convolution: None,
        conditional: arguments.conditional.clone(),
        adam_correction: Some(arguments.adam_correction.clone()).filter(|t| t != AdamCorrection::Step.name()),
        edge: arguments.edge.word(),
        line_search: arguments.line_search,
        rewind: arguments.rewind,
        validate_every: arguments.validate_every.filter(|epochs| *epochs > 1),
        noise: Some(arguments.noise).filter(|sigma| *sigma != 0.0),
        tuning: arguments.tune,
    }
}

/// Writes the outcome, says how it went, and draws the figure last: it is the least that can be lost.
fn end(store: &Store, mut training: Training, trained: &Trained) -> Result<u8> {
    let outcome = &trained.outcome;
    training.outcome = Some(outcome.clone());
    store.write_header(&training)?;
    ending::print_outcome(&training, outcome);
    let hints = [
        ending::edge_line(&trained.epochs, &training.settings),
        ending::undone_line(&trained.epochs, &training.settings, outcome.stop),
        ending::guard_hint(&trained.epochs, training.settings.learning_rate),
    ];
    hints.iter().flatten().for_each(|hint| say!("{hint}"));
    say!("model: {}", store.dir().display());
    let dir = store.dir().display();
    let code = match outcome.stop {
        Stop::Interrupted => {
            note!("relgrad: interrupted; continue with: relgrad train --resume {dir}");
            code::INTERRUPTED
        }
        Stop::TimeLimit => {
            note!("relgrad: the time is up; continue with: relgrad train --resume {dir}");
            0
        }
        Stop::Complete | Stop::Patience | Stop::LineSearch => 0,
    };
    figures::training(store.dir(), &training, &trained.epochs)?;
    Ok(code)
}
