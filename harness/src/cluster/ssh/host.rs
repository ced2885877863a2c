//! A host that is reached by ssh: its folder, its task, and the way of files to it and back.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use relgrad_reports::study::read_run;
use relgrad_reports::writer::write_atomically;

use super::super::campaign::{Campaign, PROGRAM, SCRIPT};
use super::super::finding::sizes;
use super::super::tool::{COPYING, PATIENCE, Refusal};
use super::super::work::Work;
use super::{SCP, SSH};
use crate::console;
use crate::experiment::search;
use crate::measure::run::{folder, identity};

/// What a host is asked for.
const HOST_SCRIPT: &str = include_str!("host.sh");
const HOST_SCRIPT_NAME: &str = "host.sh";
/// The folder of relgrad on a host, in the user's home.
const BASE: &str = ".cache/relgrad";
/// No question is asked of a person, and a host that has gone is noticed.
const OPTIONS: [&str; 8] =
    ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"];
/// The exit code of ssh itself where it reaches no host; others are those of the command there.
const UNREACHABLE: i32 = 255;
/// Looks in a row without an answer after which a host is dead, and its part another's.
const DEAD: usize = 3;

pub(super) struct Host {
    pub(super) name: String,
    /// Whether script and program are there.
    is_ready: bool,
    /// Looks in a row without an answer.
    failures: usize,
    /// The part that runs here.
    task: Option<usize>,
}

/// The folder of a sweep on the host of a name: hosts may share the user's home.
pub(super) fn home(campaign: &Campaign, name: &str) -> String {
    format!("{BASE}/{}/{name}", campaign.name)
}

impl Host {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_string(), is_ready: false, failures: 0, task: None }
    }

    fn home(&self, campaign: &Campaign) -> String {
        home(campaign, &self.name)
    }

    /// The folder of a part there.
    fn part(&self, campaign: &Campaign, part: usize) -> String {
        format!("{}/part-{part}", self.home(campaign))
    }

    pub(super) fn is_free(&self) -> bool {
        self.is_ready && self.failures == 0 && self.task.is_none()
    }

    /// Copies script and program to the host, unless it has them, after a look at its system. The error names the host.
    pub(super) fn prepare(&mut self, campaign: &Campaign) -> Result<(), String> {
        let prepared = self.make_ready(campaign);
        self.is_ready = prepared.is_ok();
        prepared.map_err(|cause| format!("{}: {cause}", self.name))
    }

    fn make_ready(&self, campaign: &Campaign) -> Result<(), String> {
        require_same_system(&self.ask(campaign, &["uname", "-sm"])?)?;
        let tasks = campaign.tasks();
        write_atomically(&tasks.join(HOST_SCRIPT_NAME), HOST_SCRIPT.as_bytes()).map_err(|cause| cause.to_string())?;
        let program = remote_program(&tasks)?;
        let there = program.trim_end_matches(PROGRAM);
        self.ask(campaign, &["mkdir", "-p", there, &self.home(campaign)])?;
        let scripts = [tasks.join(HOST_SCRIPT_NAME), tasks.join(SCRIPT)];
        self.send(campaign, &scripts, &self.home(campaign))?;
        let version = match self.ask(campaign, &[&program, "--version"]) {
            Err(Refusal { code: Some(code), .. }) if code != UNREACHABLE => {
                let partial = format!("{program}.partial");
                self.send(campaign, &[tasks.join(PROGRAM)], &partial)?;
                self.ask(campaign, &["chmod", "755", &partial])?;
                self.ask(campaign, &["mv", "-f", &partial, &program])?;
                self.ask(campaign, &[&program, "--version"])
            }
            answer => answer,
        };
        let version = version.map_err(|refusal| format!("relgrad does not run there: {refusal}"))?;
        require_version(&version, &campaign.version)
    }

    /// Asks which tasks the host has, and brings records here that have grown; the part that runs on it. A host that
    /// does not answer keeps its part for some looks.
    pub(super) fn visit(&mut self, campaign: &Campaign) -> Option<usize> {
        if !self.is_ready && self.prepare(campaign).is_err() {
            return None;
        }
        match self.look(campaign) {
            Ok(task) => (self.failures, self.task) = (0, task),
            Err(cause) => {
                self.failures += 1;
                if self.failures >= DEAD {
                    note!("relgrad: {}: {cause}; its part goes to another host", self.name);
                    (self.is_ready, self.failures, self.task) = (false, 0, None);
                }
            }
        }
        self.task
    }

    fn look(&self, campaign: &Campaign) -> Result<Option<usize>, String> {
        let script = format!("{}/{HOST_SCRIPT_NAME}", self.home(campaign));
        let mut running = None;
        let [first, records] = campaign.work.files();
        let parts = listed(&self.ask(campaign, &["sh", &script, "list", first, records])?);
        // What another host has by now is left alone.
        let is_mine = |remote: &&Remote| campaign.hosts.get(&remote.part) == Some(&self.name);
        for Remote { part, is_running, bytes, log } in parts.iter().filter(is_mine) {
            if bytes[0] > 0 && *bytes != sizes(campaign.work, &campaign.part(*part)) {
                self.fetch(campaign, *part)?;
            }
            match is_running {
                true => running = Some(*part),
                false => self.fetch_log(campaign, *part, *log)?,
            }
        }
        Ok(running)
    }

    /// Starts a part here; whether that came about.
    pub(super) fn start(&mut self, campaign: &mut Campaign, part: usize) -> bool {
        match self.begin(campaign, part) {
            Ok(()) => self.task = Some(part),
            Err(cause) => {
                self.failures += 1;
                note!("relgrad: {}: part {part} could not be started: {cause}", self.name);
            }
        }
        self.task == Some(part)
    }

    /// Sends the records that another host has left, notes whose the part is now, and starts it. In this order: a part
    /// that is noted for this host has all its records here.
    fn begin(&self, campaign: &mut Campaign, part: usize) -> Result<(), String> {
        let (known, there) = (campaign.part(part), self.part(campaign, part));
        let files = campaign.work.files().map(|name| known.join(name));
        if campaign.hosts.get(&part) != Some(&self.name) && files[0].exists() {
            self.ask(campaign, &["mkdir", "-p", &there])?;
            self.send(campaign, &files, &there)?;
        }
        campaign.hosts.insert(part, self.name.clone());
        campaign.write().map_err(|cause| cause.to_string())?;
        let script = format!("{}/{HOST_SCRIPT_NAME}", self.home(campaign));
        // From the folder of the sweep, where the task runs.
        let program = remote_program(&campaign.tasks())?.replacen(BASE, "../..", 1);
        self.ask(campaign, &["sh", &script, "start", &part.to_string(), &program])?;
        Ok(())
    }

    /// Brings the files of a part here. What is here of another machine is put aside.
    fn fetch(&self, campaign: &Campaign, part: usize) -> Result<(), String> {
        let (fetched, known) = (campaign.tasks().join(format!("part-{part}.fetched")), campaign.part(part));
        fs::create_dir_all(&fetched).map_err(|cause| cause.to_string())?;
        // In this order: a run that has ended has all its records.
        let there = campaign
            .work
            .files()
            .map(|name| OsString::from(format!("{}:{}/{name}", self.name, self.part(campaign, part))));
        self.copy(campaign, there.into_iter().chain([fetched.clone().into_os_string()]))?;
        place(campaign.work, &fetched, &known)
    }

    /// Brings the words of a part's ended tasks here, unless they are here: they may say why it has ended.
    fn fetch_log(&self, campaign: &Campaign, part: usize, bytes: u64) -> Result<(), String> {
        let here = campaign.log(part);
        if fs::metadata(&here).map_or(0, |file| file.len()) == bytes {
            return Ok(());
        }
        let there = format!("{}:{}.log", self.name, self.part(campaign, part));
        self.copy(campaign, [OsString::from(there), here.into_os_string()].into_iter())
    }

    pub(super) fn clean_up(&self, campaign: &Campaign) {
        if self.is_ready {
            // What stays is no harm.
            let _ = self.ask(campaign, &["rm", "-rf", &self.home(campaign)]);
            // Hosts that share a home share this one.
            let _ = self.ask(campaign, &["rmdir", &format!("{BASE}/{}", campaign.name)]);
        }
    }

    /// Runs a command of plain words, which every shell reads alike.
    fn ask(&self, campaign: &Campaign, words: &[&str]) -> Result<String, Refusal> {
        let words = OPTIONS.into_iter().chain([self.name.as_str()]).chain(words.iter().copied());
        SSH.run(words, &campaign.tasks(), PATIENCE)
    }

    /// Copies files to a place on the host.
    fn send(&self, campaign: &Campaign, files: &[PathBuf], place: &str) -> Result<(), String> {
        let files = files.iter().map(|path| path.clone().into_os_string());
        self.copy(campaign, files.chain([OsString::from(format!("{}:{place}", self.name))]))
    }

    fn copy(&self, campaign: &Campaign, places: impl Iterator<Item = OsString>) -> Result<(), String> {
        let words = ["-q", "-r"].into_iter().chain(OPTIONS).map(OsString::from).chain(places);
        SCP.run(words, &campaign.tasks(), COPYING)?;
        Ok(())
    }
}

/// The place of the program on hosts, named by its contents.
fn remote_program(tasks: &Path) -> Result<String, String> {
    let program = tasks.join(PROGRAM);
    let (bytes, checksum) = identity::checksum(&program).ok_or_else(|| format!("cannot read {}", program.display()))?;
    Ok(format!("{BASE}/program-{bytes}-{checksum:08x}/{PROGRAM}"))
}

/// A part as a host lists it.
#[derive(Debug, Clone, PartialEq)]
struct Remote {
    part: usize,
    is_running: bool,
    /// Of its [`Work::files`].
    bytes: [u64; 2],
    /// Bytes of what its tasks printed.
    log: u64,
}

fn listed(said: &str) -> Vec<Remote> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let (part, state) = (words.next()?.parse().ok()?, words.next()?);
        let mut bytes = || -> Option<u64> { words.next()?.parse().ok() };
        Some(Remote { part, is_running: state == "running", bytes: [bytes()?, bytes()?], log: bytes()? })
    };
    said.lines().filter_map(of_line).collect()
}

/// Fails unless `uname -sm` tells the system that this program was built for.
fn require_same_system(said: &str) -> Result<(), String> {
    let name = |word: &str| match word.to_lowercase().as_str() {
        "darwin" => "macos".to_string(),
        "amd64" => "x86_64".to_string(),
        "arm64" => "aarch64".to_string(),
        other => other.to_string(),
    };
    let there = said.split_whitespace().map(name).collect::<Vec<_>>().join(" ");
    let here = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    if there == here {
        return Ok(());
    }
    let there = console::quoted(&there);
    Err(format!("its system is `{there}`, and this relgrad is for {here}: run --shard with a build for it there"))
}

fn require_version(said: &str, wanted: &str) -> Result<(), String> {
    let is_it = said.split_whitespace().take(2).eq(["relgrad", wanted]);
    let said = console::quoted(said.trim());
    if is_it { Ok(()) } else { Err(format!("its program says `{said}`, not relgrad {wanted}")) }
}

/// Puts fetched files where the part has its records.
fn place(work: Work, fetched: &Path, known: &Path) -> Result<(), String> {
    if work == Work::Search {
        return search::take_over(fetched, known).map_err(|cause| cause.to_string());
    }
    let new = read_run(fetched).map_err(|cause| cause.to_string())?;
    if let Ok(old) = read_run(known)
        && !identity::differences(&old, &new).is_empty()
    {
        folder::set_aside(known).map_err(|cause| cause.to_string())?;
    }
    fs::create_dir_all(known).map_err(|cause| cause.to_string())?;
    for name in ["records.jsonl", "run.json"] {
        fs::rename(fetched.join(name), known.join(name)).map_err(|cause| cause.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use relgrad_reports::writer::write_run;

    use super::super::super::finding::testing::write;
    use super::*;

    #[test]
    fn a_host_lists_its_parts() {
        let said = "1 ended 120 4000 77\n10 running 0 0 0\nbash: warning\n2 running 5\n";
        let ended = Remote { part: 1, is_running: false, bytes: [120, 4000], log: 77 };
        assert_eq!(listed(said), [ended, Remote { part: 10, is_running: true, bytes: [0, 0], log: 0 }]);
    }

    #[test]
    fn another_system_or_version_is_refused_with_what_it_is() {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let name = |of: &str| of.replace("macos", "Darwin").replace("linux", "Linux");
        require_same_system(&format!("{} {arch}\n", name(os))).unwrap();
        let told = require_same_system("Linux riscv64\n").unwrap_err();
        assert!(told.contains("`linux riscv64`") && told.contains(arch), "{told}");
        require_version("relgrad 0.1.0 (revision 0123)\n", "0.1.0").unwrap();
        let told = require_version("relgrad 0.2.0\n", "0.1.0").unwrap_err();
        assert!(told.contains("0.2.0") && told.contains("not relgrad 0.1.0"), "{told}");
    }

    #[test]
    fn fetched_records_replace_those_of_the_same_machine_and_put_others_aside() {
        let scratch = tempfile::tempdir().unwrap();
        let [fetched, known] = ["part-1.fetched", "part-1"].map(|name| scratch.path().join(name));
        write(&fetched, 1, false);
        place(Work::Sweep, &fetched, &known).unwrap();
        write(&fetched, 2, true);
        place(Work::Sweep, &fetched, &known).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
        write(&fetched, 1, false);
        let old = read_run(&fetched).unwrap();
        let mut run = old.clone();
        run.machine.cpu = "another".to_string();
        write_run(&fetched, &run).unwrap();
        place(Work::Sweep, &fetched, &known).unwrap();
        assert_eq!(read_run(&scratch.path().join("part-1-other-1")).unwrap().machine.cpu, old.machine.cpu);
        assert_eq!(read_run(&known).unwrap().machine.cpu, "another");
    }
}
