//! The paper's training experiments: each makes a table, the data of a figure, and notes on how it compares.
//!
//! An experiment is one file with `run(&mut Context) -> Result<Findings>`; what all share is here and in [`figures`]
//! and [`models`].

mod bias_mode;
mod epoch_time;
pub(crate) mod figures;
mod gaussian;
mod learning_curves;
mod models;
mod sample;
mod starts;
mod table1;
mod toy_densities;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use relgrad_kernels::{Activation, Base, Dtype, Method};
use relgrad_reports::experiment::{EXPERIMENT_SCHEMA, Experiment, Figure, Table};
use relgrad_reports::training::TrainingSettings;
use relgrad_reports::writer::write_atomically;
use serde::Deserialize;
use serde_json::Value;

use crate::data::{self, DataSet, Request};
use crate::error::{Error, Result};
use crate::machine;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::run::interrupt::Events;
use crate::train::sealed;

/// An experiment by the name of the figure or table that it is, or of what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Fig1Right,
    Fig2,
    Fig5,
    Fig6,
    Table1,
    MnistEpoch,
    Sample,
    BiasMode,
    Gaussian,
}

impl Name {
    /// Every experiment, those first that need no data.
    pub(crate) const ALL: [Self; 9] = [
        Self::BiasMode,
        Self::Fig1Right,
        Self::Fig2,
        Self::Fig5,
        Self::Gaussian,
        Self::MnistEpoch,
        Self::Fig6,
        Self::Table1,
        Self::Sample,
    ];

    /// Name on the command line and of the files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fig1Right => "fig1-right",
            Self::Fig2 => "fig2",
            Self::Fig5 => "fig5",
            Self::Fig6 => "fig6",
            Self::Table1 => "table1",
            Self::MnistEpoch => "mnist-epoch",
            Self::Sample => "sample",
            Self::BiasMode => "bias-mode",
            Self::Gaussian => "gaussian",
        }
    }

    /// What it shows.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Fig1Right => "Figure 1, right: learning from ten starts, relative beside ordinary gradient",
            Self::Fig2 => "Figure 2: samples beside learned densities, SGD and Adam, 100 layers",
            Self::Fig5 => "Figure 5: more toy densities, SGD and Adam, 100 layers",
            Self::Fig6 => "Figure 6: validation log-likelihood of images per epoch, SGD and Adam",
            Self::Table1 => "Table 1: test log-likelihood of the sets at hand beside the paper's",
            Self::MnistEpoch => "Seconds for one epoch with each gradient (App. H.3)",
            Self::Sample => "Images drawn from a trained model by inverting it",
            Self::BiasMode => "Biases: the exact relative gradient beside the paper's rule (erratum E7)",
            Self::Gaussian => "The full-covariance Gaussian of each set at hand: a check of the loaders",
        }
    }

    fn run(self, context: &mut Context<'_>) -> Result<Findings> {
        match self {
            Self::Fig1Right => starts::run(context),
            Self::Fig2 => toy_densities::run(context, &toy_densities::FIGURE_2),
            Self::Fig5 => toy_densities::run(context, &toy_densities::FIGURE_5),
            Self::Fig6 => learning_curves::run(context),
            Self::Table1 => table1::run(context),
            Self::MnistEpoch => epoch_time::run(context),
            Self::Sample => sample::run(context),
            Self::BiasMode => bias_mode::run(context),
            Self::Gaussian => gaussian::run(context),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|name| name.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Usage(format!("unknown experiment `{text}`: the experiments are {names}"))
        })
    }
}

/// How long an experiment may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Seconds: whether it runs at all.
    Smoke,
    /// Under three minutes on two cores.
    Quick,
    /// As long as the result needs.
    Full,
}

impl Effort {
    /// Names on the command line.
    pub(crate) const NAMES: [&str; 3] = ["smoke", "quick", "full"];

    /// The value for this effort.
    pub(crate) fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.pick("smoke", "quick", "full"))
    }
}

impl FromStr for Effort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "smoke" => Ok(Self::Smoke),
            "quick" => Ok(Self::Quick),
            "full" => Ok(Self::Full),
            _ => Err(Error::Usage(format!("unknown effort `{text}`: it is smoke, quick or full"))),
        }
    }
}

/// What an experiment may use.
pub(crate) struct Context<'a> {
    /// Folder of everything it writes.
    pub(crate) out: &'a Path,
    /// Folder of the data sets.
    pub(crate) data: Option<PathBuf>,
    /// Set of the image experiments.
    pub(crate) images: String,
    pub(crate) effort: Effort,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) quiet: bool,
    pub(crate) events: &'a mut Events,
}

/// What an experiment found.
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
        TrainingSettings {
            data: data.to_string(),
            toy_samples: 10_000,
            method: Method::Relative,
            bias_mode: "exact".to_string(),
            optimizer: "adam".to_string(),
            learning_rate: 1e-3,
            schedule: "constant".to_string(),
            guard: true,
            batch: 100,
            epochs: 100,
            patience: None,
            layers: 2,
            activation: Activation::SmoothLeaky { alpha: 0.3 },
            last_nonlinear: false,
            bias: true,
            base: Base::Normal,
            init: "orthogonal".to_string(),
            dtype: Dtype::F32,
            seed: self.seed,
            threads: self.threads,
            checkpoint_every: 1,
        }
    }

    /// One line to standard error.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            note!("{text}");
        }
    }

    /// Ends the experiment when the user asked for it.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) fn check_interrupt(&mut self) -> Result<()> {
        if self.events.interrupted() { Err(Error::Interrupted(self.resume_hint())) } else { Ok(()) }
    }

    /// What to say when the experiment was cut short.
    pub(crate) fn resume_hint(&self) -> String {
        format!(
            "interrupted; run the same command again: trainings in {} go on from their checkpoints",
            self.out.display()
        )
    }
}

/// Runs an experiment and writes NAME.json, NAME.md, NAME.svg and NAME.png; returns their paths.
///
/// # Errors
/// When files of these names are no experiment's; whatever the experiment meets. Nothing is written then.
pub(crate) fn run(name: Name, context: &mut Context<'_>) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(context.out).map_err(|cause| Error::output(context.out, cause))?;
    require_replaceable(context.out, name)?;
    let (clock, started) = (Instant::now(), rfc3339(unix_seconds()));
    let findings = name.run(context)?;
    let experiment = Experiment {
        schema: EXPERIMENT_SCHEMA,
        name: name.to_string(),
        title: name.title().to_string(),
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
fn require_replaceable(out: &Path, name: Name) -> Result<()> {
    let file = |extension: &str| out.join(format!("{name}.{extension}"));
    let mut there = ["json", "md", "svg", "png"].map(file).into_iter().filter(|path| path.symlink_metadata().is_ok());
    let Some(first) = there.next() else { return Ok(()) };
    if sealed::read(&file("json"), MOST_JSON).is_ok_and(|bytes| is_result_of(name, &bytes)) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{} is not what the experiment {name} left there: move it away, or choose another --out",
        first.display()
    )))
}

fn is_result_of(name: Name, text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Header {
        schema: u32,
        name: String,
    }
    let header = serde_json::from_slice::<Header>(text);
    header.is_ok_and(|header| header.schema >= 1 && header.name == name.name())
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
            assert!(is_result_of(Name::Fig2, text) && !is_result_of(Name::Fig5, text));
            let bytes = damaged(text, &damage);
            judge(bytes.len(), || Ok::<_, String>(is_result_of(Name::Fig2, &bytes)));
        }
    }

    #[test]
    fn names_read_back() {
        for name in Name::ALL {
            assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
        }
        for effort in Effort::NAMES {
            assert_eq!(effort.parse::<Effort>().unwrap().to_string(), effort);
        }
        assert!("fig9".parse::<Name>().unwrap_err().to_string().contains("fig1-right"));
    }
}
