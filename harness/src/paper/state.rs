//! `paper.json`: which parts there are, and how each came to be.

use std::path::Path;

use relgrad_reports::writer::write_atomically;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::experiment::Effort;
use crate::machine::time::{rfc3339, unix_seconds};
use crate::train::sealed;

const FILE: &str = "paper.json";
const SCHEMA: u32 = 1;
const MOST_BYTES: u64 = 4 << 20;

/// The contents of `paper.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) schema: u32,
    /// `quick` or `full`.
    pub(crate) effort: String,
    pub(crate) command: Vec<String>,
    pub(crate) version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) git_revision: Option<String>,
    pub(crate) started: String,
    pub(crate) parts: Vec<Account>,
}

/// How a part came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) part: String,
    pub(crate) outcome: Fate,
    /// The command that ran, or would go on.
    pub(crate) command: Vec<String>,
    /// Folder of its results, below that of the page.
    pub(crate) folder: String,
    /// Seconds it took here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// The folder that it was taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The exit code of the command, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u8>,
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fate {
    /// Its command ran to the end.
    Measured,
    /// An earlier run had it.
    Taken,
    /// Its command failed.
    Failed,
    /// A device or data set is not there.
    NotAtHand,
}

impl Ledger {
    pub(crate) fn new(effort: Effort) -> Self {
        Self {
            schema: SCHEMA,
            effort: effort.name().to_string(),
            command: crate::console::command_line(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            git_revision: option_env!("RELGRAD_GIT_REVISION").map(str::to_string),
            started: rfc3339(unix_seconds()),
            parts: Vec::new(),
        }
    }

    /// Reads that of a folder.
    ///
    /// # Errors
    /// When there is none, it is damaged, or a newer relgrad wrote it.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if dir.is_dir() && !path.exists() {
            return Err(Error::Input(format!("{} is not the folder of a paper: it has no {FILE}", dir.display())));
        }
        let bytes = sealed::read(&path, MOST_BYTES)?;
        let ledger: Self = serde_json::from_slice(&bytes).map_err(|cause| Error::input(&path, cause))?;
        match ledger.schema {
            1..=SCHEMA => Ok(ledger),
            other => Err(Error::Input(format!("{} has the schema {other}: use a newer relgrad", path.display()))),
        }
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|cause| Error::output(&path, cause))?;
        write_atomically(&path, (text + "\n").as_bytes()).map_err(|cause| Error::Output(cause.to_string()))
    }

    pub(crate) fn of(&self, part: &str) -> Option<&Account> {
        self.parts.iter().find(|account| account.part == part)
    }

    /// Puts an account in the place of the part's earlier one.
    pub(crate) fn keep(&mut self, account: Account) {
        self.parts.retain(|other| other.part != account.part);
        self.parts.push(account);
    }
}

impl Account {
    /// Whether the part need not run again.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.outcome, Fate::Measured | Fate::Taken)
    }
}
