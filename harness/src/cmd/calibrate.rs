//! `relgrad calibrate`: the false alarms and the resolution of the gate on this machine.

use clap::Args;
use rayon::prelude::*;
use relgrad_reports::compare::simulated::{self, GATES, SWEEPS};
use relgrad_reports::compare::{Calibration, Trial};

use super::compare::Tolerance;
use super::gate::{How, What, cells};
use crate::compare::gate::bench::Contender;
use crate::compare::gate::{Cells, Decision, Session, decide};
use crate::error::{Result, code};
use crate::measure::run::{folder, identity};

const EXAMPLES: &str = "\
Examples:
  relgrad calibrate --aa 40 --dims 100,1000 --methods relative
  relgrad calibrate --aa 100 --dims 30,100,300 --round-time 200ms
  relgrad calibrate --simulated 400       comparisons and gates on a simulated machine
  just calibrate                          plants a slowdown of 10 % too (feature inject)

Gates this program against itself (A/A) by the rules of relgrad gate --against. Each regression is then a false \
alarm. It prints:
- the number of false alarms, and the upper bound of their probability at 95 % confidence;
- the smallest slowdown that the gate finds with a probability of 95 %. It is found by adding
  slowdowns to resampled rounds.

With --simulated nothing is measured. Known changes are planted in simulated sweeps and gates on noisy machines. It \
prints how often the verdicts are right, and what is required.
";

/// Measures the gate itself: its false alarms, and the smallest slowdown that it finds
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Number of gates of this program against itself
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = super::count::<{ super::MAX_ROUNDS }>)]
    aa: usize,
    /// Decide COUNT simulated cases of each kind instead
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["aa", "json"],
        value_parser = super::count::<{ super::MAX_ROUNDS }>)]
    simulated: Option<usize>,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    tolerance: Tolerance,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    if let Some(decisions) = arguments.simulated {
        return Ok(simulate(decisions));
    }
    let how = &arguments.how;
    let run = folder::describe(arguments.what.settings(how));
    super::warn_of_threads(run.settings.threads);
    let cells = Cells::new(cells(&run.settings)?, false);
    let same = Contender { program: identity::program()?, inject: None };
    let mut contenders = vec![same.clone(), same.clone()];
    if let Some(fault) = how.injection() {
        contenders.push(Contender { inject: Some(fault), ..same });
    }
    cells.require_memory(contenders.len())?;
    let decision = Decision { rules: arguments.tolerance.rules(how.plan().looks()), plan: how.plan(), absolute: false };
    let mut calibration = Calibration::new(&decision.rules, &decision.plan);
    for trial in 0..arguments.aa {
        let mut session = Session::new(&cells, &contenders, how.timing(), &run);
        session.quiet = true;
        let comparisons = decide(&mut session, None, &decision)?;
        if !how.quiet {
            let said: Vec<String> = comparisons.iter().map(|comparison| comparison.sentence()).collect();
            note!("trial {} of {}: {}", trial + 1, arguments.aa, said.join(" | "));
        }
        let (base, new) = (&session.studies[0], &session.studies[1]);
        calibration.add(&Trial { equal: &comparisons[0], planted: comparisons.get(1), base, new });
    }
    let calibration = calibration.finish();
    if arguments.json {
        super::print_pretty_json(&calibration)?;
    } else {
        say_text!("{}", calibration.table());
    }
    Ok(if calibration.cells.is_empty() { code::NOTHING_MEASURED } else { 0 })
}

fn simulate(decisions: usize) -> u8 {
    let all: Vec<_> = SWEEPS.iter().chain(GATES).collect();
    let happened: Vec<_> = all.into_par_iter().flat_map_iter(|tried| tried.count(decisions)).collect();
    say_text!("{}", simulated::table(&happened));
    if happened.iter().all(|happened| happened.passed) { 0 } else { code::CHECK_FAILED }
}
