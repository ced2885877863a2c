//! What the atlas is worth: predictions of machines that it does not know.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::{Data, Datum};
use super::covariance::{Located, Variances};
use super::fit::{require_two_machines, thinned, variances};
use super::predict::{Conditioned, Known};
use super::{AtlasCell, AtlasSeries, MOST_CELLS};
use crate::statistics::median;
use crate::statistics::summary::Estimate;

/// Seconds of one evaluation that an anchor may take.
const ANCHOR_SECONDS: f64 = 0.25;
/// Processes of an anchor, in turn with those of the others: a machine may be slow for some seconds.
pub const ANCHOR_ROUNDS: usize = 3;

/// How predictions and measurements agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Cells with a prediction.
    pub cells: usize,
    /// Those whose interval has the measured time.
    pub covered: usize,
    /// Median of |predicted / measured − 1|.
    pub median_error: f64,
}

impl Score {
    /// Of predictions, each with what was measured; `None` without one.
    pub fn of(compared: &[(Estimate, f64)]) -> Option<Self> {
        let is_covered = |(predicted, measured): &&(Estimate, f64)| (predicted.low..=predicted.high).contains(measured);
        let errors: Vec<f64> =
            compared.iter().map(|(predicted, measured)| (predicted.value / measured - 1.0).abs()).collect();
        let covered = compared.iter().filter(is_covered).count();
        Some(Self { cells: compared.len(), covered, median_error: median(&errors)? })
    }
}

/// One machine, predicted from all others.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// Its name.
    pub machine: String,
    /// Predictions from its ceilings alone with what was measured, both over t₀; none where no other machine has such a
    /// device.
    pub plain: Vec<(Estimate, f64)>,
    /// Those with its anchors too, of all cells but these.
    pub anchored: Vec<(Estimate, f64)>,
    /// Cells that were anchors.
    pub anchors: usize,
}

/// Leaves out one machine at a time: everything that is fitted follows from the others.
///
/// # Errors
/// Where the others are not two machines that have one kind of device.
pub fn leave_one_out(data: &Data) -> Result<Vec<LeftOut>, String> {
    data.machines.iter().enumerate().map(|(place, name)| leave_out(data, place, name)).collect()
}

fn leave_out(data: &Data, place: usize, name: &str) -> Result<LeftOut, String> {
    let (own, others): (Vec<Datum>, Vec<Datum>) = data.data.iter().copied().partition(|datum| datum.machine == place);
    require_two_machines(&others).map_err(|cause| format!("without {name}: {cause}"))?;
    let others = thinned(&others, MOST_CELLS);
    let fitted = variances(&others, data.process_variance(Some(place)));
    let conditioned = |anchors: &[Datum]| conditioned(fitted, &others, anchors);
    let plain = conditioned(&[])?;
    let located = |datum: &Datum| Located::new(place, datum.cell);
    let seconds: Vec<(AtlasCell, f64)> =
        own.iter().map(|datum| (datum.cell, datum.model_seconds * plain.at(&located(datum)).0.exp())).collect();
    let anchors: Vec<Datum> = choose_anchors(&seconds).into_iter().map(|at| own[at]).collect();
    let anchored = conditioned(&anchors)?;
    let compare = |with: &Conditioned, datum: &Datum| {
        let estimate = with.estimate(&located(datum), datum.processes)?;
        Some((estimate.map(f64::exp), datum.log_ratio.exp()))
    };
    let known: BTreeSet<AtlasCell> = anchors.iter().map(|anchor| anchor.cell).collect();
    let rest = own.iter().filter(|datum| !known.contains(&datum.cell));
    Ok(LeftOut {
        machine: name.to_string(),
        plain: own.iter().filter_map(|datum| compare(&plain, datum)).collect(),
        anchored: rest.filter_map(|datum| compare(&anchored, datum)).collect(),
        anchors: anchors.len(),
    })
}

/// The model of the others, and the first processes of each anchor.
fn conditioned(variances: Variances, others: &[Datum], anchors: &[Datum]) -> Result<Conditioned, String> {
    let known = |datum: &Datum| -> Known { (datum.machine, datum.cell, datum.log_ratio, datum.processes) };
    let early = |anchor: &Datum| -> Known { (anchor.machine, anchor.cell, anchor.early.0, anchor.early.1) };
    Conditioned::of(variances, others.iter().map(known), anchors.iter().map(early))
        .ok_or_else(|| "the covariances of these studies have no factor".to_string())
}

/// Places of the cells to measure on a machine before the others are predicted. Of each method and device these are,
/// in the series with the most D, the smallest, the largest and the middle D whose evaluation should take a quarter of
/// a second at most. The seconds are those that are expected.
pub fn choose_anchors(cells: &[(AtlasCell, f64)]) -> Vec<usize> {
    let mut series: BTreeMap<AtlasSeries, BTreeMap<usize, usize>> = BTreeMap::new();
    for (at, (cell, seconds)) in cells.iter().enumerate() {
        let dims = series.entry(cell.series).or_default();
        if *seconds <= ANCHOR_SECONDS {
            dims.entry(cell.dim).or_insert(at);
        }
    }
    let mut widest: BTreeMap<_, &BTreeMap<usize, usize>> = BTreeMap::new();
    for (of, dims) in &series {
        let known = widest.entry((of.device, of.method)).or_insert(dims);
        if dims.len() > known.len() {
            *known = dims;
        }
    }
    let mut chosen = BTreeSet::new();
    for dims in widest.into_values() {
        let ends = dims.first_key_value().zip(dims.last_key_value());
        let Some(((first, low), (last, high))) = ends else { continue };
        let middle = ((*first as f64).ln() + (*last as f64).ln()) / 2.0;
        let off = |dim: usize| ((dim as f64).ln() - middle).abs();
        let between = dims.iter().min_by(|(a, _), (b, _)| off(**a).total_cmp(&off(**b))).map(|(_, at)| *at);
        chosen.extend([*low, *high].into_iter().chain(between));
    }
    chosen.into_iter().collect()
}
