//! `cluster.json`: what a cluster was asked for, and which jobs it has been handed.
//!
//! It is written, whole, before a job is handed over and again with the number of the job. The name of the jobs is
//! known from the start and of this folder alone, so that a job whose number was lost is found by its name.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use relgrad_reports::writer::write_atomically;
use serde::{Deserialize, Serialize};

use super::work::Work;
use super::{Cluster, is_name, script};
use crate::console;
use crate::error::{Error, Result};
use crate::machine::time::{rfc3339, unix_seconds};
use crate::measure::run::identity;
use crate::train::sealed;

const FILE: &str = "cluster.json";
/// What a kill in the middle of writing it leaves.
const PARTIAL: &str = "cluster.json.partial";
const SCHEMA: u32 = 1;
const MOST_BYTES: u64 = 16 << 20;
/// Most parts: the array of a Slurm job has at most 1001 places unless its administrator allows more.
pub(crate) const MOST_PARTS: usize = 1000;
/// The script of a task, in the folder of the tasks.
pub(super) const SCRIPT: &str = "task.sh";
/// The program that the tasks run: a copy, so that all of them run the same however often it is built anew meanwhile.
pub(super) const PROGRAM: &str = "relgrad";

/// The contents of `cluster.json`, and its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Campaign {
    pub(crate) schema: u32,
    pub(crate) command: Vec<String>,
    pub(crate) version: String,
    pub(crate) started: String,
    /// When the records were brought together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// A [`Cluster`].
    pub(crate) engine: String,
    #[serde(default)]
    pub(crate) work: Work,
    /// Name of the plan.
    pub(crate) plan: String,
    /// Name of its jobs, and of no others.
    pub(crate) name: String,
    /// Records that the parts will have together.
    pub(crate) cells: usize,
    pub(crate) parts: usize,
    /// What a task is told besides its part.
    pub(crate) words: Vec<String>,
    /// Seconds that a task may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task_seconds: Option<f64>,
    /// The machine that ran a part last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) hosts: BTreeMap<usize, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) jobs: Vec<Submission>,
    /// The folder of the study, absolute.
    #[serde(skip)]
    pub(crate) dir: PathBuf,
}

/// Parts that were handed over together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Submission {
    pub(crate) at: String,
    pub(crate) parts: Vec<usize>,
    /// The number of the job; none until the engine has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

/// What a cluster is asked for.
pub(crate) struct Asked {
    pub(crate) cluster: Cluster,
    pub(crate) work: Work,
    pub(crate) plan: String,
    pub(crate) cells: usize,
    pub(crate) parts: usize,
    pub(crate) words: Vec<String>,
    pub(crate) task_seconds: Option<f64>,
}

impl Campaign {
    /// Makes `cluster.json` in a new or empty folder.
    ///
    /// # Errors
    /// When the folder has something in it, or cannot be written.
    pub(crate) fn begin(dir: &Path, asked: Asked) -> Result<Self> {
        let Asked { cluster, work, plan, cells, parts, words, task_seconds } = asked;
        fs::create_dir_all(dir).map_err(|cause| Error::output(dir, cause))?;
        if dir.join(FILE).exists() {
            let dir = dir.display();
            return Err(Error::Usage(format!(
                "{dir} already has a sweep; continue it with --resume {dir}, or choose another --out"
            )));
        }
        crate::outputs::require_empty(dir, PARTIAL)?;
        let dir = fs::canonicalize(dir).map_err(|cause| Error::output(dir, cause))?;
        let started = rfc3339(unix_seconds());
        let own = format!("{} {} {}", dir.display(), unix_seconds(), std::process::id());
        let campaign = Self {
            schema: SCHEMA,
            command: console::command_line(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            started,
            ended: None,
            engine: cluster.to_string(),
            work,
            name: format!("relgrad-{plan}-{:08x}", crc32fast::hash(own.as_bytes())),
            plan,
            cells,
            parts,
            words,
            task_seconds,
            hosts: BTreeMap::new(),
            jobs: Vec::new(),
            dir,
        };
        campaign.write()?;
        Ok(campaign)
    }

    /// That of a folder; none where the folder has no `cluster.json`.
    ///
    /// # Errors
    /// When it is damaged, or a newer relgrad wrote it.
    pub(crate) fn find(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = sealed::read(&path, MOST_BYTES)?;
        let mut campaign: Self = serde_json::from_slice(&bytes).map_err(|cause| Error::input(&path, cause))?;
        campaign.validate().map_err(|cause| Error::input(&path, cause))?;
        campaign.dir = fs::canonicalize(dir).map_err(|cause| Error::input(dir, cause))?;
        Ok(Some(campaign))
    }

    /// What a file from elsewhere must not do: name files outside of its folder, or parts that there are not.
    fn validate(&self) -> Result<(), String> {
        if self.schema > SCHEMA {
            return Err(format!("it has the schema {}: use a newer relgrad", self.schema));
        }
        self.engine.parse::<Cluster>()?;
        if !is_name(&self.name) || !self.hosts.values().all(|host| is_name(host)) {
            return Err("a name in it is none".to_string());
        }
        let is_part = |part: &usize| (1..=self.parts).contains(part);
        let mut named = self.hosts.keys().chain(self.jobs.iter().flat_map(|job| &job.parts));
        if self.parts > MOST_PARTS || !named.all(is_part) {
            return Err("a part in it is none".to_string());
        }
        Ok(())
    }

    pub(crate) fn write(&self) -> Result<()> {
        let path = self.dir.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|cause| Error::output(&path, cause))?;
        write_atomically(&path, (text + "\n").as_bytes()).map_err(|cause| Error::Output(cause.to_string()))
    }

    pub(crate) fn cluster(&self) -> Result<Cluster> {
        self.engine.parse().map_err(Error::Input)
    }

    /// Holds the folder for this process, as far as its file system has locks; another process is refused.
    pub(crate) fn hold(&self) -> Result<Option<File>> {
        let Ok(folder) = File::open(&self.dir) else { return Ok(None) };
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let dir = self.dir.display();
                Err(Error::Input(format!("{dir} is being followed by another relgrad: wait for it, or end it")))
            }
            _ => Ok(Some(folder)),
        }
    }

    /// Writes the script and the program that tasks run, as far as they are not there.
    pub(crate) fn set_up(&self) -> Result<()> {
        let tasks = self.tasks();
        fs::create_dir_all(&tasks).map_err(|cause| Error::output(&tasks, cause))?;
        let program = tasks.join(PROGRAM);
        if !program.exists() {
            let partial = tasks.join("relgrad.partial");
            let copied = fs::copy(identity::program()?, &partial).and_then(|_| fs::rename(&partial, &program));
            copied.map_err(|cause| Error::output(&program, cause))?;
        }
        let path = tasks.join(SCRIPT);
        let text = script::text(self, &self.cluster()?);
        write_atomically(&path, text.as_bytes()).map_err(|cause| Error::Output(cause.to_string()))
    }

    /// Marks the end, and takes the program away.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.ended = Some(rfc3339(unix_seconds()));
        self.write()?;
        // A copy that stays is no harm.
        let _ = fs::remove_file(self.tasks().join(PROGRAM));
        Ok(())
    }

    /// The command that goes on with it.
    pub(crate) fn command_again(&self) -> String {
        match self.work {
            Work::Sweep => format!("relgrad sweep --resume {}", self.dir.display()),
            Work::Search => "the same command".to_string(),
        }
    }

    /// The folder of the tasks.
    pub(crate) fn tasks(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// The folder of a part.
    pub(super) fn part(&self, part: usize) -> PathBuf {
        self.tasks().join(format!("part-{part}"))
    }

    /// What a part's tasks print.
    pub(super) fn log(&self, part: usize) -> PathBuf {
        self.tasks().join(format!("part-{part}.log"))
    }

    /// The folders of all parts that were begun, and of what was put aside of them, in order.
    pub(crate) fn studies(&self) -> Result<Vec<PathBuf>> {
        let tasks = self.tasks();
        let unreadable = |cause| Error::input(&tasks, cause);
        let mut found = Vec::new();
        for entry in fs::read_dir(&tasks).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let rest = name.strip_prefix("part-").unwrap_or_default();
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let is_ours = rest[digits..].is_empty() || rest[digits..].starts_with("-other-");
            if let Ok(part) = rest[..digits].parse::<usize>()
                && is_ours
                && path.join(self.work.files()[0]).is_file()
            {
                found.push((part, name, path));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, _, path)| path).collect())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// One of four parts on `cluster`, in `dir`.
    pub(crate) fn campaign(cluster: &str, dir: &Path) -> Campaign {
        Campaign {
            schema: SCHEMA,
            command: vec!["relgrad".to_string(), "sweep".to_string()],
            version: "0.1.0".to_string(),
            started: "2026-11-30T00:00:00Z".to_string(),
            ended: None,
            engine: cluster.to_string(),
            work: Work::Sweep,
            plan: "1a2b3c4d".to_string(),
            name: "relgrad-1a2b3c4d-5e6f7a8b".to_string(),
            cells: 24,
            parts: 4,
            words: ["--dims", "10:100", "--activation", "tanh:1:0.1"].map(str::to_string).to_vec(),
            task_seconds: Some(1100.0),
            hosts: BTreeMap::new(),
            jobs: Vec::new(),
            dir: dir.to_path_buf(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        let words = vec!["--dims".to_string(), "2".to_string()];
        let (cluster, plan) = (Cluster::HyperQueue, "1a2b3c4d".to_string());
        Asked { cluster, work: Work::Sweep, plan, cells: 6, parts: 1, words, task_seconds: None }
    }

    #[test]
    fn a_campaign_reads_as_it_was_written_and_its_name_is_of_its_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| scratch.path().join(name));
        assert!(Campaign::find(&one).unwrap().is_none());
        let mut campaign = Campaign::begin(&one, asked()).unwrap();
        let job = Submission { at: campaign.started.clone(), parts: vec![1], id: Some("7".to_string()) };
        campaign.jobs.push(job);
        campaign.hosts.insert(1, "node-1".to_string());
        campaign.write().unwrap();
        assert_eq!(Campaign::find(&one).unwrap(), Some(campaign.clone()));
        assert!(campaign.dir.is_absolute());
        assert_ne!(Campaign::begin(&two, asked()).unwrap().name, campaign.name);
        let told = Campaign::begin(&one, asked()).unwrap_err().to_string();
        assert!(told.contains("--resume"), "{told}");
    }

    #[test]
    fn one_process_at_a_time_has_the_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let campaign = Campaign::begin(scratch.path(), asked()).unwrap();
        let held = campaign.hold().unwrap();
        if held.is_some() {
            assert!(campaign.hold().unwrap_err().to_string().contains("another relgrad"));
        }
        drop(held);
        campaign.hold().unwrap();
    }

    #[test]
    fn a_file_that_names_what_is_not_there_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let whole = Campaign::begin(scratch.path(), asked()).unwrap();
        let job = |part| Submission { at: String::new(), parts: vec![part], id: None };
        for wrong in [
            Campaign { schema: 99, ..whole.clone() },
            Campaign { engine: "pbs".to_string(), ..whole.clone() },
            Campaign { name: "../x".to_string(), ..whole.clone() },
            Campaign { hosts: BTreeMap::from([(1, "-x".to_string())]), ..whole.clone() },
            Campaign { jobs: vec![job(2)], ..whole.clone() },
            Campaign { parts: 10_000_000, ..whole },
        ] {
            wrong.write().unwrap();
            let told = Campaign::find(scratch.path()).unwrap_err();
            assert!(told.to_string().contains("cluster.json") && told.to_string().lines().count() == 1, "{told}");
        }
    }

    #[test]
    fn the_studies_are_the_parts_and_what_was_put_aside() {
        let scratch = tempfile::tempdir().unwrap();
        let campaign = testing::campaign("hq", scratch.path());
        for name in ["part-10", "part-2", "part-2-other-1", "part-3", "part-2.fetched", "other"] {
            fs::create_dir_all(campaign.tasks().join(name)).unwrap();
            if name != "part-3" {
                fs::write(campaign.tasks().join(name).join("run.json"), "{}").unwrap();
            }
        }
        let names = campaign.studies().unwrap();
        let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["part-2", "part-2-other-1", "part-10"]);
    }
}
