//! HyperQueue: a task array, each task with all CPUs of a worker.
//!
//! Jobs are found by their name. HyperQueue itself starts the task of a lost worker again; a task that it gave up has
//! ended, and the records say how far it came.

use std::collections::BTreeMap;

use serde_json::Value;

use super::campaign::{Campaign, SCRIPT};
use super::tool::{PATIENCE, Tool};
use super::{Engine, Queue, Spot, ranges};
use crate::error::Result;

const HQ: Tool = Tool {
    program: "hq",
    remedy: "download it from github.com/It4innovations/hyperqueue/releases, and start a server and workers",
};

pub(super) struct HyperQueue;

impl Engine for HyperQueue {
    fn require(&self) -> Result<()> {
        HQ.require()
    }

    fn submit(&mut self, campaign: &Campaign, parts: &[usize]) -> Result<Option<String>, String> {
        let array = format!("--array={}", ranges(parts));
        let said = ask(campaign, &["submit", &array, SCRIPT])?;
        let number = said.get("id").and_then(Value::as_u64);
        number.map(|id| Some(id.to_string())).ok_or_else(|| format!("hq: no number of a job in its answer {said}"))
    }

    fn queue(&mut self, campaign: &mut Campaign) -> Result<Queue, String> {
        let jobs = named(&ask(campaign, &["job", "list", "--all"])?, &campaign.name);
        if jobs.is_empty() {
            return Ok(Queue::default());
        }
        Ok(Queue { parts: tasks(&ask(campaign, &["job", "info", &jobs.join(",")])?), jobs })
    }

    fn how_to_stop(&self, campaign: &Campaign) -> String {
        let known: Vec<&str> = campaign.jobs.iter().filter_map(|job| job.id.as_deref()).collect();
        format!("hq job cancel {}", known.join(","))
    }
}

fn ask(campaign: &Campaign, words: &[&str]) -> Result<Value, String> {
    let words = ["--output-mode=json"].iter().chain(words);
    let said = HQ.run(words, &campaign.tasks(), PATIENCE).map_err(|refusal| refusal.to_string())?;
    serde_json::from_str(&said).map_err(|cause| format!("hq: its answer is no JSON: {cause}"))
}

/// Numbers of the jobs of a name in what `job list` prints, ascending.
fn named(list: &Value, name: &str) -> Vec<String> {
    let jobs = list.as_array().into_iter().flatten().filter(|job| job["name"] == name);
    let mut numbers: Vec<u64> = jobs.filter_map(|job| job["id"].as_u64()).collect();
    numbers.sort_unstable();
    numbers.iter().map(u64::to_string).collect()
}

/// The tasks that wait or run in what `job info` prints.
fn tasks(jobs: &Value) -> BTreeMap<usize, Spot> {
    let tasks = jobs.as_array().into_iter().flatten().filter_map(|job| job["tasks"].as_array()).flatten();
    let mut found = BTreeMap::new();
    for task in tasks {
        let Some(part) = task["id"].as_u64().and_then(|part| usize::try_from(part).ok()) else { continue };
        match task["state"].as_str() {
            Some("running") => {
                let worker = task["worker"].as_u64().map_or("a worker".to_string(), |id| format!("worker-{id}"));
                found.insert(part, Spot::Running(worker));
            }
            Some("waiting") => {
                found.entry(part).or_insert(Spot::Waiting(String::new()));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `hq` prints it (`crates/hyperqueue/src/client/output/json.rs`), but for what is not read.
    const LIST: &str = r#"[
        {"id": 12, "name": "relgrad-1", "task_count": 1, "is_open": false, "cancel_reason": null,
         "task_stats": {"running": 0, "finished": 0, "failed": 0, "canceled": 0, "aborted": 0, "waiting": 1}},
        {"id": 3, "name": "echo", "task_count": 1},
        {"id": 9, "name": "relgrad-1", "task_count": 4}
    ]"#;
    const INFO: &str = r#"[
        {"info": {"id": 9, "name": "relgrad-1"}, "finished_at": null, "max_fails": null,
         "tasks": [
            {"id": 1, "state": "finished", "worker": 1, "started_at": "2026-11-30T00:00:00Z",
             "finished_at": "2026-11-30T00:01:00Z", "cwd": "/x", "stdout": null, "stderr": null},
            {"id": 2, "state": "running", "worker": 2, "started_at": "2026-11-30T00:00:00Z"},
            {"id": 3, "state": "failed", "error": "worker lost"},
            {"id": 4, "state": "waiting"}
         ]},
        {"info": {"id": 12, "name": "relgrad-1"}, "tasks": [{"id": 3, "state": "waiting"}]}
    ]"#;

    #[test]
    fn jobs_are_found_by_their_name() {
        let list: Value = serde_json::from_str(LIST).unwrap();
        assert_eq!(named(&list, "relgrad-1"), ["9", "12"]);
        assert!(named(&list, "relgrad-2").is_empty() && named(&Value::Null, "x").is_empty());
    }

    #[test]
    fn tasks_wait_or_run_on_a_worker_and_others_have_ended() {
        let found = tasks(&serde_json::from_str(INFO).unwrap());
        let waiting = || Spot::Waiting(String::new());
        let expected = [(2, Spot::Running("worker-2".to_string())), (3, waiting()), (4, waiting())];
        assert_eq!(found, BTreeMap::from(expected));
        assert!(tasks(&Value::Null).is_empty());
    }
}
