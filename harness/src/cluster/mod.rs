//! A sweep or a search in parts on other machines: an engine runs the tasks, this program submits them, follows them
//! and brings their records together.
//!
//! The engine decides where and when a part runs. Whether a part is complete is read from its records alone.

pub(crate) mod campaign;
mod finding;
pub(crate) mod follow;
mod hyperqueue;
mod script;
mod slurm;
mod ssh;
mod tool;
pub(crate) mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use relgrad_reports::units;

use self::campaign::Campaign;
use self::follow::Follower;
use self::hyperqueue::HyperQueue;
use self::slurm::Slurm;
use self::ssh::Ssh;
use crate::cmd::distinct;
use crate::console;
use crate::error::Result;
use crate::measure::run::Ending;
use crate::measure::run::interrupt::Events;
use crate::quantity::TimeLimit;

/// Seconds between two looks where the user does not say how many.
const POLL: Duration = Duration::from_secs(15);

/// Where the parts run: `slurm`, `slurm:PARTITION`, `hq` or `ssh:HOST,HOST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cluster {
    Slurm { partition: Option<String> },
    HyperQueue,
    Ssh { hosts: Vec<String> },
}

impl Cluster {
    /// Tasks where the user does not say how many.
    const PARTS: usize = 4;

    pub(crate) fn default_parts(&self) -> usize {
        match self {
            Self::Slurm { .. } | Self::HyperQueue => Self::PARTS,
            Self::Ssh { hosts } => hosts.len(),
        }
    }

    pub(crate) fn engine(&self) -> Box<dyn Engine> {
        match self {
            Self::Slurm { .. } => Box::new(Slurm),
            Self::HyperQueue => Box::new(HyperQueue),
            Self::Ssh { hosts } => Box::new(Ssh::new(hosts)),
        }
    }
}

impl FromStr for Cluster {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = console::quoted(text);
        let (engine, rest) = text.split_once(':').map_or((text, None), |(engine, rest)| (engine, Some(rest)));
        match (engine, rest) {
            ("slurm", None) => Ok(Self::Slurm { partition: None }),
            ("slurm", Some(name)) if is_name(name) => Ok(Self::Slurm { partition: Some(name.to_string()) }),
            ("hq", None) => Ok(Self::HyperQueue),
            ("ssh", Some(list)) if list.split(',').all(is_name) => {
                Ok(Self::Ssh { hosts: distinct(list.split(',').map(str::to_string)) })
            }
            _ => Err(format!("`{shown}` is no cluster; write slurm, slurm:PARTITION, hq or ssh:HOST,HOST")),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slurm { partition: None } => f.write_str("slurm"),
            Self::Slurm { partition: Some(name) } => write!(f, "slurm:{name}"),
            Self::HyperQueue => f.write_str("hq"),
            Self::Ssh { hosts } => write!(f, "ssh:{}", hosts.join(",")),
        }
    }
}

/// Whether a text is the name of a host, a partition or a job: no flag, and nothing that a shell or a file system would
/// take for more than a name.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() < 256 && text.chars().all(is_plain)
}

/// Hands the parts of a campaign over, as far as they were not, and follows them to their end, or to a signal, which
/// leaves the tasks running.
///
/// # Errors
/// Machines that are not fit; as [`Follower::follow`].
pub(crate) fn pursue(
    campaign: &mut Campaign,
    engine: &mut dyn Engine,
    events: &mut Events,
    (poll, quiet): (Option<TimeLimit>, bool),
) -> Result<Ending> {
    campaign.set_up()?;
    engine.prepare(campaign)?;
    if !quiet {
        note!(
            "{} in {} on {}; script: {}/task.sh\n\
             results: {}; Ctrl-C leaves the tasks running; {} follows them again",
            units::counted(campaign.cells, campaign.work.unit()),
            units::counted(campaign.parts, "part"),
            campaign.engine,
            campaign.tasks().display(),
            campaign.dir.display(),
            campaign.command_again()
        );
    }
    let seconds = poll.and_then(|TimeLimit(seconds)| seconds);
    let poll = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(POLL);
    let ending = Follower::new(campaign, engine, events, poll, quiet).follow()?;
    if ending == Ending::Interrupted {
        note!(
            "relgrad: interrupted; the tasks go on; follow them with: {}; end them with: {}",
            campaign.command_again(),
            engine.how_to_stop(campaign)
        );
    }
    Ok(ending)
}

/// What runs tasks on other machines. An answer that did not come is an `Err` with the reason in a line; it says
/// nothing of the tasks.
pub(crate) trait Engine {
    /// Fails with how to get it where the engine is missing.
    fn require(&self) -> Result<()>;

    /// Gets the machines ready for the tasks, where the engine does not do that itself.
    fn prepare(&mut self, _campaign: &Campaign) -> Result<()> {
        Ok(())
    }

    /// Hands some parts over as one job, and returns its number where the engine has numbers.
    fn submit(&mut self, campaign: &Campaign, parts: &[usize]) -> Result<Option<String>, String>;

    /// The parts that the engine still has. A part that is not among them has ended, well or not, or was never handed
    /// over.
    fn queue(&mut self, campaign: &mut Campaign) -> Result<Queue, String>;

    /// Takes away what it left on other machines.
    fn clean_up(&mut self, _campaign: &Campaign) {}

    /// A command that ends the tasks.
    fn how_to_stop(&self, campaign: &Campaign) -> String;
}

/// The parts that an engine still has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Queue {
    pub(crate) parts: BTreeMap<usize, Spot>,
    /// Numbers of their jobs, the newest last.
    pub(crate) jobs: Vec<String>,
}

/// Where a part is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Spot {
    /// With the engine's reason, or none.
    Waiting(String),
    /// On a machine of this name.
    Running(String),
}

/// Numbers of parts as engines take them: `1-3,7`.
fn ranges(parts: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &part in parts {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == part => *last = part,
            _ => ranges.push((part, part)),
        }
    }
    let show = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_reads_as_it_is_shown() {
        for text in ["slurm", "slurm:debug", "hq", "ssh:a", "ssh:me@a.example,b-2"] {
            assert_eq!(text.parse::<Cluster>().map(|cluster| cluster.to_string()), Ok(text.to_string()));
        }
        assert_eq!("ssh:a,b,a".parse(), Ok(Cluster::Ssh { hosts: vec!["a".to_string(), "b".to_string()] }));
        for text in ["", "pbs", "slurm:", "hq:x", "ssh", "ssh:", "ssh:a,,b", "ssh:-oProxyCommand=x", "slurm:a b"] {
            let told = text.parse::<Cluster>().unwrap_err();
            assert!(told.contains(&format!("`{text}`")) && told.contains("ssh:HOST,HOST"), "{told}");
        }
    }

    #[test]
    fn parts_are_written_as_ranges() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[1, 2, 3, 5, 7, 8]), "1-3,5,7-8");
    }
}
