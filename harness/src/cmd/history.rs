//! `relgrad history`: runs over time, and the commits where a series changed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use relgrad_kernels::Method;
use relgrad_plots::{Trend, draw_trend};
use relgrad_reports::history::{self, Entry, Metric, Series, series};
use relgrad_reports::units;
use relgrad_vocabulary::{Unknown, excerpt, visible};

use super::compare::Reading;
use super::plot::{failed, write_one};
use crate::error::{Error, Result};
use crate::measure::plan::dims::Dims;

const EXAMPLES: &str = "\
Examples:
  relgrad history add results/2026-11-24T00-15-00Z --store history.jsonl
  relgrad history show --store history.jsonl
  relgrad history show --store history.jsonl --metric time-over-gemm --dim 1000 --out trend.svg

- The store has one line a run. It is only appended to, so branches merge by union
  (.gitattributes: history.jsonl merge=union). No run is added twice.
- A change point is a change of a series' level by more than 2 %, clearer than in 99 % of the
  permutations of the series. It requires three runs on each side.
";

/// Keeps runs in a store, and lists the commits where a number changed
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Adds a sweep or a baseline file to a store
    Add {
        /// Folder of a sweep, or a baseline file
        dir: PathBuf,
        /// The store; created if missing
        #[arg(long, value_name = "FILE.jsonl")]
        store: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Lists every series with its changes of level, and draws the trend
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    /// The store
    #[arg(long, value_name = "FILE.jsonl")]
    store: PathBuf,
    /// Quantity
    #[arg(long, value_name = "NAME", default_value = "time", value_parser = metric)]
    #[arg(long_help = metrics_help())]
    metric: Metric,
    /// Only this method
    #[arg(long, value_name = "NAME")]
    method: Option<Method>,
    /// Only these dimensions
    #[arg(long, value_name = "LIST")]
    dim: Option<Dims>,
    /// Draw the trend into FILE, .svg or .png
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn metrics_help() -> String {
    format!("Quantity: {}", Metric::NAMES.join(", "))
}

fn metric(text: &str) -> Result<Metric, Unknown> {
    text.parse()
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    match &arguments.verb {
        Verb::Add { dir, store, reading } => add(dir, store, *reading),
        Verb::Show(show) => show.run(),
    }
}

fn add(dir: &Path, store: &Path, reading: Reading) -> Result<u8> {
    let study = reading.read(dir)?;
    let (entry, shown) = (Entry::of(&study), dir.display());
    let complaint = if dir.is_dir() && study.run.ended.is_none() {
        let remedy = "finish it with relgrad sweep --resume";
        format!("the sweep in {shown} is incomplete: {remedy}")
    } else if study.run.mixtures().next().is_some() {
        format!("{shown} mixes two programs or machines; a series requires one")
    } else if entry.cells.is_empty() {
        format!("{shown} has no measurements")
    } else {
        String::new()
    };
    if !complaint.is_empty() {
        return Err(Error::Input(complaint));
    }
    let added = history::add(store, &entry).map_err(|cause| match cause {
        // Nothing was written to what cannot be read.
        relgrad_reports::error::Error::Io { .. } => Error::Output(cause.to_string()),
        _ => Error::Input(cause.to_string()),
    })?;
    let store = store.display();
    if added {
        say!("{} cells of the run of {} added to {store}", entry.cells.len(), entry.started);
    } else {
        say!("the run of {} is already in {store}", entry.started);
    }
    Ok(0)
}

impl Show {
    fn run(&self) -> Result<u8> {
        let entries = history::read(&self.store).map_err(|cause| Error::Input(cause.to_string()))?;
        let mut all = series(&entries, self.metric);
        all.retain(|s| self.method.is_none_or(|m| s.method == m));
        all.retain(|s| self.dim.as_ref().is_none_or(|dims| dims.0.contains(&s.dim)));
        if all.is_empty() {
            return Err(Error::Input(format!("{} has no such series", self.store.display())));
        }
        say_text!("{}", self.list(&entries, &all));
        if let Some(path) = &self.out {
            let runs: Vec<String> = entries.iter().map(revision).collect();
            let heading = heading(&all);
            let quantity = self.metric.name().replace('-', " ");
            let trend = Trend { quantity: &quantity, heading: &heading, runs: &runs, series: &all };
            let drawing = draw_trend(&trend).map_err(failed)?;
            write_one(path, &drawing)?;
            say!("{}", path.display());
        }
        Ok(0)
    }

    fn list(&self, entries: &[Entry], all: &[Series]) -> String {
        let mut text = String::new();
        let mut machine = "";
        for series in all {
            if series.machine != machine {
                machine = &series.machine;
                text += &format!("{}\n", excerpt(machine, 200));
            }
            let (first, last) = (series.values.first(), series.values.last());
            let value = |v: Option<&(usize, f64)>| v.map_or(String::new(), |(_, v)| self.value(*v));
            let runs = units::counted(series.values.len(), "run");
            text += &format!("  {}: {runs}, {} → {}\n", excerpt(&series.name, 300), value(first), value(last));
            for change in &series.changes {
                let at = &entries[change.index];
                text += &format!(
                    "    {:+.1} % since {} of {} (p = {:.3})\n",
                    100.0 * (change.factor - 1.0),
                    revision(at),
                    at.started,
                    change.probability
                );
            }
        }
        text
    }

    fn value(&self, value: f64) -> String {
        match self.metric {
            Metric::Time => units::seconds(value),
            Metric::PeakMemory => units::bytes(value),
            _ => format!("{value:.3}×"),
        }
    }
}

/// A run in a few letters: its revision, or its start where there is none.
fn revision(entry: &Entry) -> String {
    match &entry.git_revision {
        Some(revision) => {
            let dirty = if revision.ends_with("-dirty") { "+" } else { "" };
            format!("{}{dirty}", visible(&revision.chars().take(9).collect::<String>()))
        }
        None => entry.started.clone(),
    }
}

fn heading(all: &[Series]) -> String {
    let mut machines: Vec<&str> = all.iter().map(|s| s.machine.as_str()).collect();
    machines.dedup();
    machines.join(" · ")
}
