//! The components of the variance, by the largest marginal likelihood.
//!
//! The intercepts that all machines share are integrated out with wide priors, which makes the likelihood that of REML
//! (Harville, JASA 72, 1977). Between few machines a variance is easily estimated as 0; each of those is given the
//! penalty ½ ln σ² of Chung, Rabe-Hesketh, Dorie, Gelman and Liu (Psychometrika 78, 2013), which keeps it off 0 and has
//! no scale.

use std::collections::BTreeSet;

use super::cholesky::Cholesky;
use super::collect::Datum;
use super::covariance::{Located, Variances};

/// Cells behind the estimate, at most; more would take longer and tell little more.
const MOST_FITTED: usize = 300;
/// Range of a variance, and of the length.
const VARIANCE: (f64, f64) = (1e-5, 10.0);
const LENGTH: (f64, f64) = (0.7, 6.0);
/// Steps of the search, of the logarithms.
const STEPS: [f64; 4] = [1.4, 0.7, 0.35, 0.17];
/// Passes over the components with one step, at most.
const PASSES: usize = 4;

/// The variances of some measurements, where `process` is that between processes.
pub(super) fn variances(data: &[Datum], process: f64) -> Variances {
    let data = thinned(data, MOST_FITTED);
    let fitted = Fitting::new(&data);
    let mut best = START.map(f64::ln);
    let mut height = fitted.log_likelihood(&of_logarithms(&best, process));
    for step in STEPS {
        for _ in 0..PASSES {
            let before = height;
            for k in 0..START.len() {
                for tried in [best[k] + step, best[k] - step] {
                    let mut other = best;
                    other[k] = tried;
                    let found = fitted.log_likelihood(&of_logarithms(&other, process));
                    if found > height {
                        (best, height) = (other, found);
                        break;
                    }
                }
            }
            if height <= before {
                break;
            }
        }
    }
    of_logarithms(&best, process)
}

/// Fails without two machines that have one kind of device.
pub(super) fn require_two_machines(data: &[Datum]) -> Result<(), String> {
    let kinds: BTreeSet<_> = data.iter().map(|datum| datum.cell.series.device).collect();
    let machines: BTreeSet<_> = data.iter().map(|datum| datum.machine).collect();
    if machines.len() > kinds.len() {
        return Ok(());
    }
    let found: Vec<String> = kinds.iter().map(|kind| format!("one with {kind}")).collect();
    Err(format!(
        "an atlas requires studies, with ceilings, of two machines that have one kind of device; here are: {}",
        if found.is_empty() { "none".to_string() } else { found.join(", ") }
    ))
}

/// Where the search begins, in the order of the fields.
const START: [f64; 8] = [2.5, 1.0, 0.3, 0.03, 0.03, 0.02, 0.02, 0.01];

fn of_logarithms(logarithms: &[f64; 8], process: f64) -> Variances {
    let within = |logarithm: f64, (low, high): (f64, f64)| logarithm.exp().clamp(low, high);
    let [length, rest @ ..] = *logarithms;
    let [shape, method_shape, machine, machine_shape, machine_method, machine_method_shape, cell] =
        rest.map(|logarithm| within(logarithm, VARIANCE));
    let length = within(length, LENGTH);
    Variances {
        length,
        shape,
        method_shape,
        machine,
        machine_shape,
        machine_method,
        machine_method_shape,
        cell,
        process,
    }
}

struct Fitting {
    places: Vec<Located>,
    log_ratios: Vec<f64>,
    processes: Vec<usize>,
}

impl Fitting {
    fn new(data: &[Datum]) -> Self {
        Self {
            places: data.iter().map(|datum| Located::new(datum.machine, datum.cell)).collect(),
            log_ratios: data.iter().map(|datum| datum.log_ratio).collect(),
            processes: data.iter().map(|datum| datum.processes).collect(),
        }
    }

    /// Up to a constant, with its penalty; −∞ where the covariances have no factor.
    fn log_likelihood(&self, v: &Variances) -> f64 {
        let Self { places, log_ratios, processes } = self;
        let entry = |i: usize, j: usize| {
            let noise = if i == j { v.noise(processes[i]) } else { 0.0 };
            v.covariance(&places[i], &places[j]) + noise
        };
        let Some(factor) = Cholesky::of(places.len(), entry) else { return f64::NEG_INFINITY };
        let squares: f64 = factor.forward(log_ratios.clone()).iter().map(|z| z * z).sum();
        let between = [v.machine, v.machine_shape, v.machine_method, v.machine_method_shape];
        let penalty: f64 = between.iter().map(|variance| 0.5 * variance.ln()).sum();
        penalty - 0.5 * (squares + factor.log_det())
    }
}

/// At most so many cells, about as many of each machine: every k-th in the order of their settings.
pub(super) fn thinned(data: &[Datum], most: usize) -> Vec<Datum> {
    if data.len() <= most {
        return data.to_vec();
    }
    let machines = data.iter().map(|datum| datum.machine).max().map_or(0, |last| last + 1);
    let mut of_machine = vec![Vec::new(); machines];
    data.iter().for_each(|datum| of_machine[datum.machine].push(*datum));
    // Machines with few cells leave the others their share.
    let mut counts: Vec<usize> = of_machine.iter().map(Vec::len).filter(|count| *count > 0).collect();
    counts.sort_unstable();
    let (mut left, mut waiting, mut share) = (most, counts.len(), 0);
    for count in counts {
        share = left / waiting.max(1);
        left -= count.min(share);
        waiting -= 1;
    }
    let share = share.max(1);
    let thin = |mut cells: Vec<Datum>| {
        cells.sort_by_key(|datum| datum.cell);
        let count = cells.len().min(share);
        (0..count).map(|k| cells[k * cells.len() / count]).collect::<Vec<_>>()
    };
    of_machine.into_iter().flat_map(thin).collect()
}
