//! Laws of the list and others: is the law told, and is none told where none is true?

use relgrad_vocabulary::Method;

use crate::fixture::{Noise, Planted, planted};
use crate::statistics::fit::Law;
use crate::statistics::summary::Summary;

/// Dimensions of a study; five of them are in the range of the fit.
const DIMS: [usize; 9] = [20, 50, 100, 200, 500, 1000, 2000, 3000, 5000];
const ROUNDS: usize = 3;

/// A law that a method follows.
#[derive(Debug, Clone, Copy)]
pub struct PlantedLaw {
    /// What it is.
    pub name: &'static str,
    /// The law of the list that it is; `None` where it is in no list.
    pub law: Option<Law>,
    /// Seconds at D.
    seconds: fn(f64) -> f64,
}

/// Laws of the list, powers between them, a cache step and a bend.
pub const LAWS: [PlantedLaw; 8] = [
    PlantedLaw { name: "D", law: Some(Law::Linear), seconds: |d| 1e-9 * d },
    PlantedLaw { name: "D²", law: Some(Law::Quadratic), seconds: |d| 1e-9 * d * d },
    PlantedLaw { name: "D² log D", law: Some(Law::QuadraticLog), seconds: |d| 1e-9 * d * d * d.ln() },
    PlantedLaw { name: "D³", law: Some(Law::Cubic), seconds: |d| 1e-9 * d.powi(3) },
    PlantedLaw { name: "D^2.1", law: None, seconds: |d| 1e-9 * d.powf(2.1) },
    PlantedLaw { name: "D^2.5", law: None, seconds: |d| 1e-9 * d.powf(2.5) },
    PlantedLaw {
        name: "D², ×1.5 from D = 1,500 on",
        law: None,
        seconds: |d| 1e-9 * d * d * if d < 1500.0 { 1.0 } else { 1.5 },
    },
    PlantedLaw { name: "D, D² from D = 1,000 on", law: None, seconds: |d| 1e-9 * d * d.max(1000.0) },
];

/// What a report says of a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The planted one.
    Right,
    /// Another, or none of the list although it is in it.
    Wrong,
    /// Undecided, or none of the list where that is true.
    Open,
}

/// Makes a study of the usual noise and three processes whose method follows `planted`, and looks what is told.
pub fn told(law: &PlantedLaw, seed: u64) -> Told {
    let study = planted(&Planted {
        methods: &[(Method::Relative, &law.seconds)],
        dims: &DIMS,
        rounds: ROUNDS,
        samples: 9,
        noise: Noise { rounds: 0.05, processes: 0.03, samples: 0.01, slow: 0.0 },
        seed,
    });
    let summary = Summary::of(&study);
    match summary.series.first().and_then(|series| series.law) {
        Some(choice) if choice.law.is_some() && choice.law == law.law => Told::Right,
        Some(choice) if choice.law.is_some() || (choice.none_of_these && law.law.is_some()) => Told::Wrong,
        _ => Told::Open,
    }
}
