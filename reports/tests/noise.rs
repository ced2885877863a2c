//! The decision of a gate on a simulated machine: virtual, shared, and now and then slower by half or a factor of two
//! for seconds or minutes because of its neighbours.
//!
//! The simulation takes samples as `relgrad gate` does: in every round new processes, asked in turn A B … B A; it looks
//! at the rounds when the gate does, and measures what is open again.

use relgrad_reports::compare::trials::Plan;
use relgrad_reports::compare::{Comparison, Outcome, Rules, Sides, Verdict};
use relgrad_reports::fixture::power_law;
use relgrad_reports::record::{Cell, Record};
use relgrad_reports::study::Study;
use relgrad_vocabulary::{Kernel, Method, Subject};

const DIMS: [usize; 3] = [100, 300, 1000];
const TURNS: usize = 5;
const RELATIVE: Subject = Subject::Method(Method::Relative);
const ORDINARY: Subject = Subject::Method(Method::Ordinary);
const GEMM: Subject = Subject::Kernel(Kernel::Gemm);
const COPY: Subject = Subject::Kernel(Kernel::Copy);

/// Seeded uniform and normal numbers (SplitMix64, Box and Muller).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A machine that changes its speed while time goes by.
struct Machine {
    random: Random,
    now: f64,
    /// How strongly the neighbours are felt, 0 (alone) to 1.
    disturbed: f64,
    until: f64,
}

/// How a kind of work feels the neighbours: its slowdown where they are felt most.
fn slowdown(method: Subject) -> f64 {
    match method {
        RELATIVE => 1.9,
        GEMM => 1.8,
        COPY => 2.2,
        _ => 1.75,
    }
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self { random: Random(seed), now: 0.0, disturbed: 0.0, until: 0.0 }
    }

    /// One sample of work that takes `seconds` on a machine of its own.
    fn sample(&mut self, method: Subject, seconds: f64) -> f64 {
        while self.now >= self.until {
            // Quiet or disturbed for 2 s to 100 s.
            self.until = self.now + 2.0 * 50_f64.powf(self.random.uniform());
            let felt = if self.random.uniform() < 0.5 { 0.0 } else { 0.5 + 0.5 * self.random.uniform() };
            self.disturbed = felt;
        }
        let felt = 1.0 + (slowdown(method) - 1.0) * self.disturbed;
        let noise = (0.02 * self.random.normal()).exp();
        // A preemption, now and then.
        let spike = if self.random.uniform() < 0.03 { 1.0 + 3.0 * self.random.uniform() } else { 1.0 };
        let taken = seconds * felt * noise * spike;
        self.now += taken + 1e-3;
        taken
    }
}

/// What a gate measures: contenders with a factor on `relative` at D = 1,000 each.
struct Gate {
    machine: Machine,
    factors: Vec<f64>,
    methods: Vec<Subject>,
    studies: Vec<Study>,
    template: Record,
}

impl Gate {
    fn new(seed: u64, factors: &[f64], methods: &[Subject]) -> Self {
        let mut empty = power_law(&[100], (1e-8, 2.0), (1, 1), (0.0, 0.0), 1);
        let template = empty.records.remove(0);
        empty.run.settings.methods = methods.iter().filter_map(|subject| subject.method()).collect();
        Self {
            machine: Machine::new(seed),
            factors: factors.to_vec(),
            methods: methods.to_vec(),
            studies: vec![empty; factors.len()],
            template,
        }
    }

    fn round(&mut self, round: usize, dim: usize) {
        let d = dim as f64;
        let contenders = self.factors.len();
        let mut lanes: Vec<(usize, Subject, f64, Vec<f64>)> = Vec::new();
        for &method in &self.methods {
            for place in 0..contenders {
                let contender = (place + round) % contenders;
                let alone = match method {
                    RELATIVE => 2e-5 + 1e-8 * d * d,
                    ORDINARY => 2e-5 + 7e-11 * d * d * d,
                    GEMM => 1e-6 + 1.5e-9 * d * d,
                    _ => 1e-6 + 1e-9 * d * d,
                };
                let planted = method == RELATIVE && dim == 1000;
                let factor = if planted { self.factors[contender] } else { 1.0 };
                // The luck of a process: where its memory lies.
                let luck = (0.015 * self.machine.random.normal()).exp();
                lanes.push((contender, method, alone * factor * luck, Vec::new()));
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

    fn measure(&mut self, from: usize, to: usize, dims: &[usize]) {
        for round in from..to {
            dims.iter().for_each(|&dim| self.round(round, dim));
        }
    }

    /// As `relgrad gate`: against the first contender, or against a baseline.
    fn decide(&mut self, baseline: Option<&Study>, max_slowdown: f64) -> Comparison {
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

const METHODS: [Subject; 2] = [RELATIVE, ORDINARY];
const CALIBRATED: [Subject; 4] = [RELATIVE, ORDINARY, GEMM, COPY];

fn worse(comparison: &Comparison, dim: usize) -> bool {
    let is_cell = |c: &&relgrad_reports::compare::CellComparison| c.method == Method::Relative && c.point.dim == dim;
    comparison
        .cells
        .iter()
        .filter(is_cell)
        .any(|c| c.quantities.iter().any(|q| q.judged && q.verdict == Verdict::Worse))
}

/// 300 gates of equal sides in turn: at most 1 % of the cells and 5 % of the gates are false alarms, and nearly all are
/// held.
#[test]
fn equal_sides_in_turn_are_held() {
    let (mut alarms, mut held) = (0, 0);
    for seed in 0..300 {
        let comparison = Gate::new(seed, &[1.0, 1.0], &METHODS).decide(None, 0.1);
        alarms += usize::from(comparison.outcome == Outcome::Regression);
        held += usize::from(comparison.outcome == Outcome::Held);
    }
    assert!(alarms <= 3 && held >= 294, "{alarms} alarms, {held} held of 300");
}

/// 200 gates with a slowdown of 10 % at one dimension, which is what is tolerated at most.
#[test]
fn a_slowdown_of_a_tenth_is_found_in_turn() {
    let mut found = 0;
    for seed in 1000..1200 {
        let comparison = Gate::new(seed, &[1.0, 1.1], &METHODS).decide(None, 0.1);
        found += usize::from(worse(&comparison, 1000) && comparison.outcome == Outcome::Regression);
    }
    assert!(found >= 194, "{found} of 200");
}

/// A baseline of another hour: the ratios of work that feels the neighbours differently move by several percent.
#[test]
fn a_baseline_of_another_hour_holds_equal_code_and_finds_a_slowdown_by_half() {
    let (mut alarms, mut held, mut found) = (0, 0, 0);
    for seed in 0..150 {
        let mut before = Gate::new(5000 + seed, &[1.0], &CALIBRATED);
        before.measure(0, 12, &DIMS);
        let baseline = &before.studies[0];
        let equal = Gate::new(6000 + seed, &[1.0], &CALIBRATED).decide(Some(baseline), 0.25);
        alarms += usize::from(equal.outcome == Outcome::Regression);
        held += usize::from(equal.outcome == Outcome::Held);
        let slower = Gate::new(7000 + seed, &[1.5], &CALIBRATED).decide(Some(baseline), 0.25);
        found += usize::from(worse(&slower, 1000));
    }
    assert!(alarms <= 1 && held >= 147 && found >= 147, "{alarms} alarms, {held} held, {found} found of 150");
}
