//! `relgrad sweep --on`: the parts of a plan on a cluster, and one study in the end.

use std::path::PathBuf;
use std::time::Duration;

use relgrad_reports::merge::{Merged, Source};
use relgrad_reports::record::Record;
use relgrad_reports::run::Settings;
use relgrad_reports::writer::write_study;

use super::outcome::report_on;
use super::settings::settings;
use super::{Arguments, arguments_of};
use crate::cluster::campaign::{Asked, Campaign};
use crate::cluster::work::Work;
use crate::cluster::{Cluster, Engine, follow, pursue};
use crate::cmd::merge;
use crate::error::{Error, Result, code};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::plan::{plan, shards};
use crate::measure::run::interrupt::Events;
use crate::measure::run::{Ending, folder};
use crate::{console, outputs};

/// A task may take its budget and so much of it more, for a last cell that is slow,
const OVERRUN: f64 = 0.25;
/// and so many seconds, for the ceilings and the report.
const REST_SECONDS: f64 = 300.0;

/// Submits a sweep and follows it to its end.
pub(super) fn start(arguments: &Arguments, cluster: &Cluster, settings: &Settings) -> Result<u8> {
    let engine = cluster.engine();
    engine.require()?;
    let places = shards::places(&plan(settings).map_err(Error::Usage)?);
    let parts = arguments.parts.unwrap_or_else(|| cluster.default_parts().min(places));
    if parts > places {
        return Err(Error::Usage(format!(
            "the plan has {places} places (D, N, L, threads, device), too few for --parts {parts}"
        )));
    }
    let events = Events::install()?;
    let dir = arguments.out.clone().map_or_else(|| outputs::fresh("results"), Ok)?;
    let asked = Asked {
        cluster: cluster.clone(),
        work: Work::Sweep,
        plan: plan_name(arguments, settings),
        cells: settings.cell_count().unwrap_or(0),
        parts,
        words: task_words(&console::command_line()),
        task_seconds: task_seconds(arguments, settings),
    };
    go_on(Campaign::begin(&dir, asked)?, engine, events, arguments)
}

/// Follows the tasks of an earlier process.
pub(super) fn resume(campaign: Campaign, arguments: &Arguments) -> Result<u8> {
    let Arguments { budget, cell_limit, mem_limit, allow_mixed, .. } = arguments;
    let dir = campaign.dir.display();
    if campaign.work != Work::Sweep {
        return Err(Error::Usage(format!("{dir} is of a search: continue it with {}", campaign.command_again())));
    }
    if budget.is_some() || cell_limit.is_some() || mem_limit.is_some() || *allow_mixed {
        return Err(Error::Usage(format!(
            "the tasks of {dir} keep their limits: leave out --budget, --cell-limit, --mem-limit and --allow-mixed"
        )));
    }
    let asked = arguments_of(&campaign.words)?;
    let plan = plan_name(&asked, &settings(&asked)?);
    if plan != campaign.plan {
        let of = &campaign.plan;
        return Err(Error::Input(format!(
            "{dir}/cluster.json is damaged: its words ask for the plan {plan}, not {of}"
        )));
    }
    if arguments.list {
        follow::list(&campaign, |line| say!("{line}"));
        return Ok(0);
    }
    let engine = campaign.cluster()?.engine();
    engine.require()?;
    go_on(campaign, engine, Events::install()?, arguments)
}

fn go_on(mut campaign: Campaign, mut engine: Box<dyn Engine>, mut events: Events, asked: &Arguments) -> Result<u8> {
    let _held = campaign.hold()?;
    let ending = pursue(&mut campaign, &mut *engine, &mut events, (asked.poll, asked.quiet))?;
    if ending == Ending::Interrupted {
        return Ok(code::INTERRUPTED);
    }
    let code = bring_together(&mut campaign);
    engine.clean_up(&campaign);
    code
}

/// Makes one study of the parts where they are of one machine, else a study a machine, with the report.
fn bring_together(campaign: &mut Campaign) -> Result<u8> {
    let source = |dir: PathBuf| Ok(Source { folder: dir.display().to_string(), study: folder::read(&dir)? });
    let sources = campaign.studies()?.into_iter().map(source).collect::<Result<Vec<_>>>()?;
    let mut merged = Merged::of(sources);
    let dir = campaign.dir.clone();
    if let [machine] = merged.machines.as_mut_slice() {
        let run = &mut machine.study.run;
        (run.command, run.started) = (campaign.command.clone(), campaign.started.clone());
        run.ended = Some(rfc3339(unix_seconds()));
        merged.told.iter().for_each(|words| note!("relgrad: {words}"));
        write_study(&dir, &machine.study).map_err(|cause| Error::Output(cause.to_string()))?;
        campaign.end()?;
        return report_on(&dir, Ending::Complete);
    }
    let code = merge::put_together(&dir, &merged)?;
    campaign.end()?;
    if merged.machines.iter().flat_map(|machine| &machine.study.records).any(Record::check_failed) {
        note!("relgrad: a gradient failed its check; the report lists it");
        return Ok(code::CHECK_FAILED);
    }
    Ok(code)
}

/// The name of the plan. Threads that nobody named are all of a node, which this machine does not know.
fn plan_name(arguments: &Arguments, settings: &Settings) -> String {
    let threads = if arguments.threads.is_some() { settings.threads } else { 1 };
    Settings { threads, ..settings.clone() }.plan_name()
}

/// Seconds that a task may take; none without a budget.
fn task_seconds(arguments: &Arguments, settings: &Settings) -> Option<f64> {
    let wait = Some(arguments.options().wait).filter(|wait| *wait < Duration::MAX)?;
    Some((1.0 + OVERRUN) * settings.budget_seconds? + wait.as_secs_f64() + REST_SECONDS)
}

/// What a task is told: the words of this command but for those of the cluster, the folder and the progress.
fn task_words(command: &[String]) -> Vec<String> {
    const WITH_VALUE: [&str; 4] = ["--on", "--parts", "--poll", "--out"];
    const ALONE: [&str; 2] = ["--quiet", "-q"];
    let mut words = command.iter().skip(2);
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let is_one = |flag: &&str| word.strip_prefix(*flag).is_some_and(|rest| rest.starts_with('='));
        if WITH_VALUE.contains(&word.as_str()) {
            words.next();
        } else if !ALONE.contains(&word.as_str()) && !WITH_VALUE.iter().any(is_one) {
            kept.push(word.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_string).collect()
    }

    #[test]
    fn a_task_is_told_what_concerns_the_cells() {
        let command = "relgrad sweep --on slurm:debug --dims 10,20 -q --parts=4 --rounds 2 --out a --poll=1s --on=hq \
                       --quiet --wait-quiet 5m --step plain";
        assert_eq!(task_words(&words(command)), words("--dims 10,20 --rounds 2 --wait-quiet 5m --step plain"));
    }

    #[test]
    fn the_plan_of_unnamed_threads_has_one_name_on_every_machine() {
        let of = |line: &str, threads: usize| {
            let arguments = arguments_of(&words(line)).unwrap();
            plan_name(&arguments, &Settings { threads, ..settings(&arguments).unwrap() })
        };
        assert_eq!(of("--dims 10", 4), of("--dims 10", 96));
        assert_ne!(of("--dims 10 --threads 4", 4), of("--dims 10 --threads 96", 96));
        assert_ne!(of("--dims 10", 4), of("--dims 20", 4));
    }

    #[test]
    fn a_task_has_its_budget_and_more() {
        let of = |line: &str| {
            let arguments = arguments_of(&words(line)).unwrap();
            task_seconds(&arguments, &settings(&arguments).unwrap())
        };
        assert_eq!(of("--budget 10m"), Some(1050.0));
        assert_eq!(of("--budget 10m --wait-quiet 1m"), Some(1110.0));
        assert_eq!((of("--budget none"), of("--wait-quiet none")), (None, None));
    }
}
