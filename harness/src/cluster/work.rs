//! What the parts of a campaign are parts of: the command of a task, its files, and how far they show it to be.

use std::path::Path;

use relgrad_reports::study::Study;
use serde::{Deserialize, Serialize};

use crate::experiment::search;
use crate::measure::plan;

/// What is done in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// The cells of a plan are measured.
    #[default]
    Sweep,
    /// The settings of a grid are trained.
    Search,
}

impl Work {
    /// What a task runs with a shard, a folder and the words of the campaign behind it.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Sweep => "sweep --continue",
            Self::Search => "experiment table1 --search",
        }
    }

    /// What a part has many of.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Sweep => "cell",
            Self::Search => "training",
        }
    }

    /// Two lines of a task's script, for people.
    pub(super) const fn explanation(self) -> [&'static str; 2] {
        match self {
            Self::Sweep => ["measures", "Each cell has its record at once"],
            Self::Search => ["trains", "Each training has its result at once"],
        }
    }

    /// The files of a part: one that is there from the start, and what there is a record each in, which may be a
    /// folder of JSON files.
    pub(super) const fn files(self) -> [&'static str; 2] {
        match self {
            Self::Sweep => ["run.json", "records.jsonl"],
            Self::Search => [search::SHARD, search::FOLDER],
        }
    }

    /// How many records the folder of a part has, and whether they are all; none where it cannot be read.
    pub(super) fn progress(self, dir: &Path) -> Option<(usize, bool)> {
        match self {
            Self::Sweep => {
                let study = Study::read(dir).ok()?;
                let settings = &study.run.settings;
                let cells = plan::plan(settings).map(|points| points.len() * settings.rounds);
                let records = study.records.len();
                Some((records, study.run.ended.is_some() && cells == Ok(records)))
            }
            Self::Search => search::progress(dir),
        }
    }
}
