//! `relgrad experiment table1 --search --on`: the parts of a search on a cluster, and their trainings in one folder.

use std::path;

use super::Arguments;
use crate::cluster::campaign::{Asked, Campaign};
use crate::cluster::work::Work;
use crate::cluster::{Cluster, pursue};
use crate::error::{Error, Result};
use crate::experiment::{Context, search};
use crate::measure::run::Ending;

/// Submits the trainings, or follows those that the same command submitted before, until all are in the folder of the
/// experiment; `false` after a signal, which leaves the tasks running.
pub(super) fn train(arguments: &Arguments, context: &mut Context<'_>, cluster: &Cluster) -> Result<bool> {
    let mut engine = cluster.engine();
    engine.require()?;
    let words = words(arguments, context)?;
    let plan = format!("{:08x}", crc32fast::hash(words.join("\n").as_bytes()));
    let dir = context.out.join(search::FOLDER).join(format!("cluster-{plan}"));
    let mut campaign = match Campaign::find(&dir)? {
        Some(known) => known,
        None => {
            let cells = search::count(context)?;
            let parts = arguments.parts.unwrap_or_else(|| cluster.default_parts().min(cells));
            if parts > cells {
                return Err(Error::Usage(format!("the search has {cells} trainings, too few for --parts {parts}")));
            }
            let (cluster, words) = (cluster.clone(), words.clone());
            Campaign::begin(&dir, Asked { cluster, work: Work::Search, plan, cells, parts, words, task_seconds: None })?
        }
    };
    require_same(&campaign, arguments, cluster, &words)?;
    let _held = campaign.hold()?;
    if campaign.ended.is_some() {
        return Ok(true);
    }
    let asked = (arguments.poll, arguments.quiet);
    if pursue(&mut campaign, &mut *engine, context.events, asked)? == Ending::Interrupted {
        return Ok(false);
    }
    for part in campaign.studies()? {
        search::collect(&part, context.out)?;
    }
    campaign.end()?;
    engine.clean_up(&campaign);
    Ok(true)
}

/// Fails where the trainings were handed to another cluster or in other parts.
fn require_same(campaign: &Campaign, arguments: &Arguments, cluster: &Cluster, words: &[String]) -> Result<()> {
    let Campaign { dir, engine, parts, .. } = campaign;
    let dir = dir.display();
    if campaign.work != Work::Search || campaign.words != words {
        return Err(Error::Input(format!("{dir}/cluster.json is damaged: it is not of this command")));
    }
    if *engine != cluster.to_string() || arguments.parts.is_some_and(|asked| asked != *parts) {
        return Err(Error::Usage(format!(
            "this search is on a cluster already: repeat it with --on {engine} --parts {parts}, or remove {dir}"
        )));
    }
    Ok(())
}

/// What every task is told besides its part.
fn words(arguments: &Arguments, context: &Context<'_>) -> Result<Vec<String>> {
    let (effort, seed) = (context.effort.name().to_string(), context.seed.to_string());
    let mut words = vec![("--sets", search::sets(context)?.join(",")), ("--effort", effort), ("--seed", seed)];
    words.extend(context.axes.iter().map(|axis| ("--axis", axis.clone())));
    words.extend(arguments.threads.map(|threads| ("--threads", threads.to_string())));
    if let Some(data) = &context.data {
        // Tasks begin in another folder.
        let absolute = path::absolute(data).map_err(|cause| Error::input(data, cause))?;
        let text = absolute.to_str().ok_or_else(|| Error::input(data, "its name is not UTF-8: rename it"))?;
        words.push(("--data", text.to_string()));
    }
    Ok(words.into_iter().flat_map(|(flag, value)| [flag.to_string(), value]).collect())
}
