//! `relgrad experiment`: the paper's training experiments, one by name.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::data;
use crate::error::{EXIT_CODES, Result};
use crate::experiment::{self, Context, Effort, PROTOCOLS};
use crate::machine;
use crate::run::interrupt::Events;
use crate::train::recipe::MOST_THREADS;

const EXAMPLES: &str = "\
Examples:
  relgrad experiment bias-mode --out experiments
  relgrad experiment fig6 --data DIR --effort full --out experiments
  relgrad experiment sample --images optdigits --data DIR --out experiments
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
    super::start_threads(None)?;
    let threads = arguments.threads.map_or_else(machine::logical_cores, |threads| threads as usize).min(MOST_THREADS);
    let mut events = Events::install()?;
    let mut context = Context {
        out: &arguments.out,
        data: data::folder(arguments.data.as_deref()),
        images: arguments.images.clone(),
        effort: arguments.effort.parse()?,
        seed: arguments.seed,
        threads,
        quiet: arguments.quiet,
        events: &mut events,
    };
    let paths = experiment::run(experiment::find(&arguments.name)?, &mut context)?;
    paths.iter().map(|path: &PathBuf| path as &Path).for_each(|path| say!("{}", path.display()));
    Ok(0)
}
