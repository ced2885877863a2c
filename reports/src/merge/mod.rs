//! Studies of several machines side by side.
//!
//! The machine is a factor: medians, intervals, speed-ups and exponents are of one machine each. What machines have in
//! common is an estimate of its own, with the variance between them ([`Common`]).

mod common;
mod page;
mod place;

use std::collections::{HashMap, HashSet};

use relgrad_vocabulary::DeviceKind;
use serde::Serialize;

pub use common::Common;
pub use page::page;
pub use place::{Side, SideBySide, exponents, speedups};

use crate::record::run::{Change, Machine, Run, Settings, Shard};
use crate::record::study::Study;
use crate::record::{Cell, Record};
use crate::statistics::summary::Summary;
use crate::units::{counted, grouped};

/// A study and where it was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The folder, as it was named.
    pub folder: String,
    /// What it holds.
    pub study: Study,
}

/// One study of one machine, out of one folder or of several.
#[derive(Debug, Clone)]
pub struct OnMachine {
    /// What tables and legends call it.
    pub name: String,
    /// The folders, in the order they were named.
    pub folders: Vec<String>,
    /// Their records.
    pub study: Study,
    /// Its numbers.
    pub summary: Summary,
    /// The parts of its plan that came.
    shards: Vec<Shard>,
    /// By how many rounds records of a folder were moved.
    moved: Vec<usize>,
}

/// Some studies, one a machine and plan.
#[derive(Debug, Clone)]
pub struct Merged {
    /// In the order of the first folder of each.
    pub machines: Vec<OnMachine>,
    /// What a reader must know of the folders, a sentence each.
    pub told: Vec<String>,
}

/// A machine as a record of a merged study has it.
#[derive(Debug, Clone, Serialize)]
pub struct MachineFacts<'a> {
    /// What tables call it.
    pub name: &'a str,
    /// Its folders.
    pub folders: &'a [String],
    /// The facts on which times depend, in one line.
    pub fingerprint: String,
    /// Records of its study.
    pub records: usize,
}

impl Merged {
    /// Puts studies together: those of one machine and one plan become one study, others stay apart.
    ///
    /// A machine is its CPU, instruction set, cores, caches, memory (to a hundredth), system and GPUs. A plan is the
    /// settings of a sweep but for its limits. A record that stands in two folders counts once; different records of
    /// one cell are independent processes, and become further rounds.
    pub fn of(sources: Vec<Source>) -> Self {
        let mut machines: Vec<OnMachine> = Vec::new();
        let mut told = Vec::new();
        for Source { folder, study } in sources {
            told.extend(study.warnings.iter().map(|warning| format!("{folder}: {warning}")));
            match machines.iter_mut().find(|known| is_same(&known.study.run, &study.run)) {
                Some(known) => told.extend(known.join(&folder, study)),
                None => machines.push(OnMachine {
                    name: String::new(),
                    folders: vec![folder],
                    summary: Summary::of(&study),
                    shards: study.run.settings.shard.into_iter().collect(),
                    moved: vec![0],
                    study,
                }),
            }
        }
        for machine in machines.iter_mut().filter(|machine| machine.folders.len() > 1) {
            machine.summary = Summary::of(&machine.study);
        }
        told.extend(machines.iter_mut().filter_map(OnMachine::make_whole));
        told.extend(apart(&machines));
        name(&mut machines);
        Self { machines, told }
    }

    /// The letter of a machine: A to Z, then numbers.
    pub fn letter(&self, i: usize) -> String {
        let letter = u8::try_from(i).ok().filter(|i| *i < 26);
        letter.map_or_else(|| (i + 1).to_string(), |i| char::from(b'A' + i).to_string())
    }

    /// The machines as a file has them.
    pub fn facts<'a>(&'a self) -> Vec<MachineFacts<'a>> {
        let of = |machine: &'a OnMachine| MachineFacts {
            name: &machine.name,
            folders: &machine.folders,
            fingerprint: machine.study.run.machine.fingerprint(),
            records: machine.study.records.len(),
        };
        self.machines.iter().map(of).collect()
    }
}

impl OnMachine {
    /// Adds the records of another folder, and says what is to be told of it.
    fn join(&mut self, folder: &str, other: Study) -> Vec<String> {
        let mut told = Vec::new();
        let first = self.folders[0].clone();
        let mine = self.study.records.len();
        let Study { run, records, replaced, .. } = other;
        let differs = builds(&self.study.run, &run);
        let known: HashMap<Cell, Record> =
            self.study.records.iter().map(|record| (record.cell, record.clone())).collect();
        let offset = self.study.run.settings.rounds;
        let (mut twice, mut further) = (HashSet::new(), HashSet::new());
        // The same record may stand at its own round, or at that of a folder whose records were moved.
        let is_known = |record: &Record| {
            let at = |by: &usize| known.get(&Cell { round: record.cell.round + by, ..record.cell });
            self.moved.iter().filter_map(at).any(|same| Record { cell: record.cell, ..same.clone() } == *record)
        };
        for mut record in records {
            match known.contains_key(&record.cell) {
                true if is_known(&record) => drop(twice.insert(record.cell)),
                true => {
                    further.insert(record.cell);
                    record.cell.round += offset;
                    self.study.records.push(record);
                }
                false => self.study.records.push(record),
            }
        }
        self.moved.extend((!further.is_empty()).then_some(offset));
        for mut record in replaced.into_iter().filter(|record| !twice.contains(&record.cell)) {
            record.cell.round += if further.contains(&record.cell) { offset } else { 0 };
            self.study.replaced.push(record);
        }
        let rounds = self.study.records.iter().map(|record| record.cell.round + 1);
        self.study.run.settings.rounds = rounds.fold(offset, usize::max);
        if !twice.is_empty() {
            told.push(format!("{} stand in {first} and in {folder}; they count once.", counted(twice.len(), "record")));
        }
        if !further.is_empty() {
            told.push(format!(
                "{} of {folder} were measured in {first} too; they are further rounds.",
                counted(further.len(), "cell")
            ));
        }
        if let Some(differs) = differs {
            told.push(format!("{folder} was measured by another build than {first} ({differs})."));
            self.study.run.changes.push(Change {
                at: run.started.clone(),
                command: run.command.clone(),
                records: mine,
                limits: Vec::new(),
                mixed: vec![differs],
            });
        }
        self.shards.extend(run.settings.shard);
        let new = run.rooflines.into_iter().filter(|roofline| !self.study.run.rooflines.contains(roofline));
        let new: Vec<_> = new.collect();
        self.study.run.rooflines.extend(new);
        self.folders.push(folder.to_string());
        told
    }

    /// Takes the mark of a part off, and names the parts that did not come.
    fn make_whole(&mut self) -> Option<String> {
        let settings = &mut self.study.run.settings;
        settings.shard.take()?;
        let of = self.shards.iter().map(|shard| shard.of).max()?;
        let is_there = |index: &usize| self.shards.contains(&Shard { index: *index, of });
        let missing: Vec<String> =
            (1..=of).filter(|index| !is_there(index)).map(|index| format!("{index}/{of}")).collect();
        let plan = settings.plan_name();
        let mixed = self.shards.iter().any(|shard| shard.of != of);
        if mixed {
            return Some(format!(
                "The plan {plan} came in parts of different numbers; some of its cells may be missing."
            ));
        }
        (!missing.is_empty()).then(|| format!("Of the plan {plan} these parts are missing: {}.", missing.join(", ")))
    }

    /// Whether nothing was measured on its CPU.
    fn is_gpu(&self) -> bool {
        !self.study.run.settings.devices.contains(&DeviceKind::Cpu)
    }

    /// What its times depend on besides the machine: `2 threads, f32`.
    fn conditions(&self) -> String {
        let settings = &self.study.run.settings;
        let arithmetic: Vec<&str> = settings.devices.iter().map(|device| settings.arithmetic(*device).name()).collect();
        let arithmetic = arithmetic.join(" and ");
        if self.is_gpu() { arithmetic } else { format!("{}, {arithmetic}", settings.threads_in_words()) }
    }
}

/// Whether two runs are of one machine and one plan.
fn is_same(a: &Run, b: &Run) -> bool {
    is_one_machine(&a.machine, &b.machine) && a.settings.plan() == b.settings.plan()
}

/// Whether seconds of two machines are of one: nodes of one kind are. Not by what changes from hour to hour, such as
/// free memory. Of memory a hundredth may differ, which the firmware of a node keeps.
fn is_one_machine(a: &Machine, b: &Machine) -> bool {
    let apart = a.memory_bytes.abs_diff(b.memory_bytes);
    let facts = |machine: &Machine| (machine.fingerprint(), machine.os.clone(), machine.gpus.clone());
    apart <= a.memory_bytes.max(b.memory_bytes) / 100 && facts(a) == facts(b)
}

/// How two builds differ, if they do.
fn builds(a: &Run, b: &Run) -> Option<String> {
    let revision = |run: &Run| match &run.git_revision {
        Some(revision) => relgrad_vocabulary::excerpt(revision, 12),
        None => "unknown".to_string(),
    };
    if a.version != b.version {
        Some(format!("relgrad {} and {}", a.version, b.version))
    } else if revision(a) != revision(b) {
        Some(format!("revisions {} and {}", revision(a), revision(b)))
    } else if a.program != b.program {
        Some("the same revision, another program file".to_string())
    } else {
        None
    }
}

/// Why studies of one machine stay apart, and where seeds or builds differ between machines.
fn apart(machines: &[OnMachine]) -> Vec<String> {
    let mut told = Vec::new();
    for (i, this) in machines.iter().enumerate() {
        let [mine, first] = [&this.study.run, &machines[0].study.run];
        if let Some(other) = machines[..i].iter().find(|other| is_one_machine(&other.study.run.machine, &mine.machine))
        {
            let what = difference(&other.study.run.settings, &mine.settings);
            let (a, b) = (&other.folders[0], &this.folders[0]);
            told.push(format!("{a} and {b} are of one machine and of different plans ({what}); they stay apart."));
        } else if i > 0
            && let Some(differs) = builds(first, mine)
        {
            told.push(format!("{} and {} have different builds: {differs}.", machines[0].folders[0], this.folders[0]));
        }
    }
    told
}

/// The first setting in which two plans differ, in words.
fn difference(a: &Settings, b: &Settings) -> String {
    let list = |dims: &[usize]| match dims {
        [] => "none".to_string(),
        [first, .., last] => format!("{} of {} to {}", dims.len(), grouped(*first), grouped(*last)),
        [only] => grouped(*only),
    };
    let words = [
        ("seed", a.seed.to_string(), b.seed.to_string()),
        ("D", list(&a.dims), list(&b.dims)),
        ("N", format!("{:?}", a.batches().collect::<Vec<_>>()), format!("{:?}", b.batches().collect::<Vec<_>>())),
        (
            "L",
            format!("{:?}", a.layer_counts().collect::<Vec<_>>()),
            format!("{:?}", b.layer_counts().collect::<Vec<_>>()),
        ),
        ("threads", a.threads_in_words(), b.threads_in_words()),
        (
            "ranks",
            format!("{:?}", a.rank_counts().collect::<Vec<_>>()),
            format!("{:?}", b.rank_counts().collect::<Vec<_>>()),
        ),
        ("number type", a.dtype.to_string(), b.dtype.to_string()),
        ("methods", methods(a), methods(b)),
    ];
    let found = words.into_iter().find(|(_, a, b)| a != b);
    found.map_or("other settings".to_string(), |(what, a, b)| format!("{what}: {a} and {b}"))
}

fn methods(settings: &Settings) -> String {
    settings.methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(" ")
}

/// Names machines by CPU or GPU, and where that is not enough by conditions and a number.
fn name(machines: &mut [OnMachine]) {
    let base = |machine: &OnMachine| {
        let facts = &machine.study.run.machine;
        let device = if machine.is_gpu() {
            facts.gpus.first().map(|gpu| short(gpu.split(',').next().unwrap_or(gpu)))
        } else {
            Some(format!("{} {}", short(&facts.cpu), facts.simd).trim().to_string())
        };
        let device = device.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown machine".to_string());
        format!("{device}, {}", machine.conditions())
    };
    let bases: Vec<String> = machines.iter().map(base).collect();
    for (i, machine) in machines.iter_mut().enumerate() {
        let alike = |range: &[String]| range.iter().filter(|other| **other == bases[i]).count();
        let serial = alike(&bases[..i]) + 1;
        machine.name = if alike(&bases) > 1 { format!("{} ({serial})", bases[i]) } else { bases[i].clone() };
    }
}

/// A processor's name without what tells nothing, cut to a legend's length.
pub(crate) fn short(name: &str) -> String {
    let dropped = ["(R)", "(TM)", "(tm)", "Processor", "CPU", "with Radeon Graphics"];
    let bare = dropped.iter().fold(name.to_string(), |text, word| text.replace(word, ""));
    let words: Vec<&str> = bare.split_whitespace().take_while(|word| *word != "@").collect();
    relgrad_vocabulary::excerpt(&words.join(" "), 40)
}

#[cfg(test)]
mod tests;
