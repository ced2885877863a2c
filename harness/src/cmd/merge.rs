//! `relgrad merge`: studies of several machines, or shards of one, in one report.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use relgrad_plots::{MACHINES_CAPTION, MOST_MACHINES, draw_machines};
use relgrad_reports::export;
use relgrad_reports::merge::{Merged, OnMachine, Source, exponents, page, speedups};
use relgrad_reports::record::Outcome;
use relgrad_reports::writer::{write_atomically, write_study};
use serde_json::json;

use super::compare::Reading;
use super::plot::failed;
use super::report;
use crate::error::{Error, Result, code};
use crate::measure::run::folder;
use crate::{console, outputs};

const EXAMPLES: &str = "\
Examples:
  relgrad merge results/laptop results/server --out both
  relgrad merge shard-1 shard-2 shard-3 --out whole    three parts of one sweep on one machine

- Studies of one machine and one plan become one study; its folder is DIR/machines/A, B, …
- Another seed, plan or machine stays apart: nothing is pooled over machines but what the report
  calls common.
- A record that stands in two folders counts once. Different records of one cell are further
  rounds of it.
";

/// Version of `merged.json`.
const MERGED_SCHEMA: u32 = 1;

/// Puts sweeps of several machines, or parts of one sweep, into one report
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Folders of sweeps, finished or not
    #[arg(required = true, value_name = "STUDY")]
    studies: Vec<PathBuf>,
    /// New or empty folder for the report and the merged studies
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let read = |dir: &PathBuf| {
        Ok(Source { folder: dir.display().to_string(), study: folder::read_with(dir, arguments.reading.invalid())? })
    };
    let sources = arguments.studies.iter().map(read).collect::<Result<Vec<_>>>()?;
    outputs::require_empty(&arguments.out, "")?;
    put_together(&arguments.out, &Merged::of(sources))
}

/// Writes everything, prints the paths of it, and returns the exit code.
pub(super) fn put_together(out: &Path, merged: &Merged) -> Result<u8> {
    merged.told.iter().for_each(|words| note!("relgrad: {words}"));
    for path in write(out, merged)? {
        say!("{}", path.display());
    }
    let measured = |machine: &OnMachine| machine.study.records.iter().any(|r| r.outcome == Outcome::Measured);
    if merged.machines.iter().any(measured) {
        return Ok(0);
    }
    note!("relgrad: nothing was measured; the records state the reasons");
    Ok(code::NOTHING_MEASURED)
}

/// Writes the studies with their reports, then what is over machines.
fn write(out: &Path, merged: &Merged) -> Result<Vec<PathBuf>> {
    for (i, machine) in merged.machines.iter().enumerate() {
        let dir = out.join("machines").join(merged.letter(i));
        fs::create_dir_all(&dir).map_err(|cause| Error::output(&dir, cause))?;
        write_study(&dir, &machine.study).map_err(|cause| Error::Output(cause.to_string()))?;
        report::write(&dir, &machine.study)?;
    }
    let numbers = json!({
        "schema": MERGED_SCHEMA, "command": console::command_line(), "version": env!("CARGO_PKG_VERSION"),
        "machines": merged.facts(), "told": merged.told, "exponents": exponents(merged), "speedups": speedups(merged),
    });
    let figures = figures(out, merged)?;
    let page = page(merged, figures);
    let mut paths = Vec::new();
    for (name, text) in
        [("merged.json", format!("{numbers:#}\n")), ("report.md", page.markdown()), ("report.html", page.html())]
    {
        let path = out.join(name);
        write_atomically(&path, text.as_bytes()).map_err(|cause| Error::Output(cause.to_string()))?;
        paths.push(path);
    }
    Ok(paths)
}

fn figures<'a>(out: &Path, merged: &'a Merged) -> Result<Vec<export::Figure>> {
    let of = |OnMachine { name, study, summary, .. }: &'a OnMachine| relgrad_plots::OnMachine { name, study, summary };
    let shown: Vec<_> = merged.machines.iter().take(MOST_MACHINES).map(of).collect();
    if merged.machines.len() > MOST_MACHINES {
        note!("relgrad: the figure shows the first {MOST_MACHINES} machines; the tables have all");
    }
    let drawing = match draw_machines(&shown) {
        Err(relgrad_plots::Error::Empty) => return Ok(Vec::new()),
        drawing => drawing.map_err(failed)?,
    };
    outputs::write_drawing(&out.join("figures"), "machines", &drawing, &outputs::FORMATS)?;
    let (name, caption) = ("machines".to_string(), MACHINES_CAPTION.to_string());
    Ok(vec![export::Figure { name, caption, svg: drawing.svg().to_string(), chart: drawing.chart().cloned() }])
}
