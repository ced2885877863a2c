//! The paper in one command: every figure and table by the commands of this program, each next to the paper's
//! statement, on one page.
//!
//! A part ([`parts`]) is a sweep or an experiment, which runs in a process of its own and writes its own folder;
//! [`state`] keeps what became of it. Claims ([`claims`]) are judged by what the folders hold ([`evidence`]), so that a
//! page can be written at any time.

mod claims;
mod evidence;
mod ours;
mod page;
mod parts;
mod state;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use relgrad_kernels::DeviceKind;
use relgrad_reports::table::Table;
use relgrad_reports::units;

use self::evidence::Evidence;
pub(crate) use self::parts::PARTS;
use self::parts::{Part, Source};
use self::state::{Account, Fate, Ledger};
use crate::cmd::sweep;
use crate::data::catalogue;
use crate::error::{Error, Result, code};
use crate::experiment::Effort;
use crate::machine::gpu;
use crate::measure::run::identity;
use crate::measure::run::interrupt::Events;
use crate::measure::run::process::{self, ChildLimits, End};

/// Between two lines about a part that is running.
const TICK: Duration = Duration::from_secs(60);

/// What to make, and of what.
pub(crate) struct Paper {
    /// Folder of the page.
    pub(crate) dir: PathBuf,
    pub(crate) effort: Effort,
    /// The parts asked for.
    pub(crate) parts: Vec<&'static Part>,
    /// Folders of earlier runs.
    pub(crate) from: Vec<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) quiet: bool,
}

/// A part of an earlier run.
type Earlier = (&'static Part, PathBuf);

impl Paper {
    /// Which parts the earlier folders have, the first folder first.
    ///
    /// # Errors
    /// When a folder has none.
    fn earlier(&self) -> Result<Vec<Earlier>> {
        let mut found: Vec<Earlier> = Vec::new();
        for from in &self.from {
            let mut reasons = Vec::new();
            let before = found.len();
            for part in &self.parts {
                match evidence::find(part, self.effort, self.settings(part)?.as_ref(), from) {
                    Ok(dir) if !found.iter().any(|known| known.0.name == part.name) => found.push((part, dir)),
                    Ok(_) => {}
                    Err(reason) => reasons.push((part.name, reason)),
                }
            }
            if found.len() == before && reasons.len() == self.parts.len() {
                // The shortest list of differences is that of the part which it was meant for.
                let told = reasons.iter().filter(|(_, reason)| reason != "it is not there");
                let told = told.min_by_key(|(_, reason)| reason.matches(", ").count());
                let told = told
                    .map_or("it has no sweep and no experiment of the paper".to_string(), |(part, reason)| {
                        format!("it is nearest to {part}, but {reason}")
                    });
                return Err(Error::Usage(format!("--from {}: {told}", from.display())));
            }
        }
        Ok(found)
    }

    /// Fails where an earlier folder has no part.
    pub(crate) fn require_earlier(&self) -> Result<()> {
        self.earlier().map(drop)
    }

    /// The settings of a part that is a sweep.
    fn settings(&self, part: &Part) -> Result<Option<relgrad_reports::run::Settings>> {
        match part.source {
            Source::Sweep { .. } => sweep::settings_of(&part.words(self.effort)[1..]).map(Some),
            Source::Experiment => Ok(None),
        }
    }

    /// The parts, what each runs, how long it takes, and whether it is there.
    pub(crate) fn list(&self) -> Result<String> {
        let (ledger, earlier) = (Ledger::read(&self.dir).ok(), self.earlier()?);
        let mut left = 0.0;
        let mut row = |part: &&'static Part| {
            let seconds = part.predicted_seconds(self.effort);
            let account = ledger.as_ref().and_then(|ledger| ledger.of(part.name));
            let taken = earlier.iter().find(|known| known.0.name == part.name);
            let state = match (account, taken, self.lacks(part)) {
                (Some(account), ..) if account.is_complete() => "there".to_string(),
                (_, Some((_, dir)), _) => format!("in {}", dir.display()),
                (.., Some(reason)) => reason.split(':').next().unwrap_or_default().to_string(),
                _ => {
                    left += seconds;
                    "to run".to_string()
                }
            };
            let command = format!("relgrad {}", part.words(self.effort).join(" "));
            vec![part.name.to_string(), units::seconds(seconds), state, command]
        };
        let rows: Vec<Vec<String>> = self.parts.iter().map(&mut row).collect();
        let table = Table::new("part | >predicted | state | command", rows);
        let total = format!("\nTo run: about {} on two Zen 5 cores.\n", units::seconds(left));
        Ok(table.text() + &total)
    }

    /// Makes the page, running what is not there. Returns the exit code.
    ///
    /// # Errors
    /// When an earlier folder has no part, or the page cannot be written. A part that fails is told on the page.
    pub(crate) fn make(&self, mut ledger: Ledger, events: &mut Events) -> Result<u8> {
        for (part, from) in self.earlier()? {
            if !ledger.of(part.name).is_some_and(Account::is_complete) {
                ledger.keep(self.take(part, &from)?);
            }
        }
        ledger.write(&self.dir)?;
        let mut interrupted = false;
        let todo: Vec<_> =
            self.parts.iter().filter(|part| !ledger.of(part.name).is_some_and(Account::is_complete)).collect();
        for (at, part) in todo.iter().enumerate() {
            let seconds = units::seconds(part.predicted_seconds(self.effort));
            self.say(&format!("part {} of {}: {}, about {seconds}", at + 1, todo.len(), part.name));
            match self.run(part, events)? {
                Some(account) => ledger.keep(account),
                None => interrupted = true,
            }
            ledger.write(&self.dir)?;
            if interrupted {
                break;
            }
        }
        let written = page::write_page(&self.dir, &ledger)?;
        say!("page: {}", written.display());
        let go_on = format!("relgrad paper --resume {}", self.dir.display());
        if interrupted {
            note!("relgrad: interrupted; continue with: {go_on}");
            return Ok(code::INTERRUPTED);
        }
        let failed: Vec<_> = ledger.parts.iter().filter(|account| account.outcome == Fate::Failed).collect();
        for account in &failed {
            let reason = account.reason.as_deref().unwrap_or("it ended without a result");
            note!("relgrad: {} failed: {reason}; try again with: {go_on} --only {}", account.part, account.part);
        }
        Ok(match failed.first() {
            Some(account) => account.code.unwrap_or(code::INTERNAL),
            None if ledger.parts.iter().any(Account::is_complete) => 0,
            None => code::NOTHING_MEASURED,
        })
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            note!("{text}");
        }
    }

    /// Takes a part from an earlier run.
    fn take(&self, part: &Part, from: &Path) -> Result<Account> {
        let folder = format!("taken/{}", part.name);
        evidence::take(part, from, &self.dir.join(&folder))?;
        self.say(&format!("{}: taken from {}", part.name, from.display()));
        let from = Some(from.components().collect::<PathBuf>().display().to_string());
        Ok(Account { folder, from, ..self.account(part, Fate::Taken) })
    }

    /// An account of nothing but the command.
    fn account(&self, part: &Part, outcome: Fate) -> Account {
        let folder = match part.source {
            Source::Sweep { .. } => part.name,
            // Experiments share trained models.
            Source::Experiment => "experiments",
        };
        let command = std::iter::once("relgrad".to_string()).chain(self.arguments(part, folder));
        let command = command.collect();
        let part = part.name.to_string();
        Account {
            part,
            outcome,
            command,
            folder: folder.to_string(),
            seconds: None,
            from: None,
            reason: None,
            code: None,
        }
    }

    /// The words behind `relgrad` that run a part, or go on with it.
    fn arguments(&self, part: &Part, folder: &str) -> Vec<String> {
        let dir = self.dir.join(folder);
        let place = |flag: &str, path: &Path| [flag.to_string(), path.display().to_string()];
        let is_sweep = matches!(part.source, Source::Sweep { .. });
        if is_sweep && dir.join("run.json").exists() {
            return [vec!["sweep".to_string()], place("--resume", &dir).to_vec()].concat();
        }
        let mut words = part.words(self.effort);
        words.extend(place("--out", &dir));
        if let (false, Some(data)) = (is_sweep, &self.data) {
            words.extend(place("--data", data));
        }
        words
    }

    /// What a part requires that is not there.
    fn lacks(&self, part: &Part) -> Option<String> {
        if let Source::Sweep { device: DeviceKind::Cuda, .. } = part.source
            && let Err(cause) = gpu::require()
        {
            return Some(format!("no GPU: {cause}"));
        }
        let has = |name: &str| catalogue::find(name).is_ok_and(|entry| entry.is_at_hand(self.data.as_deref()));
        let lacks = !part.data.is_empty() && !part.data.iter().any(|name| has(name));
        lacks.then(|| format!("no data: {} (name their folder with --data)", part.data.join(", ")))
    }

    /// Runs a part in a process of its own; nothing when a signal cut it off.
    fn run(&self, part: &Part, events: &mut Events) -> Result<Option<Account>> {
        if let Some(reason) = self.lacks(part) {
            self.say(&format!("{}: not measured: {reason}", part.name));
            return Ok(Some(Account { reason: Some(reason), ..self.account(part, Fate::NotAtHand) }));
        }
        let account = self.account(part, Fate::Measured);
        let mut command = Command::new(identity::program()?);
        identity::name(&mut command);
        command.args(&account.command[1..]).arg("--quiet");
        let start = Instant::now();
        let predicted = part.predicted_seconds(self.effort);
        let tick = |elapsed: Duration| {
            if elapsed >= TICK {
                let elapsed = units::seconds(elapsed.as_secs_f64().round());
                self.say(&format!("{}: {elapsed} of about {}", part.name, units::seconds(predicted)));
            }
            Some(elapsed + TICK)
        };
        let end = process::run_watched(command, ChildLimits::default(), events, tick);
        let end = end.map_err(|cause| Error::cannot_start("the process of a part", &cause))?;
        let seconds = Some(start.elapsed().as_secs_f64());
        let (status, stderr) = match end {
            End::Exited { status, stderr, .. } => (status, stderr),
            End::Interrupted | End::TimedOut => return Ok(None),
        };
        Ok(match status.code() {
            Some(0) => Some(Account { seconds, ..account }),
            Some(ended) if ended == i32::from(code::INTERRUPTED) && events.interrupted() => None,
            ended => {
                let told = stderr.lines().filter_map(|line| line.strip_prefix("relgrad: ")).next_back();
                let reason = told.map_or_else(|| process::cause_of_death(status, &stderr).to_string(), str::to_string);
                let code = ended.and_then(|code| u8::try_from(code).ok());
                Some(Account { outcome: Fate::Failed, seconds, reason: Some(reason), code, ..account })
            }
        })
    }
}

/// The ledger of a new folder, which must be empty.
pub(crate) fn begin(dir: &Path, effort: Effort) -> Result<Ledger> {
    if dir.join("paper.json").exists() {
        let dir = dir.display();
        return Err(Error::Usage(format!("{dir} already has a paper; continue it with --resume {dir}")));
    }
    crate::outputs::require_empty(dir, "paper.json")?;
    Ok(Ledger::new(effort))
}

/// The ledger of a folder that there is, and how long its parts may take.
pub(crate) fn resume(dir: &Path) -> Result<(Ledger, Effort)> {
    let ledger = Ledger::read(dir)?;
    let effort = ledger.effort.parse()?;
    Ok((ledger, effort))
}

/// What the folder of a part holds, or why nothing.
fn evidence_of(part: &Part, dir: &Path, account: Option<&Account>) -> Evidence {
    let Some(account) = account else { return Evidence::Nothing("not run yet".to_string()) };
    let dir = dir.join(&account.folder);
    let nothing = |cause: String| Evidence::Nothing(account.reason.clone().unwrap_or(cause));
    if account.outcome == Fate::NotAtHand {
        return nothing("not at hand".to_string());
    }
    // A sweep that failed has what it measured before.
    let is_experiment = matches!(part.source, Source::Experiment);
    if account.outcome == Fate::Failed && (is_experiment || !fs::exists(dir.join("run.json")).unwrap_or(false)) {
        return nothing("it failed".to_string());
    }
    Evidence::read(part, &dir).unwrap_or_else(|cause| nothing(cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_claims_and_a_command_that_is_understood() {
        for part in &PARTS {
            assert!(!(part.claims)().is_empty(), "{}", part.name);
            for effort in [Effort::Smoke, Effort::Quick, Effort::Full] {
                let words = part.words(effort);
                match part.source {
                    Source::Sweep { .. } => {
                        sweep::settings_of(&words[1..]).unwrap_or_else(|cause| panic!("{words:?}: {cause}"));
                    }
                    Source::Experiment => assert!(crate::experiment::find(part.name).is_ok()),
                }
            }
            assert!(part.data.iter().all(|name| catalogue::find(name).is_ok()), "{}", part.name);
        }
        let quick: f64 = PARTS.iter().filter(|part| part.name != "fig1-left").map(|part| part.seconds[0]).sum();
        assert!(quick <= 15.0 * 60.0, "{quick} s");
    }
}
