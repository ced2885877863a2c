//! Engines for tests: shell scripts that run tasks in the background of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::{relgrad, run_json, scratch};

/// What the scripts share: `$FAKE` has a file a job with its name, and a file a task with its process.
const SHARED: &str = r#"#!/bin/sh
numbers() {
    echo "$1" | tr , '\n' | while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done
}
is_alive() {
    [ -d "/proc/$1" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}
# start FOLDER SCRIPT NAME PARTS VARIABLE: prints the number of the job
start() {
    job=$(($(ls "$FAKE" | grep -c '^job-') + 1))
    echo "$3" >"$FAKE/job-$job"
    for part in $(numbers "$4"); do
        (cd "$1" && export "$5=$part" && exec sh "$2") </dev/null >/dev/null 2>&1 &
        echo $! >"$FAKE/task-$job-$part"
    done
    echo "$job"
}
# Prints job, part and process of every task that is alive.
tasks() {
    for file in "$FAKE"/task-*; do
        [ -s "$file" ] || continue
        task=${file##*/task-}
        if is_alive "$(cat "$file")"; then echo "${task%-*} ${task#*-} $(cat "$file")"; fi
    done
}
"#;

const SBATCH: &str = r#"
for word; do
    case $word in
        --chdir=*) folder=${word#--chdir=} ;;
        --array=*) parts=${word#--array=} ;;
    esac
    script=$word
done
start "$folder" "$script" "$(sed -n 's/^#SBATCH --job-name=//p' "$folder/$script")" "$parts" SLURM_ARRAY_TASK_ID
"#;

const SQUEUE: &str = r#"
if [ -e "$FAKE/deaf" ]; then
    echo "squeue: error: Unable to contact slurm controller" >&2
    exit 1
fi
tasks | while read -r job part process; do echo "$job|$part|RUNNING|node-$part|None"; done
"#;

const HQ: &str = r#"
shift
case "$1 $2" in
    submit*)
        name=$(sed -n 's/^#HQ --name=//p' "$3")
        echo "{\"id\": $(start "$PWD" "$3" "$name" "${2#--array=}" HQ_TASK_ID)}"
        ;;
    "job list")
        list=$(cd "$FAKE" && for job in job-*; do echo "{\"id\": ${job#job-}, \"name\": \"$(cat "$job")\"},"; done)
        echo "[${list%,}]"
        ;;
    "job info")
        list=$(tasks | while read -r job part process; do
            echo "{\"info\": {\"id\": $job}, \"tasks\": [{\"id\": $part, \"state\": \"running\", \"worker\": 1}]},"
        done)
        echo "[${list%,}]"
        ;;
esac
"#;

const SSH: &str = r#"
while [ "$1" = -o ]; do shift 2; done
host=$1
shift
if [ -e "$FAKE/$host.dead" ]; then
    echo "ssh: connect to host $host port 22: Connection refused" >&2
    exit 255
fi
mkdir -p "$FAKE/$host"
cd "$FAKE/$host" || exit 255
HOME=$PWD exec sh -c "$*"
"#;

const SCP: &str = r#"
while [ "$1" = -q ] || [ "$1" = -r ] || [ "$1" = -o ]; do
    if [ "$1" = -o ]; then shift; fi
    shift
done
place() {
    case $1 in
        /*) echo "$1" ;;
        *) echo "$FAKE/${1%%:*}/${1#*:}" ;;
    esac
}
for word; do
    if [ -e "$FAKE/${word%%:*}.dead" ]; then exit 255; fi
    last=$word
done
while [ $# -gt 1 ]; do
    cp -r "$(place "$1")" "$(place "$last")" || exit 1
    shift
done
"#;

/// A folder with the engines and what they know.
pub(crate) struct Fake {
    scratch: tempfile::TempDir,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let scratch = scratch();
        let bin = scratch.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(scratch.path().join("fake")).unwrap();
        for (name, text) in [("sbatch", SBATCH), ("squeue", SQUEUE), ("hq", HQ), ("ssh", SSH), ("scp", SCP)] {
            fs::write(bin.join(name), format!("{SHARED}{text}")).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { scratch }
    }

    /// The folder of the study.
    pub(crate) fn out(&self) -> PathBuf {
        self.scratch.path().join("out")
    }

    /// What the engines know.
    pub(crate) fn known(&self, name: &str) -> PathBuf {
        self.scratch.path().join("fake").join(name)
    }

    /// relgrad with these engines on its PATH.
    pub(crate) fn relgrad(&self, line: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let bin = self.scratch.path().join("bin");
        let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap();
        let mut command = relgrad();
        command.args(line.split_whitespace()).env("PATH", path).env("FAKE", self.known("."));
        command
    }

    pub(crate) fn resume(&self) -> Command {
        let mut command = self.relgrad("sweep --poll 50ms --resume");
        command.arg(self.out());
        command
    }

    /// The jobs that were handed over.
    pub(crate) fn jobs(&self) -> usize {
        let names = fs::read_dir(self.known(".")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("job-")).count()
    }

    /// The records of a part so far.
    pub(crate) fn part(&self, part: usize) -> PathBuf {
        self.out().join(format!("cluster/part-{part}"))
    }

    pub(crate) fn cluster_json(&self) -> Value {
        let text = fs::read_to_string(self.out().join("cluster.json")).expect("cluster.json is there from the start");
        serde_json::from_str(&text).expect("cluster.json is whole")
    }
}

/// Kills the process whose number is in a file.
pub(crate) fn kill(file: &Path) {
    let process = fs::read_to_string(file).expect("the number of a process");
    let killed = Command::new("kill").args(["-KILL", process.trim()]).status().expect("kill starts");
    assert!(killed.success(), "{} had ended", file.display());
}

/// Checks the end of a sweep on a cluster: the study has no trace of its parts, and the report is there.
#[track_caller]
pub(crate) fn assert_whole(fake: &Fake) {
    let run = run_json(&fake.out());
    assert!(run["settings"].get("shard").is_none() && run["ended"].is_string(), "{run}");
    assert!(run["command"].to_string().contains("--on"), "{run}");
    for file in ["report.html", "report.md", "summary.json", "figures/fig3.svg", "cluster/task.sh"] {
        assert!(fake.out().join(file).is_file(), "{file} is missing");
    }
    assert!(!fake.out().join("cluster/relgrad").exists());
    assert!(fake.cluster_json()["ended"].is_string());
}
