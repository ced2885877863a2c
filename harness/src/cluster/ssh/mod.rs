//! ssh: one part at a time on each host, in a folder of the host's own.
//!
//! A task outlives the connection that started it. Each look asks every host once which tasks it has, and brings the
//! records of its part here where they have grown, so that another host can go on with the part when this one dies.

mod host;

use std::collections::{BTreeMap, VecDeque};

use self::host::Host;
use super::campaign::Campaign;
use super::tool::Tool;
use super::{Engine, Queue, Spot};
use crate::error::{Error, Result};

const REMEDY: &str = "install OpenSSH's client (Debian: openssh-client)";
const SSH: Tool = Tool { program: "ssh", remedy: REMEDY };
const SCP: Tool = Tool { program: "scp", remedy: REMEDY };

pub(super) struct Ssh {
    hosts: Vec<Host>,
    /// Parts that no host has yet.
    waiting: VecDeque<usize>,
}

impl Ssh {
    pub(super) fn new(hosts: &[String]) -> Self {
        Self { hosts: hosts.iter().map(|name| Host::new(name)).collect(), waiting: VecDeque::new() }
    }
}

impl Engine for Ssh {
    fn require(&self) -> Result<()> {
        SSH.require()?;
        SCP.require()
    }

    /// Copies script and program to every host. At the start all must be fit, later one.
    fn prepare(&mut self, campaign: &Campaign) -> Result<()> {
        let mut unfit = Vec::new();
        for host in &mut self.hosts {
            unfit.extend(host.prepare(campaign).err());
        }
        if unfit.is_empty() {
            return Ok(());
        }
        if campaign.jobs.is_empty() || unfit.len() == self.hosts.len() {
            return Err(Error::NoDevice(unfit.join("; ")));
        }
        unfit.iter().for_each(|cause| note!("relgrad: {cause}; its part goes to another host"));
        Ok(())
    }

    fn submit(&mut self, _campaign: &Campaign, parts: &[usize]) -> Result<Option<String>, String> {
        self.waiting.extend(parts);
        Ok(None)
    }

    fn queue(&mut self, campaign: &mut Campaign) -> Result<Queue, String> {
        let mut parts = BTreeMap::new();
        for host in &mut self.hosts {
            parts.extend(host.visit(campaign).map(|part| (part, Spot::Running(host.name.clone()))));
        }
        self.waiting.retain(|part| !parts.contains_key(part));
        for host in &mut self.hosts {
            let Some(&part) = self.waiting.front().filter(|_| host.is_free()) else { continue };
            if host.start(campaign, part) {
                self.waiting.pop_front();
                parts.insert(part, Spot::Running(host.name.clone()));
            }
        }
        parts.extend(self.waiting.iter().map(|part| (*part, Spot::Waiting("no free host".to_string()))));
        Ok(Queue { parts, jobs: Vec::new() })
    }

    fn clean_up(&mut self, campaign: &Campaign) {
        self.hosts.iter().for_each(|host| host.clean_up(campaign));
    }

    fn how_to_stop(&self, campaign: &Campaign) -> String {
        format!("ssh HOST sh {}/host.sh stop, for each HOST", host::home(campaign, "HOST"))
    }
}
