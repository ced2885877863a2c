//! `relgrad paper`: every figure and table of the paper on one page.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::error::{Error, Result};
use crate::experiment::Effort;
use crate::measure::run::interrupt::Events;
use crate::paper::{self, PARTS, Paper};
use crate::{data, outputs};

const EXAMPLES: &str = "\
Examples:
  relgrad paper --quick                            about 15 minutes on two cores
  relgrad paper --list                             parts, predicted times, commands
  relgrad paper --only fig4,bounds                 two parts
  relgrad paper --data DIR                         all, at the paper's settings: hours
  relgrad paper --from reports/archive/2026-11-26-zen5-2-cores --only fig3,primitives
  relgrad paper --resume papers/2026-11-29T10-00-00Z

- A part is a sweep or an experiment in a process of its own, with its own folder in DIR.
- --resume runs the parts without a result. Sweeps and trainings continue.
- --from takes a part from an earlier sweep, experiment or paper of the same problem. The numbers
  of runs and evaluations may be others; the page states them.
- A part that fails does not stop the others. The exit code is that of the first one. A missing
  GPU or data set is no failure. A result unlike the paper's is none either.
";

/// Measures every figure and table of the paper, and writes one page with the paper's statements next to the results
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Shorter sweeps and trainings
    #[arg(long)]
    quick: bool,

    /// Seconds; for tests
    #[arg(long, hide = true, conflicts_with = "quick")]
    smoke: bool,

    /// The parts to make, comma-separated [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', hide_possible_values = true, long_help = parts_help())]
    #[arg(value_parser = PossibleValuesParser::new(PARTS.each_ref().map(|part| part.name)))]
    only: Vec<String>,

    /// Folders of earlier sweeps, experiments or papers that parts are taken from
    #[arg(long, value_name = "DIR", num_args = 1..)]
    from: Vec<PathBuf>,

    /// Folder of the data sets [default: $RELGRAD_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// New or empty folder for the page [default: papers/ and the UTC time]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Continue the page in DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "quick", "smoke"])]
    resume: Option<PathBuf>,

    /// Print the parts with their predicted times and commands, and run nothing
    #[arg(long)]
    list: bool,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

fn parts_help() -> String {
    let list = PARTS.each_ref().map(|part| format!("\n  {:<17}{}", part.name, part.title)).concat();
    format!("The parts to make, comma-separated [default: all]:{list}")
}

/// Makes the page and prints its path.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let is_asked = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|asked| asked == name);
    let mut paper = Paper {
        dir: arguments.resume.clone().or_else(|| arguments.out.clone()).unwrap_or_default(),
        effort: match (arguments.smoke, arguments.quick) {
            (true, _) => Effort::Smoke,
            (_, true) => Effort::Quick,
            _ => Effort::Full,
        },
        parts: PARTS.iter().filter(|part| is_asked(part.name)).collect(),
        from: arguments.from.clone(),
        data: data::folder(arguments.data.as_deref()),
        quiet: arguments.quiet,
    };
    let known = arguments.resume.as_deref().map(paper::resume).transpose()?;
    if let Some((_, effort)) = &known {
        paper.effort = *effort;
    }
    if arguments.list {
        say_text!("{}", paper.list()?);
        return Ok(0);
    }
    // A folder that cannot be used is told before anything is written.
    paper.require_earlier()?;
    let ledger = match known {
        Some((ledger, _)) => ledger,
        None => {
            paper.dir = arguments.out.clone().map_or_else(|| outputs::fresh("papers"), Ok)?;
            paper::begin(&paper.dir, paper.effort)?
        }
    };
    let mut events = Events::install()?;
    paper.make(ledger, &mut events).map_err(|error| match error {
        Error::Output(cause) => {
            Error::Output(format!("{cause}; continue with: relgrad paper --resume {}", paper.dir.display()))
        }
        other => other,
    })
}
