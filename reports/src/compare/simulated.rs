//! Decisions on simulated measurements with a known answer: how often is a comparison or a gate right?
//!
//! A sweep has log-normal noise on three levels, as in the designs of the selftest: 5 % a round, 3 % a process, 1 % a
//! sample. Another hour is a factor on all cells and a smaller one on each. `machine` simulates gates.

mod machine;

use relgrad_vocabulary::Method;

use self::machine::{DIMS as GATE_DIMS, Luck, SHARED, SimulatedGate, USUAL};
use super::{Comparison, Outcome, Rules, Shift, Sides};
use crate::fixture::{Noise, Planted, planted};
use crate::record::study::Study;
use crate::statistics::random::Random;
use crate::table::Table;
use crate::units;

/// What is tried: a decision that a seed repeats, and what is claimed of many.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// What is planted.
    pub name: &'static str,
    decide: fn(u64) -> Comparison,
    claims: &'static [Claim],
}

/// What should happen in at least, or at most, a share of the decisions.
#[derive(Debug, Clone, Copy)]
struct Claim {
    what: &'static str,
    happens: fn(&Comparison) -> bool,
    required: Required,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Required {
    AtLeast(f64),
    AtMost(f64),
    /// Shown only: what is known to fail.
    Nothing,
}

/// How often something happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// What was planted.
    pub planted: &'static str,
    /// What was counted.
    pub what: &'static str,
    /// How often it happened.
    pub count: usize,
    /// Of so many decisions.
    pub trials: usize,
    /// What is required of the share, in words.
    pub required: String,
    /// Whether it is met, but for two standard deviations of the share of so many decisions.
    pub passed: bool,
}

impl Tried {
    /// Decides with the seeds from 0 on, and counts.
    pub fn count(&self, trials: usize) -> Vec<Happened> {
        let mut counts = vec![0; self.claims.len()];
        for seed in 0..trials as u64 {
            let comparison = (self.decide)(seed);
            for (count, claim) in counts.iter_mut().zip(self.claims) {
                *count += usize::from((claim.happens)(&comparison));
            }
        }
        let happened = |(count, claim): (usize, &Claim)| {
            let share = count as f64 / trials.max(1) as f64;
            let slack = |share: f64| 2.0 * (share * (1.0 - share) / trials.max(1) as f64).sqrt();
            let (required, passed) = match claim.required {
                Required::AtLeast(least) => (format!("≥ {}", units::percent(least)), share >= least - slack(least)),
                Required::AtMost(most) => (format!("≤ {}", units::percent(most)), share <= most + slack(most)),
                Required::Nothing => (units::NONE.into(), true),
            };
            Happened { planted: self.name, what: claim.what, count, trials, required, passed }
        };
        counts.into_iter().zip(self.claims).map(happened).collect()
    }
}

/// The table that people read.
pub fn table(happened: &[Happened]) -> String {
    let row = |h: &Happened| {
        let share = units::percent(h.count as f64 / h.trials.max(1) as f64);
        let verdict = if h.passed { "" } else { "missed" };
        vec![
            h.planted.into(),
            h.what.into(),
            format!("{} of {}", h.count, h.trials),
            share,
            h.required.clone(),
            verdict.into(),
        ]
    };
    Table::new("planted | counted | >decisions | >share | >required | ", happened.iter().map(row)).text()
}

const HELD: Claim = Claim { what: "held", happens: held, required: Required::AtLeast(0.8) };
const FALSE_ALARMS: Claim = Claim { what: "regression", happens: regression, required: Required::AtMost(0.02) };
const FOUND: Claim = Claim { what: "regression", happens: regression, required: Required::AtLeast(0.9) };
const OPEN: Claim = Claim { what: "inconclusive", happens: inconclusive, required: Required::AtMost(0.2) };
const NO_FACTOR: Claim = Claim { what: "named a factor", happens: named_factor, required: Required::AtMost(0.05) };
const MISSED: Claim = Claim { what: "held", happens: held, required: Required::AtMost(0.05) };

const fn shown(claim: Claim) -> Claim {
    Claim { required: Required::Nothing, ..claim }
}

/// Comparisons of two sweeps, 3 rounds each where no other number is said.
pub const SWEEPS: &[Tried] = &[
    Tried {
        name: "equal sides, 2 methods, 5 D",
        decide: |seed| compare(&SMALL, seed, 3, SAME_HOUR, |_, _| 1.0),
        claims: &[HELD, FALSE_ALARMS],
    },
    Tried {
        name: "equal sides, 3 methods, 8 D",
        decide: |seed| compare(&LARGE, seed, 3, SAME_HOUR, |_, _| 1.0),
        claims: &[shown(HELD), FALSE_ALARMS],
    },
    Tried {
        name: "equal sides, 4 rounds, 3 methods, 8 D",
        decide: |seed| compare(&LARGE, seed, 4, SAME_HOUR, |_, _| 1.0),
        claims: &[HELD, FALSE_ALARMS],
    },
    Tried {
        name: "relative slower by 20 %, 2 methods, 5 D",
        decide: |seed| compare(&SMALL, seed, 3, SAME_HOUR, |method, _| of_relative(method, 1.2)),
        claims: &[FOUND, MISSED],
    },
    Tried {
        name: "relative slower by 20 %, 3 methods, 8 D",
        decide: |seed| compare(&LARGE, seed, 3, SAME_HOUR, |method, _| of_relative(method, 1.2)),
        claims: &[FOUND, MISSED],
    },
    Tried {
        name: "relative slower by 10 %, 2 methods, 5 D",
        decide: |seed| compare(&SMALL, seed, 3, SAME_HOUR, |method, _| of_relative(method, 1.1)),
        claims: &[MISSED],
    },
    Tried {
        name: "relative slower by 20 % at D = 500 alone",
        decide: |seed| compare(&SMALL, seed, 3, SAME_HOUR, |method, dim| at_one(method, dim, 1.2)),
        claims: &[shown(FOUND), NO_FACTOR],
    },
    Tried {
        name: "relative slower by 10 % at D = 500 alone",
        decide: |seed| compare(&SMALL, seed, 3, SAME_HOUR, |method, dim| at_one(method, dim, 1.1)),
        claims: &[shown(MISSED)],
    },
    Tried {
        name: "another hour, 2 methods, 5 D",
        decide: |seed| compare(&SMALL, seed, 3, OTHER_HOUR, |_, _| 1.0),
        claims: &[FALSE_ALARMS, shown(HELD)],
    },
    Tried {
        name: "another hour, 3 methods, 8 D",
        decide: |seed| compare(&LARGE, seed, 3, OTHER_HOUR, |_, _| 1.0),
        claims: &[FALSE_ALARMS, shown(HELD)],
    },
    Tried {
        name: "another hour, 10 rounds, 3 methods, 8 D",
        decide: |seed| compare(&LARGE, seed, 10, OTHER_HOUR, |_, _| 1.0),
        claims: &[FALSE_ALARMS, shown(HELD)],
    },
    Tried {
        name: "another hour, relative slower by 20 %",
        decide: |seed| compare(&LARGE, seed, 3, OTHER_HOUR, |method, _| of_relative(method, 1.2)),
        claims: &[shown(FOUND), shown(MISSED)],
    },
    Tried {
        name: "everything slower by 20 %",
        decide: |seed| compare(&SMALL, seed, 3, SAME_HOUR, |_, _| 1.2),
        claims: &[FALSE_ALARMS, MISSED],
    },
    Tried {
        name: "ordinary faster by 20 %",
        decide: |seed| {
            compare(&SMALL, seed, 3, SAME_HOUR, |method, _| if method == Method::Ordinary { 0.8 } else { 1.0 })
        },
        claims: &[shown(FALSE_ALARMS), shown(HELD)],
    },
    Tried {
        name: "a folder against itself",
        decide: itself,
        claims: &[Claim { required: Required::AtLeast(1.0), ..HELD }],
    },
];

/// Gates with the default plan: two methods, three D.
pub const GATES: &[Tried] = &[
    Tried {
        name: "gate: equal sides, shared machine",
        decide: |seed| gate(seed, SHARED, 1.0),
        claims: &[
            Claim { required: Required::AtMost(0.01), ..FALSE_ALARMS },
            Claim { required: Required::AtLeast(0.98), ..HELD },
        ],
    },
    Tried {
        name: "gate: equal sides, usual noise",
        decide: |seed| gate(seed, USUAL, 1.0),
        claims: &[
            Claim { required: Required::AtMost(0.01), ..FALSE_ALARMS },
            Claim { required: Required::AtLeast(0.95), ..HELD },
        ],
    },
    Tried {
        name: "gate: relative slower by 10 % at D = 1,000, shared machine",
        decide: |seed| gate(seed, SHARED, 1.1),
        claims: &[Claim { required: Required::AtLeast(0.97), ..FOUND }],
    },
    Tried {
        name: "gate: relative slower by 10 % at D = 1,000, usual noise",
        decide: |seed| gate(seed, USUAL, 1.1),
        claims: &[Claim { required: Required::AtLeast(0.97), ..FOUND }],
    },
    Tried {
        name: "gate: one slow process in five",
        decide: |seed| gate(seed, Luck { slow: 0.2, ..USUAL }, 1.0),
        claims: &[OPEN, FALSE_ALARMS],
    },
    Tried {
        name: "gate: one slow process in five, relative slower by 10 %",
        decide: |seed| gate(seed, Luck { slow: 0.2, ..USUAL }, 1.1),
        claims: &[OPEN, shown(FOUND)],
    },
    Tried {
        name: "gate: persistent luck of a build, 4 %",
        decide: |seed| gate(seed, Luck { build: 0.04, ..USUAL }, 1.0),
        claims: &[shown(FALSE_ALARMS), shown(OPEN)],
    },
    Tried {
        name: "gate: baseline of another hour, tolerance 25 %",
        decide: |seed| against_baseline(seed, 1.0),
        claims: &[
            Claim { required: Required::AtMost(0.01), ..FALSE_ALARMS },
            Claim { required: Required::AtLeast(0.97), ..HELD },
        ],
    },
    Tried {
        name: "gate: baseline of another hour, relative slower by 50 %",
        decide: |seed| against_baseline(seed, 1.5),
        claims: &[Claim { required: Required::AtLeast(0.97), ..FOUND }],
    },
];

fn held(comparison: &Comparison) -> bool {
    comparison.outcome == Outcome::Held
}

fn regression(comparison: &Comparison) -> bool {
    comparison.outcome == Outcome::Regression
}

fn inconclusive(comparison: &Comparison) -> bool {
    matches!(comparison.outcome, Outcome::Inconclusive { .. })
}

fn named_factor(comparison: &Comparison) -> bool {
    comparison.series.iter().any(|series| matches!(series.shift, Some(Shift::Factor { .. })))
}

fn gate(seed: u64, luck: Luck, factor: f64) -> Comparison {
    SimulatedGate::new(seed, luck, &[1.0, factor], false).decide(None, 0.1)
}

/// The ratios of work that feels the neighbours differently move by several per cent from hour to hour.
fn against_baseline(seed: u64, factor: f64) -> Comparison {
    let mut before = SimulatedGate::new(5000 + seed, SHARED, &[1.0], true);
    before.measure(0, 12, &GATE_DIMS);
    SimulatedGate::new(6000 + seed, SHARED, &[factor], true).decide(Some(&before.studies[0]), 0.25)
}

/// The cells of a sweep.
struct Shape {
    methods: usize,
    dims: &'static [usize],
}

const SMALL: Shape = Shape { methods: 2, dims: &[100, 200, 500, 1000, 2000] };
const LARGE: Shape = Shape { methods: 3, dims: &[50, 100, 200, 500, 1000, 2000, 4000, 8000] };

/// Standard deviations of what an hour does, as logarithms: to all cells alike, and to each.
#[derive(Clone, Copy)]
struct Hour {
    common: f64,
    cell: f64,
}

const SAME_HOUR: Hour = Hour { common: 0.0, cell: 0.0 };
const OTHER_HOUR: Hour = Hour { common: 0.08, cell: 0.02 };

fn compare(shape: &Shape, seed: u64, rounds: usize, hour: Hour, slower: fn(Method, usize) -> f64) -> Comparison {
    let base = sweep(shape, 2 * seed, rounds, hour, |_, _| 1.0);
    let new = sweep(shape, 2 * seed + 1, rounds, hour, slower);
    of(&base, &new)
}

fn itself(seed: u64) -> Comparison {
    let study = sweep(&SMALL, seed, 3, SAME_HOUR, |_, _| 1.0);
    of(&study, &study)
}

fn of(base: &Study, new: &Study) -> Comparison {
    Comparison::of(&Sides { base, new, paired: false, absolute: false, first_round: 0 }, &Rules::default())
}

fn sweep(shape: &Shape, seed: u64, rounds: usize, hour: Hour, slower: fn(Method, usize) -> f64) -> Study {
    let laws: [(Method, &dyn Fn(f64) -> f64); 3] = [
        (Method::Relative, &|d| 1e-8 * d.powf(2.5)),
        (Method::Ordinary, &|d| 6e-10 * d.powi(3)),
        (Method::Autodiff, &|d| 3e-9 * d.powi(3)),
    ];
    let noise = Noise { rounds: 0.05, processes: 0.03, samples: 0.01, slow: 0.0 };
    let methods = &laws[..shape.methods];
    let mut study = planted(&Planted { methods, dims: shape.dims, rounds, samples: 9, noise, seed });
    let mut random = Random::new(!seed);
    let common = hour.common * random.normal();
    for &dim in shape.dims {
        for (method, _) in methods {
            let factor = slower(*method, dim) * (common + hour.cell * random.normal()).exp();
            let cell = study.records.iter_mut().filter(|r| r.cell.point.dim == dim && r.cell.method == *method);
            cell.for_each(|record| record.seconds.iter_mut().for_each(|t| *t *= factor));
        }
    }
    study
}

fn of_relative(method: Method, factor: f64) -> f64 {
    if method == Method::Relative { factor } else { 1.0 }
}

fn at_one(method: Method, dim: usize, factor: f64) -> f64 {
    if dim == 500 { of_relative(method, factor) } else { 1.0 }
}
