//! Known answers planted in synthetic records: do the statistics find them, and do their intervals cover what they
//! claim?
//!
//! A study of coverage has [`DIMS`] with two methods: `relative` takes 10⁻⁸·D^2.5 s, `ordinary` D^3 with a factor that
//! makes them equal at D = 300. Log-normal noise is on three levels, a factor shared by the cells of a round, one of a
//! process and one of a sample. A [`Design`] says how much of each, how many processes there are, and what else the
//! machine does ([`Trouble`]). What is tried are the numbers of a report. Nothing is measured here.

mod backtest;
mod laws;
mod recovery;

use relgrad_vocabulary::Method;

use crate::fixture::{Noise, Planted, planted};
use crate::record::study::Study;
use crate::record::{Outcome, Record};
use crate::statistics::Processes;
use crate::statistics::fit::Crossover;
use crate::statistics::random::Random;
use crate::statistics::summary::{CellSummary, Estimate, Series, Summary};

pub use backtest::{Backtest, Hidden, backtest};
pub use laws::{LAWS, PlantedLaw, Told, told};
pub use recovery::{Recovery, recoveries};

/// Dimensions of a study.
pub const DIMS: [usize; 5] = [100, 200, 500, 1000, 2000];
/// Exponent of `relative`.
pub const EXPONENT: f64 = 2.5;
/// Where `relative` overtakes `ordinary`.
pub const CROSSOVER: f64 = 300.0;
/// Samples of a process.
const SAMPLES: usize = 9;
/// The dimension that is predicted.
const BEYOND: usize = 4000;
/// Number of studies that the accepted shares are meant for.
const STUDIES: f64 = 1000.0;
/// A share so near to an edge of the accepted range is not decided: 1.5 standard deviations of one of 1,000 studies.
const NEAR: f64 = 0.01;

/// How a study of the coverage is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// What is special about it, in a few words.
    pub name: &'static str,
    /// Processes per cell.
    pub rounds: usize,
    /// Noise on every level.
    pub noise: Noise,
    /// What else the machine does.
    pub trouble: Trouble,
}

/// What a machine does that the usual noise has not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Processes scatter by 2 % at D = 100 and by D^0.7 more beyond: 16 % at 2,000.
    GrowingScatter,
    /// Processes scatter by 15 % from D = 2,000 on.
    LoudEnd,
    /// So many processes at D = 2,000, which is tried.
    Few(usize),
    /// A clock that makes everything take 1.3 times as long for this share of the time, in spells of 1.5 rounds on
    /// average.
    TwoSpeeds(f64),
}

/// How much slower the slow clock is.
const SLOWER: f64 = 1.3;
/// Mean length of a slow spell, in rounds.
const SPELL: f64 = 1.5;

/// Every design: the usual noise with 2 to 10 processes, noise of the samples alone, samples that are held up, and
/// every trouble.
pub const DESIGNS: [Design; 14] = {
    const USUAL: Noise = Noise { rounds: 0.05, processes: 0.03, samples: 0.01, slow: 0.0 };
    const SAMPLES_ONLY: Noise = Noise { rounds: 0.0, processes: 0.0, samples: 0.03, slow: 0.0 };
    const HELD_UP: Noise = Noise { rounds: 0.05, processes: 0.03, samples: 0.03, slow: 0.1 };
    const STEADY: Noise = Noise { rounds: 0.01, ..USUAL };
    const fn usual(name: &'static str, rounds: usize, noise: Noise) -> Design {
        Design { name, rounds, noise, trouble: Trouble::None }
    }
    const fn troubled(name: &'static str, rounds: usize, noise: Noise, trouble: Trouble) -> Design {
        Design { name, rounds, noise, trouble }
    }
    [
        usual("3 processes", 3, USUAL),
        usual("3 processes, samples alone vary", 3, SAMPLES_ONLY),
        usual("2 processes", 2, USUAL),
        usual("5 processes", 5, USUAL),
        usual("10 processes", 10, USUAL),
        usual("5 processes, 10 % of samples held up", 5, HELD_UP),
        troubled("3 processes, scatter grows with D", 3, USUAL, Trouble::GrowingScatter),
        troubled("5 processes, scatter grows with D", 5, USUAL, Trouble::GrowingScatter),
        troubled("3 processes, the last D is loud", 3, USUAL, Trouble::LoudEnd),
        troubled("3 processes, one at the last D", 3, USUAL, Trouble::Few(1)),
        troubled("3 processes, two at the last D", 3, USUAL, Trouble::Few(2)),
        troubled("3 processes, two speeds, slow 1/5 of the time", 3, STEADY, Trouble::TwoSpeeds(0.2)),
        troubled("5 processes, two speeds, slow 1/5 of the time", 5, STEADY, Trouble::TwoSpeeds(0.2)),
        troubled("5 processes, two speeds, slow 1/2 of the time", 5, STEADY, Trouble::TwoSpeeds(0.5)),
    ]
};

/// What is tried of a study: the exponent of `relative`, its speed-up and median at D = 1000, the crossover, and a
/// further median at D = 4000 in the prediction interval.
pub const TRIED: [&str; 5] = ["exponent", "speed-up", "median", "crossover", "prediction"];

/// The shares that are accepted of 1,000 studies, in the order of [`TRIED`]. A 95 % interval covers 93 to 97 % with the
/// usual noise and 92 to 98 % in trouble. A prediction covers at least 90 %, a median of two speeds at least 90 %.
fn accepted_of_many(design: &Design) -> [(f64, f64); 5] {
    let range = if design.trouble == Trouble::None { (0.93, 0.97) } else { (0.92, 0.98) };
    let median = if matches!(design.trouble, Trouble::TwoSpeeds(_)) { (0.90, 1.0) } else { range };
    [range, range, median, range, (0.90, 1.0)]
}

/// Makes the study of `design` with this seed and looks which of the intervals of its summary, in the order of
/// [`TRIED`], hold the planted answers.
pub fn covered(design: &Design, seed: u64) -> [bool; 5] {
    let dims: Vec<usize> = DIMS.into_iter().chain([BEYOND]).collect();
    let mut study = planted(&Planted {
        methods: &[(Method::Relative, &relative), (Method::Ordinary, &ordinary)],
        dims: &dims,
        rounds: design.rounds,
        samples: SAMPLES,
        noise: design.noise,
        seed,
    });
    let speeds = disturb(&mut study, design, seed);
    let further = processes(&study, Method::Relative, BEYOND).median().unwrap_or(f64::NAN);
    hide(&mut study, |record| record.cell.point.dim == BEYOND);
    let summary = Summary::of(&study);
    let Some(series) = summary.series.iter().find(|series| series.method == Method::Relative) else {
        return [false; 5];
    };
    let dim = if matches!(design.trouble, Trouble::Few(_)) { DIMS[DIMS.len() - 1] } else { 1000 };
    let at = dim as f64;
    let point = |of: &dyn Fn(&CellSummary) -> Option<Estimate>| of(series.points.iter().find(|p| p.dim == dim)?);
    let crossover = summary.overtakings.iter().find_map(|found| match found.crossover {
        Crossover::At(place) if found.method == Method::Relative => Some(place),
        _ => None,
    });
    [
        holds(series.fit.map(|fit| fit.exponent), EXPONENT),
        holds(point(&|p| p.speedup_over_ordinary), ordinary(at) / relative(at)),
        speeds.iter().all(|slower| holds(point(&|p| Some(p.seconds)), slower * relative(at))),
        holds(crossover, CROSSOVER),
        holds(predicted(series, BEYOND), further),
    ]
}

/// Does to the records of a study what the design says, and returns how many times as long everything took in each
/// state of the machine that a process met.
fn disturb(study: &mut Study, design: &Design, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed ^ 0x7201_B1E5);
    let deviation = |dim: usize| match design.trouble {
        Trouble::GrowingScatter => 0.02 * (dim as f64 / 100.0).powf(0.7),
        Trouble::LoudEnd if dim >= DIMS[DIMS.len() - 1] => 0.15,
        _ => 0.0,
    };
    if let Trouble::Few(processes) = design.trouble {
        study.records.retain(|r| r.cell.point.dim != DIMS[DIMS.len() - 1] || r.cell.round < processes);
    }
    let share = if let Trouble::TwoSpeeds(share) = design.trouble { share } else { 0.0 };
    // The chance that a spell ends with a process, and that one begins: the long-run share of slow ones is `share`.
    let ends = 1.0 / (SPELL * (study.records.len() / design.rounds) as f64);
    let begins = ends * share / (1.0 - share);
    let mut is_slow = random.uniform() < share;
    let mut met = [false; 2];
    for (index, record) in study.records.iter_mut().enumerate() {
        record.started_unix_seconds += index as f64;
        let slower = if is_slow { SLOWER } else { 1.0 };
        let factor = slower * (deviation(record.cell.point.dim) * random.normal()).exp();
        record.seconds.iter_mut().for_each(|seconds| *seconds *= factor);
        met[usize::from(is_slow)] |= record.cell.point.dim != BEYOND;
        is_slow ^= random.uniform() < if is_slow { ends } else { begins };
    }
    [1.0, SLOWER].into_iter().zip(met).filter_map(|(factor, met)| met.then_some(factor)).collect()
}

/// Makes records look as if their cells had not been measured.
fn hide(study: &mut Study, which: impl Fn(&Record) -> bool) {
    for record in study.records.iter_mut().filter(|record| which(record)) {
        record.outcome = Outcome::Skipped;
        record.seconds.clear();
        record.check = None;
    }
}

/// What a series predicts for a dimension.
fn predicted(series: &Series, dim: usize) -> Option<Estimate> {
    series.stops.iter().find(|stop| stop.dim == dim)?.extrapolated_seconds
}

/// The shares that are accepted for so many `studies`, in the order of [`TRIED`]: those for 1,000, wider for fewer by
/// twice the standard deviation of the share they would find of a true 95 % interval.
pub fn accepted(design: &Design, studies: usize) -> [(f64, f64); 5] {
    let deviation = |n: f64| (0.95 * 0.05 / n).sqrt();
    let wider = 2.0 * (deviation(studies.max(1) as f64) - deviation(STUDIES)).max(0.0);
    accepted_of_many(design).map(|(low, high)| (low - wider, (high + wider).min(1.0)))
}

/// Whether a share is so near to an edge of what is accepted, on either side, that more studies must decide.
pub fn undecided(share: f64, (low, high): (f64, f64)) -> bool {
    [low, high].into_iter().any(|edge| edge < 1.0 && (share - edge).abs() <= NEAR)
}

fn holds(estimate: Option<Estimate>, truth: f64) -> bool {
    estimate.is_some_and(|e| e.low <= truth && truth <= e.high)
}

fn relative(dim: f64) -> f64 {
    1e-8 * dim.powf(EXPONENT)
}

fn ordinary(dim: f64) -> f64 {
    1e-8 * CROSSOVER.powf(EXPONENT - 3.0) * dim.powi(3)
}

fn processes(study: &Study, method: Method, dim: usize) -> Processes {
    let cell = study.records.iter().filter(|r| r.cell.method == method && r.cell.point.dim == dim);
    Processes::new(cell.map(|r| (r.cell.round, r.seconds.as_slice())))
}
