//! Single answers that a fit must find again, from quiet synthetic studies.

use relgrad_vocabulary::Method;

use super::processes;
use crate::fixture::{Noise, Planted, planted};
use crate::statistics::Processes;
use crate::statistics::fit::{self, Bound, Crossover, Law, Observation, observe};
use crate::statistics::summary::Estimate;

/// Dimensions of every study here.
const DIMS: [usize; 10] = [20, 30, 50, 100, 200, 300, 500, 1000, 2000, 5000];

/// A planted number and the one found.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// What it is.
    pub what: &'static str,
    /// What was planted.
    pub planted: f64,
    /// What was found, with its interval where it has one; `None` when nothing was.
    pub found: Option<Estimate>,
    /// Largest accepted relative error.
    pub tolerance: f64,
}

impl Recovery {
    /// Whether the found value is near enough.
    pub fn passed(&self) -> bool {
        self.found.is_some_and(|found| (found.value / self.planted - 1.0).abs() <= self.tolerance)
    }
}

/// Plants and recovers each answer, with noise of 1 % between processes and within them, five processes a cell.
pub fn recoveries() -> Vec<Recovery> {
    let power = cells(1, &|d| 1e-8 * d.powf(2.5));
    let bent = cells(2, &|d| 1e-6 * if d < 300.0 { d / 300.0 } else { (d / 300.0).powf(2.5) });
    let sum = cells(3, &|d| 1e-7 + 4e-9 * d.powi(2) + 8e-12 * d.powi(3));
    let (base, this) = (cells(4, &|d| 1e-9 / 300.0 * d.powi(3)), cells(5, &|d| 1e-9 * d.powi(2)));
    let stepped = cells(8, &|d| 1e-9 * d.powi(2) * if d < 400.0 { 1.0 } else { 1.5 });
    let logarithmic = cells(6, &|d| 1e-9 * d.powi(2) * d.ln());
    let range = 500..=5000;
    let power_at =
        |observations: &[Observation<'_>]| fit::exponent(observations, range.clone()).map(|fit| fit.exponent);
    let at = |found| match found {
        Some(Crossover::At(place)) => Some(place),
        _ => None,
    };
    let is = |yes: bool| yes.then_some(Estimate::exact(1.0));
    let bound = Bound { x: 10_000, at_least_seconds: 1e-8 * 10_000_f64.powf(3.0) };
    let lifted = fit::bounded_exponent(&observe(&power), &[bound], range.clone()).map(|fit| fit.exponent.value);
    let free = power_at(&observe(&power)).map(|e| e.value);
    let recovery = |what, planted, tolerance, found| Recovery { what, planted, found, tolerance };
    vec![
        recovery("exponent of D^2.5", 2.5, 0.01, power_at(&observe(&power))),
        recovery("crossover of D³ and D²", 300.0, 0.05, at(fit::crossover(&observe(&base), &observe(&this)))),
        recovery(
            "no crossover in range",
            1.0,
            0.0,
            is(fit::crossover(&observe(&this)[..5], &observe(&base)[..5]) == Some(Crossover::BelowRange)),
        ),
        recovery("breakpoint from D to D^2.5", 300.0, 0.1, fit::breakpoint(&observe(&bent), 3).map(|bend| bend.at)),
        recovery("step of 1.5 between 300 and 500", 1.5, 0.1, fit::step(&observe(&stepped), 3).map(|step| step.factor)),
        recovery("no step in a sum of terms", 1.0, 0.0, is(fit::step(&observe(&sum), 3).is_none())),
        recovery("no breakpoint in a sum of terms", 1.0, 0.0, is(fit::breakpoint(&observe(&sum), 3).is_none())),
        recovery("no breakpoint in D^2.5", 1.0, 0.0, is(fit::breakpoint(&observe(&power), 3).is_none())),
        recovery(
            "D² and D³ terms equal",
            500.0,
            0.15,
            fit::two_term(&observe(&sum), 3).and_then(|terms| terms.crossover),
        ),
        recovery(
            "D² log D chosen among laws",
            1.0,
            0.0,
            is(fit::choose_law(&observe(&logarithmic)).is_some_and(|c| c.law == Some(Law::QuadraticLog))),
        ),
        recovery(
            "between D² and D² log D: undecided",
            1.0,
            0.0,
            is(fit::choose_law(&observe(&cells(7, &|d| 1e-9 * d * d * d.ln().sqrt())))
                .is_some_and(|choice| choice.law.is_none())),
        ),
        recovery("a cell out of time lifts the fit", 1.0, 0.0, is(lifted > free)),
    ]
}

/// Its own noise for every law.
fn cells(seed: u64, law: &dyn Fn(f64) -> f64) -> Vec<(usize, Processes)> {
    let study = planted(&Planted {
        methods: &[(Method::Relative, law)],
        dims: &DIMS,
        rounds: 5,
        samples: 9,
        noise: Noise { rounds: 0.0, processes: 0.01, samples: 0.01, slow: 0.0 },
        seed,
    });
    DIMS.map(|dim| (dim, processes(&study, Method::Relative, dim))).into()
}
