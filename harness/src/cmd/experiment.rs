//! `relgrad experiment`: the paper's training experiments, one by name.

mod on;

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use relgrad_reports::run::Shard;

use super::{count, distinct};
use crate::cluster::Cluster;
use crate::cluster::campaign::MOST_PARTS;
use crate::data;
use crate::error::{EXIT_CODES, Error, Result, code};
use crate::experiment::{self, Context, Effort, PROTOCOLS, search};
use crate::machine;
use crate::quantity::TimeLimit;
use crate::run::interrupt::Events;
use crate::train::recipe::MOST_THREADS;

const EXAMPLES: &str = "\
Examples:
  relgrad experiment bias-mode --out experiments
  relgrad experiment fig6 --data DIR --effort full --out experiments
  relgrad experiment sample --images optdigits --data DIR --out experiments
  relgrad experiment table1 --search --data DIR --effort full --on slurm --parts 24

--search trains every setting of a grid for each set: activation, layers, step size, batch, base
density and biases. The best by its validation part is trained once more and tested, no other.
- --axis layers=10,30 puts other values in place of an axis. The axes are activation, layers,
  learning-rate, batch, base, bias (yes, no), init, schedule, epochs and validate-every.
- A setting leaves one file in OUT/table1-search. The same command again trains what is missing.
- --on deals the settings to tasks of a cluster, alike in predicted cost, and brings their files
  here. The data must lie in the same folder on every machine, and for slurm and hq OUT too.
";

/// Runs one of the paper's training experiments; writes NAME.json, NAME.md and a figure as SVG and PNG
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(crate) struct Arguments {
    #[arg(
        value_parser = PossibleValuesParser::new(PROTOCOLS.each_ref().map(|kind| kind.name)),
        hide_possible_values = true,
        help = names_help()
    )]
    name: String,

    /// Folder for the results; its models/ keeps trained models, which later runs reuse
    #[arg(long, value_name = "DIR", default_value = "experiments")]
    out: PathBuf,

    /// Folder of the data sets [default: $RELGRAD_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Data set of the image experiments (fig6, mnist-epoch, sample)
    #[arg(long, value_name = "SET", default_value = "mnist")]
    images: String,

    /// Duration: smoke (seconds), quick (under 3 minutes), full
    #[arg(long, default_value = "quick", value_parser = PossibleValuesParser::new(Effort::NAMES))]
    effort: String,

    /// For table1: search a grid of settings, and test the best by its validation part
    #[arg(long)]
    search: bool,

    /// With --search: the sets, comma-separated; toy:NAME too [default: those of Table 1 that are available]
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "search")]
    sets: Vec<String>,

    /// With --search: values of an axis of the grid in place of its own; again for another axis
    #[arg(long = "axis", value_name = "AXIS=LIST", requires = "search")]
    axes: Vec<String>,

    /// With --search: train the settings of one part alone (2/5: the second of five) into OUT/table1-search
    #[arg(long, value_name = "I/N", requires = "search", conflicts_with = "on")]
    shard: Option<Shard>,

    /// With --search: train on a cluster: slurm, slurm:PARTITION, hq or ssh:HOST,HOST (relgrad sweep --help)
    #[arg(long, value_name = "CLUSTER", requires = "search")]
    on: Option<Cluster>,

    /// With --on: number of parts, one a task [default: 4, over ssh one a host]
    #[arg(long, value_name = "COUNT", requires = "on", value_parser = count::<MOST_PARTS>)]
    parts: Option<usize>,

    /// With --on: time between two looks at the tasks [default: 15s]
    #[arg(long, value_name = "TIME", requires = "on")]
    poll: Option<TimeLimit>,

    /// Seed of the networks, the order of samples and the toy data
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// CPU threads [default: all available]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

fn names_help() -> String {
    let list = PROTOCOLS.each_ref().map(|kind| format!("\n  {:<12}{}", kind.name, kind.title)).concat();
    format!("Experiment:{list}")
}

fn help() -> String {
    format!("{EXAMPLES}\n{EXIT_CODES}")
}

/// Runs the experiment and prints the paths of what it wrote.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let kind = match (experiment::find(&arguments.name)?, arguments.search) {
        (kind, false) => kind,
        (kind, true) if kind.name == "table1" => &experiment::SEARCH,
        _ => return Err(Error::Usage("--search is for table1".to_string())),
    };
    super::start_threads(None)?;
    let threads = arguments.threads.map_or_else(machine::logical_cores, |threads| threads as usize).min(MOST_THREADS);
    let mut events = Events::install()?;
    let mut context = Context {
        out: &arguments.out,
        data: data::folder(arguments.data.as_deref()),
        images: arguments.images.clone(),
        sets: distinct(arguments.sets.iter().cloned()),
        axes: arguments.axes.clone(),
        effort: arguments.effort.parse()?,
        seed: arguments.seed,
        threads,
        quiet: arguments.quiet,
        events: &mut events,
    };
    if let Some(shard) = arguments.shard {
        say!("{}", search::part(&mut context, shard)?.display());
        return Ok(0);
    }
    if let Some(cluster) = &arguments.on
        && !on::train(arguments, &mut context, cluster)?
    {
        return Ok(code::INTERRUPTED);
    }
    let paths = experiment::run(kind, &mut context)?;
    paths.iter().map(|path: &PathBuf| path as &Path).for_each(|path| say!("{}", path.display()));
    Ok(0)
}
