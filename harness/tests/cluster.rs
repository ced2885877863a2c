//! Sweeps on clusters whose engines are shell scripts: tasks that are killed, a submitter that is killed, engines that
//! do not answer, a host that dies.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/cluster.rs"]
mod fake;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{cells, ends, lines, records, relgrad, wait_until, words};
use fake::{Fake, assert_whole, kill};

/// Cells of milliseconds, enough of them that a part is not over at once.
const PLAN: &str = "--dims 2,5,9 --methods relative,ordinary --batch 4 --threads 1 --rounds 5 --min-samples 3 \
                    --no-roofline --attempts 1";

/// Method, D and round of every cell of the plan.
fn whole() -> BTreeSet<(String, u64, u64)> {
    let points = ["relative", "ordinary"].into_iter().flat_map(|method| [2, 5, 9].map(|dim| (method, dim)));
    points.flat_map(|(method, dim)| (0..5).map(move |round| (method.to_string(), dim, round))).collect()
}

fn sweep(fake: &Fake, cluster: &str) -> Command {
    let mut command = fake.relgrad(&format!("sweep --on {cluster} --poll 50ms {PLAN} --out"));
    command.arg(fake.out());
    command
}

#[test]
fn a_killed_task_of_slurm_is_handed_over_again_and_the_study_is_that_of_one_machine() {
    let fake = Fake::new();
    let mut command = sweep(&fake, "slurm:debug --parts 3");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    wait_until("a record of the second part", || !lines(&fake.part(2)).is_empty());
    kill(&fake.known("task-1-2"));
    // No answer says nothing of the tasks.
    fs::write(fake.known("deaf"), "").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::remove_file(fake.known("deaf")).unwrap();
    let output = child.wait_with_output().expect("relgrad ends");
    let told = common::stderr(&output);
    assert!(output.status.success(), "{told}");
    let [first, second] = ["job 1: parts 1-3 handed over\n", "job 2: part 2 handed over again"];
    for words in [first, "Unable to contact", "answers again\n", second] {
        assert!(told.contains(words), "{words} is missing:\n{told}");
    }
    assert_eq!(cells(&records(&fake.out())), whole());
    assert_whole(&fake);
    let jobs = fake.cluster_json()["jobs"].clone();
    assert_eq!((jobs[0]["id"].as_str(), jobs[1]["id"].as_str()), (Some("1"), Some("2")), "{jobs}");
    assert_eq!(fake.cluster_json()["hosts"]["3"], "node-3");
    let format = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../FORMAT.md")).unwrap();
    let (_, section) = format.split_once("\n## `cluster.json`\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    for field in fake.cluster_json().as_object().expect("an object").keys() {
        assert!(section.contains(&format!("| `{field}` |")), "FORMAT.md does not describe {field} of cluster.json");
    }
    let script = fs::read_to_string(fake.out().join("cluster/task.sh")).unwrap();
    for line in ["#SBATCH --exclusive\n", "#SBATCH --array=1-3\n", "#SBATCH --partition=debug\n", "--dims 2,5,9"] {
        assert!(script.contains(line), "{line} is missing:\n{script}");
    }

    // The same cells as on one machine, and the same rows in the tables.
    let local = fake.out().with_file_name("local");
    ends(words(&format!("sweep {PLAN} --out")).arg(&local), 0);
    assert_eq!(cells(&records(&local)), whole());
    let rows = |dir: &Path| {
        let text = fs::read_to_string(dir.join("summary.csv")).unwrap();
        text.lines().map(|line| line.split(',').take(7).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    assert_eq!(rows(&fake.out()), rows(&local));
    // It is a study as any other from now on.
    ends(relgrad().args(["sweep", "--no-roofline", "--attempts", "1", "--resume"]).arg(fake.out()), 0);
}

#[test]
fn a_killed_submitter_finds_its_job_again_also_without_its_number() {
    let fake = Fake::new();
    let mut command = sweep(&fake, "slurm");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("relgrad starts");
    wait_until("a record", || !lines(&fake.part(1)).is_empty());
    let (_, told) = ends(&mut fake.resume(), 2);
    assert!(told.contains("is being followed by another relgrad"), "{told}");
    child.kill().expect("SIGKILL is delivered");
    child.wait().expect("it is reaped");
    // As if it had been killed before it wrote the number down.
    let mut known = fake.cluster_json();
    known["jobs"][0].as_object_mut().unwrap().remove("id");
    fs::write(fake.out().join("cluster.json"), known.to_string()).unwrap();
    let (listed, _) = ends(fake.resume().arg("--list"), 0);
    assert!(listed.starts_with("part 1: ") && listed.lines().count() == 3, "{listed}");
    let (_, told) = ends(fake.resume().args(["--budget", "1h"]), 2);
    assert!(told.contains("keep their limits"), "{told}");

    ends(&mut fake.resume(), 0);
    assert_eq!(fake.jobs(), 1, "the job was handed over twice");
    assert_eq!(cells(&records(&fake.out())), whole());
    assert_whole(&fake);
}

#[test]
fn ctrl_c_leaves_the_tasks_running_and_says_how_to_end_them() {
    let fake = Fake::new();
    let child = sweep(&fake, "slurm").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    wait_until("a record", || !lines(&fake.part(1)).is_empty());
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(signal.expect("kill starts").success());
    let output = child.wait_with_output().expect("relgrad ends");
    let told = common::stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("the tasks go on") && told.contains("scancel --name=relgrad-"), "{told}");
    ends(&mut fake.resume(), 0);
    assert_eq!((fake.jobs(), cells(&records(&fake.out()))), (1, whole()));
}

#[test]
fn whenever_the_submitter_is_killed_every_cell_has_its_record_once() {
    let fake = Fake::new();
    for milliseconds in [5, 40, 90, 150, 250, 400] {
        let known = fake.out().join("cluster.json").exists();
        let mut command = if known { fake.resume() } else { sweep(&fake, "slurm") };
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("relgrad starts");
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().expect("SIGKILL is delivered");
        child.wait().expect("it is reaped");
    }
    ends(&mut fake.resume(), 0);
    assert_eq!(cells(&records(&fake.out())), whole());
    assert_whole(&fake);
}

#[test]
fn a_killed_task_of_hyperqueue_is_handed_over_again() {
    let fake = Fake::new();
    let mut command = sweep(&fake, "hq --parts 2 --quiet");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    wait_until("a record of the first part", || !lines(&fake.part(1)).is_empty());
    kill(&fake.known("task-1-1"));
    let output = child.wait_with_output().expect("relgrad ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", common::stderr(&output));
    assert_eq!(fake.jobs(), 2);
    assert_eq!(cells(&records(&fake.out())), whole());
    assert_whole(&fake);
}

#[test]
fn the_part_of_a_host_that_dies_goes_on_at_another_one() {
    let fake = Fake::new();
    let mut command = sweep(&fake, "ssh:a,b --parts 3");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    wait_until("records of the first part", || !lines(&fake.part(1)).is_empty());
    let name = fake.cluster_json()["name"].as_str().expect("a name").to_string();
    let on_host = |host: &str| fake.known(host).join(".cache/relgrad").join(&name).join(host);
    fs::write(fake.known("a.dead"), "").unwrap();
    kill(&on_host("a").join("part-1.pid"));
    let brought: Vec<String> = lines(&fake.part(1)).into_iter().filter(|line| line.ends_with('}')).collect();
    let output = child.wait_with_output().expect("relgrad ends");
    let told = common::stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("a: ssh: ") && told.contains("goes to another host"), "{told}");
    assert_eq!(fake.cluster_json()["hosts"]["1"], "b");
    assert_eq!(cells(&records(&fake.out())), whole());
    // What had come back was not measured again.
    let all = lines(&fake.out());
    assert!(brought.iter().all(|line| all.contains(line)), "a record that was brought back is lost");
    assert_whole(&fake);
    assert!(!on_host("b").exists(), "the host is left clean");
}

#[test]
fn a_host_that_cannot_be_reached_at_the_start_is_named() {
    let fake = Fake::new();
    fs::write(fake.known("b.dead"), "").unwrap();
    let (_, told) = ends(&mut sweep(&fake, "ssh:a,b"), 7);
    assert!(told.starts_with("relgrad: b: ssh: ") && told.contains("refused") && told.lines().count() == 1, "{told}");
    fs::remove_file(fake.known("b.dead")).unwrap();
    ends(&mut fake.resume(), 0);
    assert_eq!(cells(&records(&fake.out())), whole());
}

#[test]
fn an_engine_that_is_missing_is_named_before_anything_is_written() {
    let scratch = common::scratch();
    let out = scratch.path().join("out");
    for (cluster, program) in [("slurm", "`sbatch`"), ("hq", "`hq`"), ("ssh:a", "`ssh`")] {
        let mut command = words(&format!("sweep --on {cluster} --dims 2,5 --out"));
        let (_, told) = ends(command.arg(&out).env("PATH", scratch.path()), 7);
        assert!(told.contains(&format!("{program} is not on PATH: ")) && told.lines().count() == 1, "{told}");
        assert!(!out.exists());
    }
}

#[test]
fn what_a_cluster_cannot_do_is_refused_in_a_line() {
    let fake = Fake::new();
    for (line, named) in [
        ("--on pbs --dims 2", "`pbs` is no cluster"),
        ("--on hq --parts 3 --dims 2,5", "too few for --parts 3"),
        ("--on hq --parts 0 --dims 2", "from 1 to 1000"),
        ("--parts 2 --dims 2", "--on"),
        ("--poll 1s --dims 2", "--poll requires --on"),
        ("--on hq --shard 1/2 --dims 2", "--shard"),
        ("--continue --dims 2", "--out"),
    ] {
        let (_, told) = ends(&mut fake.relgrad(&format!("sweep {line}")), 2);
        assert!(told.contains(named), "{line}: {told}");
    }
    fs::create_dir(fake.out()).unwrap();
    fs::write(fake.out().join("cluster.json"), "{}").unwrap();
    let (_, told) = ends(&mut fake.resume(), 2);
    assert!(told.contains("cluster.json") && told.lines().count() == 1, "{told}");
}

/// What the tasks of a part do when it lands on a machine of another kind.
#[test]
fn a_task_continues_its_part_and_puts_that_of_another_machine_aside() {
    let scratch = common::scratch();
    let dir = scratch.path().join("part-1");
    let task = || {
        let mut command = words(&format!("sweep --continue --shard 1/3 {PLAN} --budget 1h --quiet --out"));
        command.arg(&dir);
        command
    };
    ends(&mut task(), 0);
    let all = lines(&dir);
    let cut = |keep: usize| fs::write(dir.join("records.jsonl"), all[..keep].join("\n") + "\n").unwrap();
    let change = |change: fn(&mut serde_json::Value)| {
        let mut run = common::run_json(&dir);
        run.as_object_mut().unwrap().remove("ended");
        change(&mut run);
        fs::write(dir.join("run.json"), run.to_string()).unwrap();
    };
    cut(5);
    change(|_| ());
    ends(&mut task(), 0);
    assert_eq!(lines(&dir)[..5], all[..5]);
    assert_eq!(cells(&records(&dir)).len(), all.len());
    assert!(common::run_json(&dir).get("changes").is_none(), "a task that continues changes no limit");

    cut(5);
    change(|run| run["machine"]["cpu"] = serde_json::json!("abacus"));
    let (_, told) = ends(&mut task(), 0);
    assert!(told.contains("is of another machine"), "{told}");
    assert_eq!(lines(&scratch.path().join("part-1-other-1"))[..], all[..5]);
    assert_eq!(cells(&records(&dir)).len(), all.len());
}

/// A search of eight settings for each of five sets; where its parts are followed from, and their trainings brought to.
const SEARCH: &str = "experiment table1 --search --effort smoke --threads 1 \
                      --sets toy:moons,toy:rings,toy:sine,toy:smile,toy:mixture";

fn search(fake: &Fake, line: &str) -> Command {
    let mut command = fake.relgrad(&format!("{SEARCH} {line} --out"));
    command.arg(fake.out()).env_remove("RELGRAD_DATA");
    command
}

/// Names of the trainings in a folder of a search, and what was found but for seconds.
fn trainings(out: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(out.join("table1-search")) else { return BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a training is whole");
        let value: serde_json::Value = serde_json::from_str(&text).expect("a training is whole");
        (path.file_name().unwrap().to_string_lossy().into_owned(), value["model"]["validation"].to_string())
    };
    paths.map(read).collect()
}

/// The folder of the search's campaign.
fn campaign(fake: &Fake) -> Option<PathBuf> {
    let entries = fs::read_dir(fake.out().join("table1-search")).ok()?;
    entries.map(|entry| entry.unwrap().path()).find(|path| path.join("cluster.json").exists())
}

/// Whether the second part of the search has a training on a machine or here.
fn second_part_has_begun(fake: &Fake) -> bool {
    campaign(fake).is_some_and(|dir| !trainings(&dir.join("cluster/part-2")).is_empty())
}

#[test]
fn a_search_on_slurm_survives_its_tasks_and_its_submitter() {
    let fake = Fake::new();
    let line = "--on slurm --parts 3 --poll 50ms";
    let mut command = search(&fake, line);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("relgrad starts");
    wait_until("a training of the second part", || second_part_has_begun(&fake));
    kill(&fake.known("task-1-2"));
    child.kill().expect("SIGKILL is delivered");
    child.wait().expect("it is reaped");
    let dir = campaign(&fake).expect("a campaign");
    let (_, told) = ends(fake.relgrad("sweep --resume").arg(&dir), 2);
    assert!(told.contains("is of a search: continue it with the same command"), "{told}");
    let (_, told) = ends(&mut search(&fake, "--on hq"), 2);
    assert!(told.contains("repeat it with --on slurm --parts 3"), "{told}");
    let (_, told) = ends(&mut search(&fake, line), 0);
    assert!(told.contains("part 2 handed over again") && told.contains("/40 trainings: "), "{told}");
    assert_eq!(fake.jobs(), 2);

    let local = fake.out().with_file_name("local");
    ends(words(&format!("{SEARCH} --quiet --out")).arg(&local), 0);
    assert_eq!(trainings(&fake.out()), trainings(&local));
    assert_eq!(trainings(&local).len(), 40);
    let table = |out: &Path| {
        let text = fs::read_to_string(out.join("table1-search.json")).expect("the table is there");
        serde_json::from_str::<serde_json::Value>(&text).expect("it is whole")["table"].clone()
    };
    assert_eq!(table(&fake.out()), table(&local));
    // A repeated command submits and trains nothing.
    let (_, told) = ends(&mut search(&fake, line), 0);
    assert!(told.contains("already trained") && !told.contains(" of 8: "), "{told}");
    assert_eq!(fake.jobs(), 2);
}

#[test]
fn the_trainings_of_a_host_that_dies_are_not_lost() {
    let fake = Fake::new();
    let mut command = search(&fake, "--on ssh:a,b --parts 3 --poll 50ms");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relgrad starts");
    wait_until("a training of the second part here", || second_part_has_begun(&fake));
    let dir = campaign(&fake).expect("a campaign");
    let host = || {
        let text = fs::read_to_string(dir.join("cluster.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let (name, of_second) = (host()["name"].clone(), host()["hosts"]["2"].clone());
    let (name, of_second) = (name.as_str().expect("a name"), of_second.as_str().expect("a host"));
    fs::write(fake.known(&format!("{of_second}.dead")), "").unwrap();
    kill(&fake.known(of_second).join(".cache/relgrad").join(name).join(of_second).join("part-2.pid"));
    let output = child.wait_with_output().expect("relgrad ends");
    let told = common::stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("{of_second}: ssh: ")) && told.contains("goes to another host"), "{told}");
    assert_eq!(trainings(&fake.out()).len(), 40);
}
