//! The paper's training experiments: each makes a table, the data of a figure, and notes on how it compares.
//!
//! An experiment is one file, or a folder, with `run(&mut Context) -> Result<Findings>`; what all share is here and in
//! [`figures`] and [`models`].

mod bias_mode;
mod bias_noise;
pub(crate) mod epoch_time;
mod errata;
pub(crate) mod figures;
mod gaussian;
mod ica;
mod kept;
mod learning_curves;
mod models;
pub(crate) mod primitives;
mod rivals;
mod sample;
pub(crate) mod search;
mod starts;
mod table1;
mod toy_densities;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use relgrad_reports::experiment::{
    Curve, Dot, DotPanel, EXPERIMENT_SCHEMA, Experiment, Figure, Level, LinePanel, Table,
};
use relgrad_reports::training::TrainingSettings;
use relgrad_reports::writer::write_atomically;
use relgrad_vocabulary::{Unknown, names};
use serde::Deserialize;
use serde_json::Value;

use crate::data::{self, DataSet, Request};
use crate::error::{Error, Result};
use crate::machine;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::run::interrupt::Events;
use crate::train::{recipe, sealed};

/// An experiment.
#[derive(Debug)]
pub(crate) struct Protocol {
    /// The figure or table that it is, or what it asks: its name on the command line and of its files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    run: fn(&mut Context<'_>) -> Result<Findings>,
}

/// Every experiment, those first that need no data.
pub(crate) static PROTOCOLS: [Protocol; 14] = [
    Protocol {
        name: "bias-mode",
        title: "Biases: the exact relative gradient and the paper's rule (erratum E7)",
        run: bias_mode::run,
    },
    Protocol {
        name: "errata",
        title: "Errata of the paper: its formulas as printed and corrected, against automatic differentiation",
        run: errata::run,
    },
    Protocol {
        name: "primitives",
        title: "Appendix C: how the time of the operations that gradients consist of grows with D",
        run: primitives::run,
    },
    Protocol {
        name: "bias-noise",
        title: "Every method: time against the distance of its direction from the exact one",
        run: bias_noise::run,
    },
    Protocol {
        name: "rivals",
        title: "Likelihood for the money: every method from the same starts, by plain steps",
        run: rivals::run,
    },
    Protocol { name: "ica", title: "Independent components: recovered sources, and the maps of an EEG", run: ica::run },
    Protocol {
        name: "fig1-right",
        title: "Figure 1, right: the same starts, relative and ordinary gradient",
        run: starts::run,
    },
    Protocol {
        name: "fig2",
        title: "Figure 2: samples and learned densities, SGD and Adam, 100 layers",
        run: |context| toy_densities::run(context, toy_densities::FIGURE_2),
    },
    Protocol {
        name: "fig5",
        title: "Figure 5: more toy densities, SGD and Adam, 100 layers",
        run: |context| toy_densities::run(context, toy_densities::FIGURE_5),
    },
    Protocol {
        name: "gaussian",
        title: "The full-covariance Gaussian of each available set: a check of the loaders",
        run: gaussian::run,
    },
    Protocol {
        name: "mnist-epoch",
        title: "Seconds for one epoch with each gradient (App. H.3)",
        run: epoch_time::run,
    },
    Protocol {
        name: "fig6",
        title: "Figure 6: validation log-likelihood of images per epoch, SGD and Adam",
        run: learning_curves::run,
    },
    Protocol {
        name: "table1",
        title: "Table 1: test log-likelihood of the available sets, next to the paper's values",
        run: table1::run,
    },
    Protocol { name: "sample", title: "Images drawn from a trained model by inverting it", run: sample::run },
];

/// What `table1` is with `--search`.
pub(crate) static SEARCH: Protocol = Protocol {
    name: search::FOLDER,
    title: "Table 1 by a search: the best setting of a grid for each set, by its validation part",
    run: search::run,
};

pub(crate) fn find(name: &str) -> Result<&'static Protocol> {
    let unknown = || Unknown::new("experiment", name, PROTOCOLS.each_ref().map(|kind| kind.name).join(", "));
    Ok(PROTOCOLS.iter().find(|kind| kind.name == name).ok_or_else(unknown)?)
}

names! {
    /// How long an experiment may take.
    Effort, "effort", {
        /// Seconds: whether it runs at all.
        Smoke = "smoke",
        /// Under three minutes on two cores.
        Quick = "quick",
        /// As long as the result needs.
        Full = "full",
    }
}

impl Effort {
    pub(crate) fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What an experiment may use.
pub(crate) struct Context<'a> {
    /// Folder of everything it writes.
    pub(crate) out: &'a Path,
    pub(crate) data: Option<PathBuf>,
    /// Set of the image experiments.
    pub(crate) images: String,
    /// Sets of a search, no two alike; none for all of Table 1 at hand.
    pub(crate) sets: Vec<String>,
    /// Axes of its grid in place of those of the effort, AXIS=VALUES each.
    pub(crate) axes: Vec<String>,
    pub(crate) effort: Effort,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) quiet: bool,
    pub(crate) events: &'a mut Events,
}

pub(crate) struct Findings {
    pub(crate) numbers: Value,
    pub(crate) table: Table,
    pub(crate) notes: Vec<String>,
    pub(crate) figure: Figure,
}

impl Context<'_> {
    /// Loads a set; toy sets have `toy_samples` training samples.
    pub(crate) fn load(&self, name: &str, toy_samples: usize) -> Result<DataSet> {
        let set = data::load(&Request { name, folder: self.data.as_deref(), seed: self.seed, toy_samples })?;
        set.told.iter().for_each(|words| self.say(words));
        Ok(set)
    }

    /// Settings that differ between experiments in a few fields only.
    pub(crate) fn settings(&self, data: &str) -> TrainingSettings {
        TrainingSettings { data: data.to_string(), seed: self.seed, threads: self.threads, ..recipe::defaults() }
    }

    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            note!("{text}");
        }
    }

    /// [`Error::Interrupted`] when the user asked to stop.
    pub(crate) fn check_interrupt(&mut self) -> Result<()> {
        if self.events.interrupted() { Err(Error::Interrupted(self.resume_hint())) } else { Ok(()) }
    }

    /// What to say when the experiment was cut short.
    pub(crate) fn resume_hint(&self) -> String {
        format!("interrupted; repeat the command: trainings in {} continue from their checkpoints", self.out.display())
    }
}

/// A table of columns with these titles.
fn table<const N: usize>(columns: [&str; N], rows: Vec<Vec<String>>) -> Table {
    Table { columns: texts(columns), rows }
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_string).to_vec()
}

/// A panel of curves.
fn lines(titles: [&str; 2], y_range: Option<(f64, f64)>, curves: Vec<Curve>, levels: Vec<Level>) -> LinePanel {
    let [x_title, y_title] = titles.map(str::to_string);
    LinePanel { x_title, logarithmic: false, y_title, y_range, curves, levels }
}

/// A figure of values along an axis, which is logarithmic where there is nothing to compare them with.
fn dots(x_title: &str, reference: Option<&str>, rows: Vec<Dot>) -> Figure {
    let reference = reference.map(|name| Level { name: name.to_string(), value: 0.0 });
    Figure::Dots(DotPanel { x_title: x_title.to_string(), logarithmic: reference.is_none(), reference, rows })
}

/// A number as people write it, with a minus sign.
fn signed(x: f64, decimals: usize) -> String {
    format!("{x:.decimals$}").replace('-', "−")
}

/// Runs an experiment and writes NAME.json, NAME.md, NAME.svg and NAME.png; returns their paths.
///
/// # Errors
/// When files of these names are no experiment's; whatever the experiment meets. Nothing is written then.
pub(crate) fn run(kind: &Protocol, context: &mut Context<'_>) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(context.out).map_err(|cause| Error::output(context.out, cause))?;
    require_replaceable(context.out, kind.name)?;
    let (clock, started) = (Instant::now(), rfc3339(unix_seconds()));
    let findings = (kind.run)(context)?;
    let experiment = Experiment {
        schema: EXPERIMENT_SCHEMA,
        name: kind.name.to_string(),
        title: kind.title.to_string(),
        command: command(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        git_revision: option_env!("RELGRAD_GIT_REVISION").map(str::to_string),
        started,
        seconds: clock.elapsed().as_secs_f64(),
        machine: machine::facts(),
        numbers: findings.numbers,
        table: findings.table,
        notes: findings.notes,
        figure: findings.figure,
    };
    write(context.out, &experiment)
}

/// The command as a reader would type it: the program by its name, not by where it lay.
fn command() -> Vec<String> {
    std::iter::once("relgrad".to_string()).chain(crate::console::command_line().into_iter().skip(1)).collect()
}

/// What an experiment left may be replaced by its next run; what bears its name by chance may not.
fn require_replaceable(out: &Path, name: &str) -> Result<()> {
    let file = |extension: &str| out.join(format!("{name}.{extension}"));
    let mut there = ["json", "md", "svg", "png"].map(file).into_iter().filter(|path| path.symlink_metadata().is_ok());
    let Some(first) = there.next() else { return Ok(()) };
    if sealed::read(&file("json"), MOST_JSON).is_ok_and(|bytes| is_result_of(name, &bytes)) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{} was not written by the experiment {name}: move it away, or choose another --out",
        first.display()
    )))
}

fn is_result_of(name: &str, text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Header {
        schema: u32,
        name: String,
    }
    let header = serde_json::from_slice::<Header>(text);
    header.is_ok_and(|header| header.schema >= 1 && header.name == name)
}

/// The most bytes of a result that are looked into: densities of a hundred rows.
const MOST_JSON: u64 = 256 << 20;

/// Numbers and text first: a figure may fail on what they can bear.
fn write(out: &Path, experiment: &Experiment) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let json = out.join(format!("{}.json", experiment.name));
    let text = serde_json::to_string(experiment).map_err(|cause| Error::output(&json, cause))?;
    let markdown = out.join(format!("{}.md", experiment.name));
    for (path, text) in [(json, text + "\n"), (markdown, experiment.markdown())] {
        write_atomically(&path, text.as_bytes()).map_err(|cause| Error::Output(cause.to_string()))?;
        paths.push(path);
    }
    paths.extend(figures::write(out, &experiment.name, &experiment.figure, &experiment.title)?);
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use relgrad_adversary::{damage, damaged, judge};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_result_is_one_or_is_not(damage in damage()) {
            let text = concat!(
                r#"{"schema":1,"name":"fig2","title":"t","command":["relgrad"],"#,
                r#""numbers":{"a":[1.5]},"notes":[]}"#
            )
            .as_bytes();
            assert!(is_result_of("fig2", text) && !is_result_of("fig5", text));
            let bytes = damaged(text, &damage);
            judge(bytes.len(), || Ok::<_, String>(is_result_of("fig2", &bytes)));
        }
    }

    #[test]
    fn an_unknown_experiment_is_told_with_the_names_there_are() {
        assert!(PROTOCOLS.iter().all(|kind| find(kind.name).is_ok_and(|found| found.title == kind.title)));
        assert!(find("fig9").unwrap_err().to_string().contains("fig1-right"));
    }
}
