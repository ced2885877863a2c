//! `experiment table1 --search`: a grid of settings for each set of Table 1, and the test likelihood of the best.
//!
//! Which setting is the best is a matter of the validation part alone. A training of the grid never sees the test part.
//! The best is trained once more, with a model that stays, and that model alone is tested.

mod grid;
mod outcome;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::{fs, mem};

use relgrad_reports::run::Shard;
use relgrad_reports::training::{DataFacts, Nats, Stop, TrainingSettings};
use relgrad_reports::writer::write_atomically;
use serde::{Deserialize, Serialize};

use self::grid::Grid;
use self::outcome::{Searched, Winner};
use super::kept::{self, KeptTraining};
use super::{Context, Findings, MOST_JSON, gaussian, table1};
use crate::data::toy::Toy;
use crate::data::{DataSet, Samples, catalogue};
use crate::error::{Error, Result};
use crate::measure::plan::shards;
use crate::train::learner::Tracking;
use crate::train::recipe::{self, Recipe};
use crate::train::sealed;
use crate::train::trainer::Trained;

/// The folder of the trainings, one JSON file each.
pub(crate) const FOLDER: &str = "table1-search";
/// What a part is, in its folder.
pub(crate) const SHARD: &str = "shard.json";
const SHARD_SCHEMA: u32 = 1;

/// `shard.json`.
#[derive(Debug, Serialize, Deserialize)]
struct PartHeader {
    schema: u32,
    /// As the command line has it.
    shard: String,
    /// Trainings of the part.
    trainings: usize,
}

/// What a setting came to. It has no number of the test part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tried {
    /// Of the best model.
    validation: Nats,
    best_epoch: usize,
    epochs: usize,
    stop: Stop,
    /// Of training, evaluation left out.
    seconds: f64,
    /// That it was trained with; the numbers differ by rounding at most where these do.
    threads: usize,
}

/// A set with its test part put aside. The trainer evaluates its best model on the test part in the end; it finds the
/// validation part there again.
struct Blinded {
    set: DataSet,
    facts: DataFacts,
    test: Samples,
}

impl Blinded {
    fn load(context: &Context<'_>, name: &str) -> Result<Self> {
        let mut set = context.load(name, recipe::defaults().toy_samples)?;
        let facts = set.facts();
        let validation = set.parts.validation.clone();
        let test = mem::replace(&mut set.parts.test, validation);
        Ok(Self { set, facts, test })
    }

    fn reveal(self) -> DataSet {
        let Self { mut set, test, .. } = self;
        set.parts.test = test;
        set
    }
}

/// Trains the grid of every set, and the best of each once more.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let grid = Grid::of(context)?;
    all_settings(context)?;
    let mut found = Vec::new();
    for name in sets(context)? {
        let set = Blinded::load(context, &name)?;
        let grid = grid.settings(context, &name);
        let mut tried = Vec::new();
        for (i, settings) in grid.iter().enumerate() {
            tried.push(train(context, &set, settings, (i + 1, grid.len()))?);
        }
        found.push(searched(context, set.reveal(), grid.into_iter().zip(tried).collect())?);
    }
    outcome::findings(context, &grid, &found)
}

/// Trains a part of all grids. Every machine finds the same parts, alike in predicted cost.
///
/// # Errors
/// Fewer settings than parts; whatever training meets.
pub(crate) fn part(context: &mut Context<'_>, shard: Shard) -> Result<PathBuf> {
    let mine = dealt(all_settings(context)?, shard)?;
    // First: whoever finds the header finds the folder.
    let folder = kept::folder(context.out, FOLDER)?;
    let header = PartHeader { schema: SHARD_SCHEMA, shard: shard.to_string(), trainings: mine.len() };
    sealed::write(&context.out.join(SHARD), &header)?;
    let mut done = 0;
    for of_set in mine.chunk_by(|a, b| a.data == b.data) {
        let set = Blinded::load(context, &of_set[0].data)?;
        for settings in of_set {
            done += 1;
            train(context, &set, settings, (done, mine.len()))?;
        }
    }
    Ok(folder)
}

/// The sets that were asked for, or all at hand that are, or stand for, one of Table 1.
///
/// # Errors
/// A set that is not at hand, with what is missing.
pub(crate) fn sets(context: &Context<'_>) -> Result<Vec<String>> {
    for name in &context.sets {
        if let Some(toy) = name.strip_prefix("toy:") {
            toy.parse::<Toy>()?;
            continue;
        }
        let entry = catalogue::find(name)?;
        let folder = entry.folder(context.data.as_deref())?;
        (0..entry.files.len()).try_for_each(|file| entry.file(&folder, file).map(|_| ()))?;
    }
    if !context.sets.is_empty() {
        return Ok(context.sets.clone());
    }
    let at_hand = |(set, ..): &(&'static str, usize, f64, f64)| table1::at_hand(context, set);
    let names: Vec<String> = catalogue::PAPER.iter().filter_map(at_hand).map(|entry| entry.name.to_string()).collect();
    if names.is_empty() { Err(table1::nothing_at_hand()) } else { Ok(names) }
}

/// How many trainings there are in all.
pub(crate) fn count(context: &Context<'_>) -> Result<usize> {
    all_settings(context).map(|all| all.len())
}

/// Every setting of every set. One that cannot be trained is told here, before any is.
fn all_settings(context: &Context<'_>) -> Result<Vec<TrainingSettings>> {
    let grid = Grid::of(context)?;
    let all: Vec<_> = sets(context)?.iter().flat_map(|name| grid.settings(context, name)).collect();
    for settings in &all {
        Recipe::of(settings, grid::size(settings)?.0)?;
    }
    Ok(all)
}

/// The settings of one part, in the order of the grid.
fn dealt(all: Vec<TrainingSettings>, shard: Shard) -> Result<Vec<TrainingSettings>> {
    if all.len() < shard.of {
        return Err(Error::Usage(format!("the search has {} trainings, too few for {} parts", all.len(), shard.of)));
    }
    let costs = all.iter().map(grid::cost).collect::<Result<Vec<f64>>>()?;
    let parts = shards::deal(&costs, shard.of);
    Ok(all.into_iter().zip(parts).filter(|(_, part)| part + 1 == shard.index).map(|(settings, _)| settings).collect())
}

/// The training of a setting, read where an earlier run left it; `None` where it diverged.
fn train(
    context: &mut Context<'_>,
    Blinded { set, facts, .. }: &Blinded,
    settings: &TrainingSettings,
    (i, of): (usize, usize),
) -> Result<Option<Tried>> {
    context.check_interrupt()?;
    let path = kept::folder(context.out, FOLDER)?.join(format!("{}.json", grid::name(settings)));
    if let Some(kept) = KeptTraining::<Tried>::find(context, &path)
        && kept.data == *facts
        // Any machine may have trained it.
        && (TrainingSettings { threads: settings.threads, ..kept.settings }) == *settings
    {
        return Ok(kept.model);
    }
    let trained = kept::train(context, &Recipe::of(settings, set.parts.dim())?, &set.parts)?;
    let tried = trained.map(|Trained { outcome, .. }| Tried {
        validation: outcome.validation,
        best_epoch: outcome.best_epoch,
        epochs: outcome.epochs,
        stop: outcome.stop,
        seconds: outcome.seconds,
        threads: settings.threads,
    });
    let told =
        tried.as_ref().map_or("diverged".to_string(), |tried| format!("{} nats of validation", tried.validation));
    context.say(&format!("{}, {i} of {of}: {}: {told}", set.name, grid::described(settings)));
    let left = KeptTraining::new(settings.clone(), facts.clone(), tried);
    left.write(&path)?;
    Ok(left.model)
}

/// The setting with the best validation likelihood, the first of equals.
fn best(tried: &[(TrainingSettings, Option<Tried>)]) -> Option<(&TrainingSettings, &Tried)> {
    let known = tried.iter().filter_map(|(settings, tried)| Some((settings, tried.as_ref()?)));
    known.reduce(|best, other| if other.1.validation.mean > best.1.validation.mean { other } else { best })
}

/// Trains the best once more, and tests it.
fn searched(
    context: &mut Context<'_>,
    set: DataSet,
    tried: Vec<(TrainingSettings, Option<Tried>)>,
) -> Result<Searched> {
    let (gaussian, _) = gaussian::fit(&set)?;
    let mut winner = None;
    if let Some((settings, found)) = best(&tried) {
        let name = format!("{FOLDER}-{}", grid::name(settings));
        context.say(&format!(
            "{}: the best is {}; it is trained once more, and tested",
            set.name,
            grid::described(settings)
        ));
        let model = context.model(&name, settings.clone(), &set, Tracking::Off)?;
        let (settings, outcome) = (model.settings, model.outcome);
        winner = Some(Winner { settings, found: found.clone(), outcome, model: name });
    }
    Ok(Searched { set: set.name, provenance: set.provenance, gaussian, tried, winner })
}

/// The JSON files of a folder, in the order of their names.
pub(crate) fn results(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    paths.sort();
    paths
}

fn is_whole(path: &Path) -> bool {
    KeptTraining::<Tried>::parse(path).is_ok()
}

/// How many trainings the folder of a part has, and whether they are all; `None` where it is not that of a part.
pub(crate) fn progress(dir: &Path) -> Option<(usize, bool)> {
    let path = dir.join(SHARD);
    let header: PartHeader = sealed::parse(&path, &sealed::read(&path, MOST_JSON).ok()?, SHARD_SCHEMA).ok()?;
    let whole = results(&dir.join(FOLDER)).iter().filter(|path| is_whole(path)).count();
    Some((whole, whole >= header.trainings))
}

/// Copies the trainings in a folder to another, but for what is damaged or is there already.
pub(crate) fn collect(from: &Path, to: &Path) -> Result<()> {
    let to = kept::folder(to, FOLDER)?;
    for path in results(&from.join(FOLDER)) {
        let Some(name) = path.file_name() else { continue };
        let bytes = sealed::read(&path, MOST_JSON)?;
        if is_whole(&path) && sealed::read(&to.join(name), MOST_JSON).ok().as_ref() != Some(&bytes) {
            write_atomically(&to.join(name), &bytes).map_err(|cause| Error::Output(cause.to_string()))?;
        }
    }
    Ok(())
}

/// Copies the folder of a part to another.
pub(crate) fn take_over(from: &Path, to: &Path) -> Result<()> {
    collect(from, to)?;
    let header = sealed::read(&from.join(SHARD), MOST_JSON)?;
    write_atomically(&to.join(SHARD), &header).map_err(|cause| Error::Output(cause.to_string()))
}
