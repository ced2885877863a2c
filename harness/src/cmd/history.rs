//! `relgrad history`: runs over time, and the commits where a series changed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use relgrad_kernels::Method;
use relgrad_plots::{Drawing, MOST_TRENDS, Trend, draw_trend};
use relgrad_reports::export::{self, Figure};
use relgrad_reports::history::{self, Entry, Metric, Series, series};
use relgrad_reports::report::trend::{self, Trends};
use relgrad_reports::units;
use relgrad_vocabulary::{Unknown, excerpt};

use super::compare::Reading;
use super::plot::{failed, write_one};
use crate::error::{Error, Result};
use crate::measure::plan::dims::Dims;

const EXAMPLES: &str = "\
Examples:
  relgrad history add results/2026-11-24T00-15-00Z --store history.jsonl
  relgrad history show --store history.jsonl
  relgrad history show --store history.jsonl --metric time-over-gemm --dim 1000 --out trend.svg
  relgrad history show --store history.jsonl --html trend.html

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
    /// Write a page with the trends of all these series into FILE: one HTML file that needs no other
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
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
    } else if study.run.settings.update.is_some() {
        format!("{shown} measured whole updates; a series is of gradients")
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
            write_one(path, &self.draw(&entries, &all)?)?;
            say!("{}", path.display());
        }
        if let Some(path) = &self.html {
            let text = self.page(&entries, &all)?;
            export::write(path, &text).map_err(|cause| Error::Output(cause.to_string()))?;
            say!("{}", path.display());
        }
        Ok(0)
    }

    fn draw(&self, entries: &[Entry], series: &[Series]) -> Result<Drawing> {
        let runs: Vec<String> = entries.iter().map(Entry::name).collect();
        let (quantity, heading) = (self.metric.name().replace('-', " "), heading(series));
        draw_trend(&Trend { quantity: &quantity, heading: &heading, runs: &runs, series }).map_err(failed)
    }

    /// A page with a figure for each machine and method, of as many series as one can tell apart.
    fn page(&self, entries: &[Entry], all: &[Series]) -> Result<String> {
        let alike = |a: &Series, b: &Series| (&a.machine, a.method) == (&b.machine, b.method);
        let mut trends = Vec::new();
        for series in all.chunk_by(alike).flat_map(|series| series.chunks(MOST_TRENDS)) {
            let figure = if series.iter().any(|s| s.values.len() >= 2) {
                let drawing = self.draw(entries, series)?;
                let (svg, chart) = (drawing.svg().to_string(), drawing.chart().cloned());
                let caption = "Change since the first run of each series. A dashed line is a run where a level begins, \
                               with its commit.";
                Some(Figure { name: format!("trend-{}", trends.len() + 1), caption: caption.into(), svg, chart })
            } else {
                None
            };
            trends.push(Trends { series, figure });
        }
        Ok(trend::render(entries, self.metric, trends))
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
            let value = |v: Option<&(usize, f64)>| v.map_or(String::new(), |(_, v)| self.metric.text(*v));
            let runs = units::counted(series.values.len(), "run");
            text += &format!("  {}: {runs}, {} → {}\n", excerpt(&series.name, 300), value(first), value(last));
            for change in &series.changes {
                let at = &entries[change.index];
                text += &format!(
                    "    {:+.1} % since {} of {} (p = {:.3})\n",
                    100.0 * (change.factor - 1.0),
                    at.name(),
                    at.started,
                    change.probability
                );
            }
        }
        text
    }
}

fn heading(all: &[Series]) -> String {
    let mut machines: Vec<&str> = all.iter().map(|s| s.machine.as_str()).collect();
    machines.dedup();
    machines.join(" · ")
}
