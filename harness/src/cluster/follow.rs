//! Follows the tasks of a campaign until every part is complete, and hands parts over again that ended before.
//!
//! Nothing here is known to the process alone: killed at any moment, another one finds the jobs by their name, the
//! records in the folders of the parts, and goes on.

use std::fs;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use relgrad_reports::units;

use super::campaign::{Campaign, Submission};
use super::finding::Finding;
use super::{Engine, Queue, Spot, is_name, ranges};
use crate::console;
use crate::error::{Error, Result};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::run::Ending;
use crate::measure::run::interrupt::{Event, Events};

/// Looks in a row that must miss a part before it counts as lost: files of a task that has just ended may come late.
const MISSED: usize = 2;
/// Submissions in a row that may end without a new record, after which a part is given up.
const IN_VAIN: usize = 3;
/// More parts than this are told by their number.
const MOST_NAMED: usize = 8;

/// A campaign that is followed.
pub(crate) struct Follower<'a> {
    campaign: &'a mut Campaign,
    engine: &'a mut dyn Engine,
    events: &'a mut Events,
    poll: Duration,
    parts: Vec<Pursued>,
    board: Board,
}

/// A part, and how often it was handed over.
#[derive(Debug, Clone, Default)]
struct Pursued {
    finding: Finding,
    /// Looks in a row that missed it in the queue.
    missed: usize,
    /// Whether the engine took it when it was last handed over, and its records then.
    is_taken: bool,
    before: usize,
    /// Submissions in a row that ended without a new record.
    in_vain: usize,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(
        campaign: &'a mut Campaign,
        engine: &'a mut dyn Engine,
        events: &'a mut Events,
        poll: Duration,
        quiet: bool,
    ) -> Self {
        let parts = vec![Pursued::default(); campaign.parts];
        let board = Board::new(quiet, campaign);
        Self { campaign, engine, events, poll, parts, board }
    }

    /// Hands over what was not, and returns when every part is complete or a signal comes. The tasks go on after a
    /// signal.
    ///
    /// # Errors
    /// When the first submission is refused, `cluster.json` cannot be written, or a part ends again and again without
    /// a new record.
    pub(crate) fn follow(mut self) -> Result<Ending> {
        let ending = self.pursue();
        self.board.finish();
        ending.map_err(|error| match error {
            Error::Output(cause) => Error::Output(format!(
                "{cause}; the records are kept; continue with: {}",
                self.campaign.command_again()
            )),
            other => other,
        })
    }

    fn pursue(&mut self) -> Result<Ending> {
        if self.campaign.jobs.is_empty() {
            let all: Vec<usize> = (1..=self.campaign.parts).collect();
            self.submit(&all, "handed over")?.map_err(Error::Output)?;
        }
        loop {
            let queue = self.engine.queue(self.campaign);
            self.look();
            if self.parts.iter().all(|part| part.finding.is_complete) {
                return Ok(Ending::Complete);
            }
            match queue {
                Ok(mut queue) => {
                    queue.parts.retain(|part, _| (1..=self.parts.len()).contains(part));
                    self.board.recover();
                    self.adopt(&queue)?;
                    self.board.show(&self.parts, &queue);
                    self.hand_over_again(&queue)?;
                }
                Err(cause) => self.board.complain(&cause),
            }
            if self.wait() {
                return Ok(Ending::Interrupted);
            }
        }
    }

    fn look(&mut self) {
        for (i, part) in self.parts.iter_mut().enumerate() {
            part.finding.update(self.campaign.work, &self.campaign.part(i + 1));
        }
    }

    /// Notes what the queue tells: the number of a job that was handed over by a process that did not live to note it,
    /// and the machines.
    fn adopt(&mut self, queue: &Queue) -> Result<()> {
        let Campaign { hosts, jobs, .. } = &mut *self.campaign;
        let mut is_new = false;
        let is_new_job = |found: &&String| !jobs.iter().any(|job| job.id.as_ref() == Some(*found));
        let found = queue.jobs.iter().rfind(is_new_job).cloned();
        if let (Some(job), Some(found)) = (jobs.last_mut().filter(|job| job.id.is_none()), found) {
            self.board.say(&format!("found job {found} again"));
            job.id = Some(found);
            is_new = true;
        }
        for (part, spot) in &queue.parts {
            if let Spot::Running(host) = spot
                && is_name(host)
                && hosts.get(part) != Some(host)
            {
                hosts.insert(*part, host.clone());
                is_new = true;
            }
        }
        if is_new { self.campaign.write() } else { Ok(()) }
    }

    /// Hands parts over again that the engine has no more and that are not complete.
    fn hand_over_again(&mut self, queue: &Queue) -> Result<()> {
        let mut lost = Vec::new();
        for (i, part) in self.parts.iter_mut().enumerate() {
            let is_missed = !part.finding.is_complete && !queue.parts.contains_key(&(i + 1));
            part.missed = if is_missed { part.missed + 1 } else { 0 };
            if part.missed >= MISSED {
                let is_vain = part.finding.records <= part.before;
                part.in_vain = if is_vain { part.in_vain + usize::from(part.is_taken) } else { 0 };
                lost.push(i + 1);
            }
        }
        if let Some(&part) = lost.iter().find(|part| self.parts[**part - 1].in_vain >= IN_VAIN) {
            return Err(self.given_up(part));
        }
        if lost.is_empty() {
            return Ok(());
        }
        if let Err(cause) = self.submit(&lost, "handed over again, not being complete")? {
            self.board.refused(&cause);
        }
        Ok(())
    }

    /// Hands parts over as one job, which is noted before and after; a refusal is the inner error.
    fn submit(&mut self, parts: &[usize], how: &str) -> Result<Result<(), String>> {
        // What was refused is noted once.
        self.campaign.jobs.pop_if(|job| job.id.is_none() && job.parts == parts);
        self.campaign.jobs.push(Submission { at: rfc3339(unix_seconds()), parts: parts.to_vec(), id: None });
        self.campaign.write()?;
        let answer = self.engine.submit(self.campaign, parts);
        for part in parts {
            let pursued = &mut self.parts[*part - 1];
            (pursued.missed, pursued.before, pursued.is_taken) = (0, pursued.finding.records, answer.is_ok());
        }
        let id = match answer {
            Ok(id) => id,
            Err(cause) => return Ok(Err(cause)),
        };
        let job = id.as_ref().map_or(String::new(), |id| format!("job {id}: "));
        self.board.say(&format!("{job}{} {how}", named(parts)));
        if let Some(job) = self.campaign.jobs.last_mut() {
            job.id = id;
        }
        self.campaign.write()?;
        Ok(Ok(()))
    }

    /// The error of a part whose tasks come to nothing, with their last words.
    fn given_up(&self, part: usize) -> Error {
        let path = self.campaign.log(part);
        let log = path.display();
        let told = match fs::read(&path) {
            // A task that has begun has made one, if only an empty one.
            Err(_) => format!("there is no {log}: do all machines have this folder, and the program for it?"),
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
                format!("{log} ends with: {}", console::cut(last.trim().trim_start_matches("relgrad: "), 300))
            }
        };
        Error::Output(format!("part {part} ended {IN_VAIN} times without a new record; {told}"))
    }

    /// Waits for the next look; whether a signal came.
    fn wait(&mut self) -> bool {
        let deadline = Instant::now().checked_add(self.poll);
        while self.events.wait(deadline) == Event::Heard {}
        self.events.interrupted()
    }
}

/// What the user sees meanwhile: a bar on a terminal, elsewhere a line whenever something has changed.
struct Board {
    bar: Option<ProgressBar>,
    quiet: bool,
    cells: usize,
    /// What the cells are, where they are none.
    unit: &'static str,
    last: String,
    /// Whether the engine did not answer last time.
    is_deaf: bool,
    /// Why it refused a job last time.
    refusal: String,
}

impl Board {
    fn new(quiet: bool, campaign: &Campaign) -> Self {
        let (cells, unit) = (campaign.cells, campaign.work.unit());
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let template = format!("{{bar:12}} {{pos}}/{{len}} {unit}s, {{elapsed_precise}}  {{wide_msg}}");
            let style = ProgressStyle::with_template(&template);
            let bar = ProgressBar::new(cells as u64);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            console::keep_moving(&bar);
            bar
        });
        Self { bar, quiet, cells, unit, last: String::new(), is_deaf: false, refusal: String::new() }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(console::visible(line)),
            None => note!("{line}"),
        }
    }

    fn show(&mut self, parts: &[Pursued], queue: &Queue) {
        let records: usize = parts.iter().map(|part| part.finding.records).sum();
        let told = state(parts, queue);
        if let Some(bar) = &self.bar {
            bar.set_position(records as u64);
            bar.set_message(console::visible(&told));
            return;
        }
        let line = format!("{records}/{} {}s: {told}", units::grouped(self.cells), self.unit);
        if line != self.last {
            self.say(&line);
            self.last = line;
        }
    }

    /// Tells once that the engine does not answer.
    fn complain(&mut self, cause: &str) {
        if !std::mem::replace(&mut self.is_deaf, true) {
            self.say(&format!("{cause}; trying again"));
        }
    }

    fn recover(&mut self) {
        if std::mem::take(&mut self.is_deaf) {
            self.say("the engine answers again");
        }
    }

    /// Tells once why the engine takes no job.
    fn refused(&mut self, cause: &str) {
        if self.refusal != cause {
            self.say(&format!("{cause}; trying again"));
            self.refusal = cause.to_string();
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Tells, line by line, how far the parts are.
pub(crate) fn list(campaign: &Campaign, mut tell: impl FnMut(&str)) {
    for part in 1..=campaign.parts {
        let mut finding = Finding::default();
        finding.update(campaign.work, &campaign.part(part));
        let Finding { records, is_complete, .. } = finding;
        let host = campaign.hosts.get(&part).map_or(String::new(), |host| format!(", on {host}"));
        let complete = if is_complete { ", complete" } else { "" };
        tell(&format!("part {part}: {}{complete}{host}", units::counted(records, "record")));
    }
}

/// Parts in words: `part 2`, `parts 1-3`.
fn named(parts: &[usize]) -> String {
    format!("part{} {}", if parts.len() == 1 { "" } else { "s" }, ranges(parts))
}

/// Where the parts are, in words.
fn state(parts: &[Pursued], queue: &Queue) -> String {
    let complete = parts.iter().filter(|part| part.finding.is_complete).count();
    let open = queue.parts.iter().filter(|(part, _)| !parts[**part - 1].finding.is_complete);
    let (mut running, mut waiting) = (Vec::new(), Vec::new());
    for (part, spot) in open {
        match spot {
            Spot::Running(host) => running.push(format!("{part} on {host}")),
            Spot::Waiting(reason) if reason.is_empty() || reason == "None" => waiting.push(part.to_string()),
            Spot::Waiting(reason) => waiting.push(format!("{part} ({reason})")),
        }
    }
    let list = |names: Vec<String>| match names.len() {
        0..=MOST_NAMED => names.join(", "),
        count => count.to_string(),
    };
    let told = [("running", running), ("waiting", waiting)].into_iter().filter(|(_, names)| !names.is_empty());
    let told = told.map(|(what, names)| format!(", {what}: {}", list(names))).collect::<String>();
    format!("{complete} of {} complete{told}", units::counted(parts.len(), "part"))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
