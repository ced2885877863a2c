//! Slurm: a job array of one task a part, each alone on a node.
//!
//! `squeue` tells which tasks there still are, by the name of the job. What it does not list has ended, and the records
//! say how. The accounts of Slurm (`sacct`) are not asked: a cluster may have none, and they come late.

use std::ffi::OsString;

use super::campaign::{Campaign, SCRIPT};
use super::tool::{PATIENCE, Tool};
use super::{Engine, Queue, Spot, ranges};
use crate::console;
use crate::error::Result;

const REMEDY: &str = "start this on a login node of a Slurm cluster, or install its commands (Debian: slurm-client)";
const SBATCH: Tool = Tool { program: "sbatch", remedy: REMEDY };
const SQUEUE: Tool = Tool { program: "squeue", remedy: REMEDY };

pub(super) struct Slurm;

impl Engine for Slurm {
    fn require(&self) -> Result<()> {
        SBATCH.require()?;
        SQUEUE.require()
    }

    fn submit(&mut self, campaign: &Campaign, parts: &[usize]) -> Result<Option<String>, String> {
        let tasks = campaign.tasks();
        let mut folder = OsString::from("--chdir=");
        folder.push(&tasks);
        let array = OsString::from(format!("--array={}", ranges(parts)));
        let arguments = [OsString::from("--parsable"), folder, array, OsString::from(SCRIPT)];
        let said = SBATCH.run(arguments, &tasks, PATIENCE).map_err(|refusal| refusal.to_string())?;
        let number = number(&said);
        number.map(Some).ok_or_else(|| format!("sbatch: no number of a job in `{}`", console::quoted(said.trim())))
    }

    fn queue(&mut self, campaign: &mut Campaign) -> Result<Queue, String> {
        let name = format!("--name={}", campaign.name);
        let arguments = ["--noheader", "--array", "--format=%F|%K|%T|%N|%r", &name];
        let said = SQUEUE.run(arguments, &campaign.tasks(), PATIENCE).map_err(|refusal| refusal.to_string())?;
        Ok(listed(&said))
    }

    fn how_to_stop(&self, campaign: &Campaign) -> String {
        format!("scancel --name={}", campaign.name)
    }
}

/// The number of the job in what `sbatch --parsable` prints: `123`, or `123;cluster`.
fn number(said: &str) -> Option<String> {
    let number = said.lines().last()?.split(';').next()?.trim();
    let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    is_number.then(|| number.to_string())
}

/// The tasks that `squeue` lists, a line each: job, place in the array, state, nodes, reason.
fn listed(said: &str) -> Queue {
    let mut queue = Queue::default();
    for line in said.lines() {
        let fields: Vec<&str> = line.trim().split('|').collect();
        let [job, part, state, nodes, reason] = fields[..] else { continue };
        let Ok(part) = part.parse() else { continue };
        let spot = match (state, nodes) {
            ("PENDING", _) | (_, "") => Spot::Waiting(reason.to_string()),
            (_, nodes) => Spot::Running(nodes.to_string()),
        };
        // A part that was handed over twice runs where it runs.
        if !matches!(queue.parts.get(&part), Some(Spot::Running(_))) {
            queue.parts.insert(part, spot);
        }
        if !queue.jobs.iter().any(|known| known == job) {
            queue.jobs.push(job.to_string());
        }
    }
    queue.jobs.sort_by_key(|job| (job.len(), job.clone()));
    queue
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_number_of_a_job_is_what_sbatch_prints() {
        assert_eq!(number("17\n"), Some("17".to_string()));
        assert_eq!(number("17;cluster\n"), Some("17".to_string()));
        assert_eq!(number("sbatch: warning\n17\n"), Some("17".to_string()));
        assert_eq!((number(""), number("Submitted batch job\n")), (None, None));
    }

    /// As Slurm 22.05 prints it, with a second job for a part that was lost, and a job that is no array.
    #[test]
    fn tasks_wait_for_a_reason_or_run_on_a_node() {
        let said = "9|4|PENDING||Resources\n9|3|RUNNING|n3|None\n10|1|PENDING||Priority\n9|2|COMPLETING|n2|None\n\
                    9|1|RUNNING|n1|None\n12|N/A|RUNNING|n1|None\n\n";
        let running = |node: &str| Spot::Running(node.to_string());
        let parts = [(1, running("n1")), (2, running("n2")), (3, running("n3"))];
        let mut parts = BTreeMap::from(parts);
        parts.insert(4, Spot::Waiting("Resources".to_string()));
        assert_eq!(listed(said), Queue { parts, jobs: vec!["9".to_string(), "10".to_string()] });
        assert_eq!(listed(""), Queue::default());
    }
}
