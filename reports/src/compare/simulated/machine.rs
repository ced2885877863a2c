//! A machine that is virtual, shared, and now and then slower by half or a factor of two for seconds or minutes because
//! of its neighbours; and a gate on it.
//!
//! Samples are taken as `relgrad gate` does: in every round new processes, asked in turn A B … B A. The gate looks at
//! the rounds when `relgrad gate` does, and measures what is open again.

use relgrad_vocabulary::{Kernel, Method, Subject};

use super::super::trials::Plan;
use super::super::{Comparison, Rules, Sides};
use crate::fixture::power_law;
use crate::record::study::Study;
use crate::record::{Cell, Record};
use crate::statistics::random::Random;

/// Dimensions of a gate.
pub(super) const DIMS: [usize; 3] = [100, 300, 1000];
const TURNS: usize = 5;
const RELATIVE: Subject = Subject::Method(Method::Relative);
const ORDINARY: Subject = Subject::Method(Method::Ordinary);
const GEMM: Subject = Subject::Kernel(Kernel::Gemm);
const COPY: Subject = Subject::Kernel(Kernel::Copy);
const METHODS: [Subject; 4] = [RELATIVE, ORDINARY, GEMM, COPY];

/// How a machine changes its speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Luck {
    /// Whether neighbours come and go.
    pub(super) neighbours: bool,
    /// Of a process: where its memory lies. Standard deviation of the logarithm, as the next two.
    pub(super) process: f64,
    /// Of a sample.
    pub(super) sample: f64,
    /// Of a build at one cell, persistent: how its code is laid out.
    pub(super) build: f64,
    /// Share of processes that are slow, by a factor of 1.5.
    pub(super) slow: f64,
}

/// A machine with neighbours.
pub(super) const SHARED: Luck = Luck { neighbours: true, process: 0.015, sample: 0.02, build: 0.0, slow: 0.0 };
/// The usual noise; what a round does to all cells alike goes with the neighbours.
pub(super) const USUAL: Luck = Luck { neighbours: true, process: 0.03, sample: 0.01, build: 0.0, slow: 0.0 };

struct Neighbours {
    random: Random,
    now: f64,
    /// How strongly they are felt, 0 (alone) to 1.
    felt: f64,
    until: f64,
    luck: Luck,
}

/// How a kind of work feels the neighbours: its slowdown where they are felt most.
fn slowdown(subject: Subject) -> f64 {
    match subject {
        RELATIVE => 1.9,
        GEMM => 1.8,
        COPY => 2.2,
        _ => 1.75,
    }
}

impl Neighbours {
    /// One sample of work that takes `seconds` on a machine of its own.
    fn sample(&mut self, subject: Subject, seconds: f64) -> f64 {
        while self.now >= self.until {
            // Quiet or disturbed for 2 s to 100 s.
            self.until = self.now + 2.0 * 50_f64.powf(self.random.uniform());
            let felt = if self.random.uniform() < 0.5 { 0.0 } else { 0.5 + 0.5 * self.random.uniform() };
            self.felt = if self.luck.neighbours { felt } else { 0.0 };
        }
        let felt = 1.0 + (slowdown(subject) - 1.0) * self.felt;
        let noise = (self.luck.sample * self.random.normal()).exp();
        // A preemption, now and then.
        let spike = if self.random.uniform() < 0.03 { 1.0 + 3.0 * self.random.uniform() } else { 1.0 };
        let taken = seconds * felt * noise * spike;
        self.now += taken + 1e-3;
        taken
    }
}

/// What a gate measures: contenders, each with a factor on `relative` at D = 1,000.
pub(super) struct SimulatedGate {
    machine: Neighbours,
    factors: Vec<f64>,
    subjects: &'static [Subject],
    /// Logarithm of a contender's persistent factor at a cell, by contender, then by dimension and subject.
    builds: Vec<Vec<f64>>,
    pub(super) studies: Vec<Study>,
    template: Record,
}

impl SimulatedGate {
    /// A gate with calibration kernels or without.
    pub(super) fn new(seed: u64, luck: Luck, factors: &[f64], calibrated: bool) -> Self {
        let mut empty = power_law(&[100], (1e-8, 2.0), (1, 1), (0.0, 0.0), 1);
        let template = empty.records.remove(0);
        let subjects = &METHODS[..if calibrated { 4 } else { 2 }];
        empty.run.settings.methods = subjects.iter().filter_map(|subject| subject.method()).collect();
        let mut random = Random::new(seed);
        let mut build = |_| (0..DIMS.len() * subjects.len()).map(|_| luck.build * random.normal()).collect();
        let builds = factors.iter().map(&mut build).collect();
        let machine = Neighbours { random, now: 0.0, felt: 0.0, until: 0.0, luck };
        let studies = vec![empty; factors.len()];
        Self { machine, factors: factors.to_vec(), subjects, builds, studies, template }
    }

    fn round(&mut self, round: usize, dim: usize) {
        let d = dim as f64;
        let contenders = self.factors.len();
        let mut lanes: Vec<(usize, Subject, f64, Vec<f64>)> = Vec::new();
        for (index, &subject) in self.subjects.iter().enumerate() {
            let alone = match subject {
                RELATIVE => 2e-5 + 1e-8 * d * d,
                ORDINARY => 2e-5 + 7e-11 * d * d * d,
                GEMM => 1e-6 + 1.5e-9 * d * d,
                _ => 1e-6 + 1e-9 * d * d,
            };
            let place = DIMS.iter().position(|&at| at == dim).unwrap_or(0) * self.subjects.len() + index;
            for contender in (0..contenders).map(|c| (c + round) % contenders) {
                let planted = subject == RELATIVE && dim == 1000;
                let factor = if planted { self.factors[contender] } else { 1.0 };
                let Neighbours { random, luck, .. } = &mut self.machine;
                let log = self.builds[contender][place] + luck.process * random.normal();
                let slow = if luck.slow > 0.0 && random.uniform() < luck.slow { 1.5 } else { 1.0 };
                lanes.push((contender, subject, alone * factor * slow * log.exp(), Vec::new()));
            }
        }
        for _ in 0..TURNS {
            for lane in lanes.iter_mut() {
                lane.3.push(self.machine.sample(lane.1, lane.2));
            }
            for lane in lanes.iter_mut().rev() {
                lane.3.push(self.machine.sample(lane.1, lane.2));
            }
        }
        // Starting processes and checking gradients takes time too.
        self.machine.now += 0.3;
        for (contender, method, _, seconds) in lanes {
            let mut cell = Cell { method, round, ..self.template.cell };
            cell.point.dim = dim;
            self.studies[contender].records.push(Record { cell, seconds, ..self.template.clone() });
        }
    }

    /// Measures the rounds `from..to` at some dimensions.
    pub(super) fn measure(&mut self, from: usize, to: usize, dims: &[usize]) {
        for round in from..to {
            dims.iter().for_each(|&dim| self.round(round, dim));
        }
    }

    /// As `relgrad gate`: against the first contender, or against a baseline.
    pub(super) fn decide(&mut self, baseline: Option<&Study>, max_slowdown: f64) -> Comparison {
        let plan = Plan::default();
        let rules =
            Rules { max_slowdown, max_slowdown_elsewhere: max_slowdown, looks: plan.looks(), ..Rules::default() };
        let mut used = plan.first;
        self.measure(0, used, &DIMS);
        loop {
            let (base, new) = (baseline.unwrap_or(&self.studies[0]), &self.studies[self.studies.len() - 1]);
            let paired = baseline.is_none();
            let sides = Sides { base, new, paired, absolute: false, first_round: 0 };
            let comparison = Comparison::confirmed(&sides, &rules, plan.first);
            let open: Vec<usize> = comparison.open_points().iter().map(|point| point.dim).collect();
            let Some(next) = plan.next(used).filter(|_| !open.is_empty()) else { return comparison };
            self.measure(used, next, &open);
            used = next;
        }
    }
}
