//! What moved: a constant offset, a factor, or the exponent.

use serde::{Deserialize, Serialize};

use super::Change;
use crate::statistics::fit::Line;
use crate::statistics::summary::Estimate;
use crate::statistics::{NORMAL_975, student};

/// The change of one method's time over its dimensions, in one word and one number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Shift {
    /// Every evaluation takes so many seconds more (less, when negative), whatever D.
    Offset {
        /// The seconds.
        seconds: Estimate,
    },
    /// Every evaluation takes so many times as long, whatever D.
    Factor {
        /// New over base.
        ratio: Estimate,
    },
    /// The ratio grows with D: another exponent.
    Exponent {
        /// New minus base.
        difference: Estimate,
    },
    /// One dimension alone changed.
    Single {
        /// Where.
        dim: usize,
        /// New over base.
        ratio: Estimate,
    },
    /// The dimensions do not tell which: too few of them, too much noise, or none of these.
    Undecided,
}

/// The change of a method at one dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Dimension D.
    pub dim: usize,
    /// Seconds of the base side, for an offset.
    pub base_seconds: f64,
    /// Standard error of their logarithm.
    pub base_error: f64,
    /// The change of its time.
    pub change: Change,
}

/// Relative scatter below which two dimensions are not told apart: the same code differs by more with its memory
/// layout.
const LEAST_ERROR: f64 = 0.005;
/// A model whose criterion is larger by this much has considerably less support (Burnham & Anderson, *Model Selection
/// and Multimodel Inference*, 2002, section 2.6).
const DECISIVE_MARGIN: f64 = 4.0;
/// The slope of an exponent counts from three standard errors on.
const SLOPE_SQUARES: f64 = 9.0;
/// Mean squared residual, in standard errors, beyond which none of the models describes the change.
const WORST_FIT: f64 = 9.0;

/// Chooses among offset, factor and exponent by weighted least squares.
///
/// Offset and factor have one parameter each and are told apart by Akaike's criterion. An exponent (the ratio may have
/// any size at the smallest D) contains the factor, so it is considered only where the slope is beyond doubt; and only
/// where the change grows with D, since one that shrinks with D is what an offset looks like. A change at one dimension
/// alone has two parameters, its place and its size; at the smallest it is an offset.
pub fn shift(observed: &[Observed]) -> Shift {
    let points: Vec<Observed> =
        observed.iter().filter(|o| o.change.error.is_finite() && o.base_seconds > 0.0).copied().collect();
    if points.len() < 2 {
        return Shift::Undecided;
    }
    let mut models = vec![factor(&points), offset(&points)];
    if points.len() >= 3 {
        let constant = models[0].squares;
        models.extend(exponent(&points).filter(|e| constant - e.squares >= SLOPE_SQUARES).filter(|_| grows(&points)));
        models.extend(single(&points));
    }
    models.sort_by(|a, b| a.criterion.total_cmp(&b.criterion));
    let decided = models[1].criterion - models[0].criterion >= DECISIVE_MARGIN;
    let fits = models[0].squares / points.len() as f64 <= WORST_FIT;
    if decided && fits { models[0].shift } else { Shift::Undecided }
}

struct Fitted {
    shift: Shift,
    squares: f64,
    criterion: f64,
}

impl Fitted {
    /// Judges a model that expects `model` at a point, with a standard error of `error`.
    fn new(points: &[Observed], parameters: usize, model: impl Fn(&Observed) -> (f64, f64), shift: Shift) -> Self {
        let square = |p: &Observed| {
            let (expected, error) = model(p);
            ((p.change.log - expected) / error).powi(2)
        };
        let squares = points.iter().map(square).sum::<f64>();
        Self { shift, squares, criterion: squares + 2.0 * parameters as f64 }
    }
}

/// The standard error of a change, stretched for few rounds as an interval would be.
fn error(point: &Observed) -> f64 {
    let stretch = student::quantile(0.95, point.change.degrees) / NORMAL_975;
    (stretch * point.change.error).max(LEAST_ERROR)
}

fn weight(point: &Observed) -> f64 {
    error(point).powi(-2)
}

/// log ratio = ln f.
fn factor(points: &[Observed]) -> Fitted {
    let total: f64 = points.iter().map(weight).sum();
    let log = points.iter().map(|p| weight(p) * p.change.log).sum::<f64>() / total;
    let ratio = Estimate::within(log, 1.96 / total.sqrt()).map(f64::exp);
    Fitted::new(points, 1, |p| (log, error(p)), Shift::Factor { ratio })
}

/// log ratio = ln(1 + c/t), by Gauss–Newton from the estimate of the smallest dimension.
fn offset(points: &[Observed]) -> Fitted {
    // No offset takes away more than the whole time.
    let least = -0.95 * points.iter().map(|p| p.base_seconds).fold(f64::INFINITY, f64::min);
    let estimate = |p: &Observed| p.base_seconds * p.change.log.exp_m1();
    let mut seconds = points.iter().min_by_key(|p| p.dim).map_or(0.0, estimate).max(least);
    let mut curvature = 0.0;
    for _ in 0..50 {
        let (mut gradient, mut square) = (0.0, 0.0);
        for p in points {
            let weight = offset_error(p, seconds).powi(-2);
            let slope = 1.0 / (p.base_seconds + seconds);
            gradient += weight * slope * (p.change.log - offset_log(p, seconds));
            square += weight * slope * slope;
        }
        seconds = (seconds + gradient / square).max(least);
        curvature = square;
    }
    let estimate = Estimate::within(seconds, 1.96 / curvature.sqrt());
    Fitted::new(points, 1, |p| (offset_log(p, seconds), offset_error(p, seconds)), Shift::Offset { seconds: estimate })
}

fn offset_log(p: &Observed, seconds: f64) -> f64 {
    (seconds / p.base_seconds).ln_1p()
}

/// What an offset makes of the ratio depends on the base time, which is known with an error of its own.
fn offset_error(p: &Observed, seconds: f64) -> f64 {
    let of_base = seconds / (p.base_seconds + seconds) * p.base_error;
    (error(p).powi(2) + of_base.powi(2)).sqrt()
}

/// log ratio = 0 but for one dimension, not the smallest.
fn single(points: &[Observed]) -> Option<Fitted> {
    let smallest = points.iter().map(|p| p.dim).min()?;
    let square = |p: &Observed| (p.change.log / error(p)).powi(2);
    let loudest = points.iter().filter(|p| p.dim > smallest).max_by(|a, b| square(a).total_cmp(&square(b)))?;
    let (dim, log) = (loudest.dim, loudest.change.log);
    let ratio = Estimate::within(log, 1.96 * error(loudest)).map(f64::exp);
    let model = |p: &Observed| (if p.dim == dim { log } else { 0.0 }, error(p));
    Some(Fitted::new(points, 2, model, Shift::Single { dim, ratio }))
}

/// log ratio = a + s ln D.
fn exponent(points: &[Observed]) -> Option<Fitted> {
    let line = line(points)?;
    let difference = Estimate::within(line.slope, 1.96 * line.spread.powf(-0.5));
    let model = |p: &Observed| (line.at((p.dim as f64).ln()), error(p));
    Some(Fitted::new(points, 2, model, Shift::Exponent { difference }))
}

/// Whether the change at the larger dimensions has the sign of the slope.
fn grows(points: &[Observed]) -> bool {
    line(points).is_some_and(|line| line.slope * line.mean_y > 0.0)
}

fn line(points: &[Observed]) -> Option<Line> {
    let weighted = |p: &Observed| ((p.dim as f64).ln(), p.change.log, weight(p));
    Line::fit(&points.iter().map(weighted).collect::<Vec<_>>())
}

/// The change of the exponent: the slope of the log ratio over ln D. `None` with fewer than three dimensions.
///
/// The errors of the cells propagate; each cell was measured on its own.
pub fn exponent_change(observed: &[Observed]) -> Option<Change> {
    if observed.len() < 3 || observed.iter().any(|o| !o.change.error.is_finite()) {
        return None;
    }
    let n = observed.len() as f64;
    let x = |o: &Observed| (o.dim as f64).ln();
    let mean = observed.iter().map(x).sum::<f64>() / n;
    let spread: f64 = observed.iter().map(|o| (x(o) - mean).powi(2)).sum();
    let lever = |o: &Observed| (x(o) - mean) / spread;
    let sum = |of: &dyn Fn(&Observed) -> f64| observed.iter().map(of).sum::<f64>();
    Some(Change {
        log: sum(&|o| lever(o) * o.change.log),
        error: sum(&|o| (lever(o) * o.change.error).powi(2)).sqrt(),
        degrees: observed.iter().map(|o| o.change.degrees).min()?,
        rounds: observed.iter().map(|o| o.change.rounds).min()?,
        fixed_variance: sum(&|o| lever(o).powi(2) * o.change.fixed_variance),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times like `relative`'s, the ratio planted, every cell known to within 1 %.
    fn planted(ratio: impl Fn(f64, f64) -> f64) -> Vec<Observed> {
        [10, 30, 100, 300, 1000]
            .map(|dim| {
                let d = dim as f64;
                let base_seconds = 8e-6 + 1e-8 * d * d;
                let change = Change {
                    log: ratio(d, base_seconds).ln(),
                    error: 0.01,
                    degrees: 7,
                    rounds: 8,
                    fixed_variance: 0.0,
                };
                Observed { dim, base_seconds, base_error: 0.02, change }
            })
            .into()
    }

    #[test]
    fn each_planted_shift_is_named_with_its_size() {
        match shift(&planted(|_, _| 1.1)) {
            Shift::Factor { ratio } => assert!((ratio.value - 1.1).abs() < 1e-9),
            other => panic!("{other:?}"),
        }
        match shift(&planted(|_, t| 1.0 + 20e-6 / t)) {
            Shift::Offset { seconds } => assert!((seconds.value - 20e-6).abs() < 1e-9, "{seconds:?}"),
            other => panic!("{other:?}"),
        }
        match shift(&planted(|_, t| 1.0 - 3e-6 / t)) {
            Shift::Offset { seconds } => assert!((seconds.value + 3e-6).abs() < 1e-9, "{seconds:?}"),
            other => panic!("{other:?}"),
        }
        match shift(&planted(|d, _| d.powf(0.1))) {
            Shift::Exponent { difference } => assert!((difference.value - 0.1).abs() < 1e-9),
            other => panic!("{other:?}"),
        }
        // Twenty times the time at D = 10, and base times that are off by 5 %: still an offset.
        match shift(&planted(|d, t| 1.0 + 200e-6 / (t * if d < 50.0 { 1.05 } else { 0.97 }))) {
            Shift::Offset { seconds } => assert!((seconds.value / 200e-6 - 1.0).abs() < 0.1, "{seconds:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_dimension_noise_or_another_shape_is_undecided() {
        assert_eq!(shift(&planted(|_, _| 1.1)[..1]), Shift::Undecided);
        let mut loud = planted(|_, t| 1.0 + 1e-7 / t);
        loud.iter_mut().for_each(|o| o.change.error = 0.2);
        assert_eq!(shift(&loud), Shift::Undecided);
        match shift(&planted(|d, _| if d == 100.0 { 1.5 } else { 1.0 })) {
            Shift::Single { dim: 100, ratio } => assert!((ratio.value - 1.5).abs() < 1e-9),
            other => panic!("{other:?}"),
        }
        let zigzag = planted(|d, _| if [10.0, 100.0, 1000.0].contains(&d) { 1.5 } else { 1.0 / 1.5 });
        assert_eq!(shift(&zigzag), Shift::Undecided);
    }

    #[test]
    fn the_exponent_changes_by_what_was_planted() {
        let change = exponent_change(&planted(|d, _| 0.9 * d.powf(0.1))).expect("five dimensions");
        assert!((change.log - 0.1).abs() < 1e-9);
        assert!(change.error > 0.0 && change.error < 0.01);
        assert_eq!(exponent_change(&planted(|_, _| 1.0)[..2]), None);
    }
}
