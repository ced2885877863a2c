//! Known answers planted in synthetic records: do the statistics find them, and do their intervals cover what they
//! claim?
//!
//! A study of coverage has [`DIMS`] with two methods: `relative` takes 10⁻⁸·D^2.5 s, `ordinary` D^3 with a factor that
//! makes them equal at D = 300. Log-normal noise is on three levels, a factor shared by the cells of a round, one of a
//! process and one of a sample; a [`Design`] says how much of each, and how many processes there are. Nothing is
//! measured here.

mod recovery;

use relgrad_vocabulary::Method;

use crate::fixture::{Noise, Planted, planted};
use crate::record::study::Study;
use crate::statistics::fit::{self, Crossover, observe};
use crate::statistics::summary::Estimate;
use crate::statistics::{Processes, median_estimate, ratio_estimate};

pub use recovery::{Recovery, recoveries};

/// Dimensions of a study.
pub const DIMS: [usize; 5] = [100, 200, 500, 1000, 2000];
/// Exponent of `relative`.
pub const EXPONENT: f64 = 2.5;
/// Where `relative` overtakes `ordinary`.
pub const CROSSOVER: f64 = 300.0;
/// Samples of a process.
const SAMPLES: usize = 9;
/// The dimension whose median and speed-up are tried.
const DIM: usize = 1000;
/// The dimension that the fit predicts.
const BEYOND: usize = 4000;
/// Share that a 95 % interval covers, as accepted of 1,000 studies.
const ACCEPTED: (f64, f64) = (0.93, 0.97);
/// Number of studies that [`ACCEPTED`] is meant for.
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
}

/// Every design: the usual noise with 2 to 10 processes, noise of the samples alone, and samples that are held up.
pub const DESIGNS: [Design; 6] = {
    const USUAL: Noise = Noise { rounds: 0.05, processes: 0.03, samples: 0.01, slow: 0.0 };
    const SAMPLES_ONLY: Noise = Noise { rounds: 0.0, processes: 0.0, samples: 0.03, slow: 0.0 };
    const HELD_UP: Noise = Noise { rounds: 0.05, processes: 0.03, samples: 0.03, slow: 0.1 };
    [
        Design { name: "3 processes", rounds: 3, noise: USUAL },
        Design { name: "3 processes, samples alone vary", rounds: 3, noise: SAMPLES_ONLY },
        Design { name: "2 processes", rounds: 2, noise: USUAL },
        Design { name: "5 processes", rounds: 5, noise: USUAL },
        Design { name: "10 processes", rounds: 10, noise: USUAL },
        Design { name: "5 processes, 10 % of samples held up", rounds: 5, noise: HELD_UP },
    ]
};

/// What is tried of a study: the exponent of `relative`, its speed-up and median at D = 1000, the crossover, and a
/// further median at D = 4000 in the prediction interval of the fit to the others.
pub const TRIED: [&str; 5] = ["exponent", "speed-up", "median", "crossover", "prediction"];

/// Makes the study of `design` with this seed and looks which of its intervals, in the order of [`TRIED`], hold the
/// planted answers.
pub fn covered(design: &Design, seed: u64) -> [bool; 5] {
    let dims: Vec<usize> = DIMS.into_iter().chain([BEYOND]).collect();
    let study = planted(&Planted {
        methods: &[(Method::Relative, &relative), (Method::Ordinary, &ordinary)],
        dims: &dims,
        rounds: design.rounds,
        samples: SAMPLES,
        noise: design.noise,
        seed,
    });
    let cells = |method| DIMS.map(|dim| (dim, processes(&study, method, dim)));
    let (this, base) = (cells(Method::Relative), cells(Method::Ordinary));
    let tried = |cells: &[(usize, Processes)]| cells.iter().position(|(dim, _)| *dim == DIM).unwrap_or(0);
    let (this_tried, base_tried) = (&this[tried(&this)].1, &base[tried(&base)].1);
    let (this, base) = (observe(&this), observe(&base));
    let range = DIMS[0]..=DIMS[DIMS.len() - 1];
    let crossover = match fit::crossover(&base, &this) {
        Some(Crossover::At(place)) => Some(place),
        _ => None,
    };
    let further = processes(&study, Method::Relative, BEYOND).median().unwrap_or(f64::NAN);
    let at = DIM as f64;
    [
        holds(fit::exponent(&this, range.clone()).map(|fit| fit.exponent), EXPONENT),
        holds(ratio_estimate(base_tried, this_tried), ordinary(at) / relative(at)),
        holds(median_estimate(this_tried), relative(at)),
        holds(crossover, CROSSOVER),
        holds(fit::extrapolate(&this, &[], range, BEYOND), further),
    ]
}

/// The share that is accepted for `studies`: that for 1,000, wider for fewer by twice the standard deviation of the
/// share they would find of a true 95 % interval.
pub fn accepted(studies: usize) -> (f64, f64) {
    let deviation = |n: f64| (0.95 * 0.05 / n).sqrt();
    let wider = 2.0 * (deviation(studies.max(1) as f64) - deviation(STUDIES)).max(0.0);
    (ACCEPTED.0 - wider, (ACCEPTED.1 + wider).min(1.0))
}

/// Whether a share of `studies` is so near to an edge of what is accepted, on either side, that more studies must
/// decide.
pub fn undecided(share: f64, studies: usize) -> bool {
    let (low, high) = accepted(studies);
    [low, high].into_iter().any(|edge| (share - edge).abs() <= NEAR)
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
