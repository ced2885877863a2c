//! Quantiles of Student's t distribution.

/// The 97.5 % quantile of the standard normal distribution.
pub(crate) const NORMAL_975: f64 = 1.959_963_984_540_054;

/// The 97.5 % quantile of Student's t with `degrees` of freedom (at least 1); between whole degrees it is interpolated
/// along their reciprocals, in which it is nearly straight.
pub(crate) fn student_975(degrees: f64) -> f64 {
    if degrees > MOST_DEGREES as f64 {
        return NORMAL_975;
    }
    let below = degrees.max(1.0).floor();
    let low = quantile(0.95, below as usize);
    if degrees <= below {
        return low;
    }
    let above = below + 1.0;
    let position = (1.0 / below - 1.0 / degrees) / (1.0 / below - 1.0 / above);
    low + position * (quantile(0.95, above as usize) - low)
}

/// Beyond this many degrees of freedom t is taken for normal (its quantiles differ by less than 0.1 %).
const MOST_DEGREES: usize = 2000;

/// The t that |t| stays below with probability `confidence`, by bisection of the closed form.
pub(crate) fn quantile(confidence: f64, degrees: usize) -> f64 {
    let degrees = degrees.clamp(1, MOST_DEGREES);
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if two_sided_probability(middle, degrees) < confidence { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).tan() * (degrees as f64).sqrt()
}

/// The 97.5 % quantile of a normal estimate over the square root of its estimated variance, where that is a sum of
/// parts: each has its share of the whole (of any scale, not all 0) and its degrees of freedom (at least 1). One part
/// is Student's t.
///
/// Of independent parts the variance is V = Σ cᵢ·χ²(νᵢ)/νᵢ. By Craig's form of the normal tail (IEEE MILCOM 1991)
/// P(|Z| > t·√V) = 2/π ∫₀^{π/2} E exp(−t²V/(2 sin² θ)) dθ, and the expectation is that of sums of χ²:
/// ∏ (1 + 2s·cᵢ/νᵢ)^(−νᵢ/2).
///
/// Parts of complete `Parts::Blocks` are not independent: the means over n places were taken out of every block, which
/// correlates the places by −1/(n − 1). Then ∏ becomes a determinant, of the diagonal matrix of the shares less one of
/// rank one.
pub(crate) fn pooled_975(parts: &[Part], dependence: Parts) -> f64 {
    let total: f64 = parts.iter().map(|part| part.share).sum();
    let parts: Vec<Part> = parts.iter().map(|part| Part { share: part.share / total, ..*part }).collect();
    // The quantile of two degrees and more is below that of one.
    let (mut low, mut high) = (NORMAL_975, quantile(0.95, 1));
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if beyond(middle, &parts, dependence) > 0.05 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// A summand of an estimated variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    pub(crate) share: f64,
    pub(crate) degrees: f64,
}

/// How the parts of a variance hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Not at all.
    Independent,
    /// Each is the scatter of one place over the same blocks, without what the blocks do to all places alike; all have
    /// the same degrees.
    Blocks,
}

/// P(|Z| > t·√V) for parts whose shares add to 1, by the midpoint rule.
fn beyond(t: f64, parts: &[Part], dependence: Parts) -> f64 {
    const NODES: usize = 128;
    let count = parts.len() as f64;
    let places = if dependence == Parts::Blocks && parts.len() > 1 { count / (count - 1.0) } else { 1.0 };
    let expectation = |node: usize| {
        let sin = ((node as f64 + 0.5) / NODES as f64 * std::f64::consts::FRAC_PI_2).sin();
        let (mut logarithm, mut common) = (0.0, 0.0);
        for Part { share, degrees } in parts {
            let term = t * t * share * places / (degrees.max(1.0) * sin * sin);
            logarithm -= 0.5 * degrees.max(1.0) * term.ln_1p();
            common += term / (1.0 + term);
        }
        if places > 1.0 {
            logarithm -= 0.5 * parts[0].degrees.max(1.0) * (1.0 - common / count).ln();
        }
        logarithm.exp()
    };
    (0..NODES).map(expectation).sum::<f64>() / NODES as f64
}

/// P(F > f) for F with `above` and `below` degrees of freedom: the regularised incomplete beta function I_x(b/2, a/2)
/// at x = b/(b + a·f).
pub(crate) fn f_tail(f: f64, above: f64, below: f64) -> f64 {
    if f.is_nan() || f <= 0.0 {
        return 1.0;
    }
    let x = below / (below + above * f);
    let (a, b) = (0.5 * below, 0.5 * above);
    // The continued fraction converges fast on one side of the mean.
    if x < (a + 1.0) / (a + b + 2.0) { beta_fraction(x, a, b) } else { 1.0 - beta_fraction(1.0 - x, b, a) }
}

/// I_x(a, b) by Lentz's evaluation of its continued fraction (Press et al., *Numerical Recipes*, 2007, section 6.4).
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nonzero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in (1..300).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / nonzero(1.0 + term * d);
            c = nonzero(1.0 + term / c);
            fraction *= c * d;
        }
        if (fraction - before).abs() < 1e-14 * fraction.abs() {
            break;
        }
    }
    front * fraction
}

/// ln Γ(x) for x > 0, by its recurrence and Stirling's series from 8 on (Abramowitz & Stegun, 6.1.41).
fn ln_gamma(mut x: f64) -> f64 {
    let mut product = 1.0;
    while x < 8.0 {
        product *= x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - f64::ln(product)
}

/// P(|t| ≤ √ν·tan θ) for ν = `degrees` (Abramowitz & Stegun, 26.7.3 and 26.7.4).
fn two_sided_probability(theta: f64, degrees: usize) -> f64 {
    let (sin, cos) = theta.sin_cos();
    let odd = degrees % 2 == 1;
    let (mut term, mut sum) = if odd { (cos, 0.0) } else { (1.0, 0.0) };
    let first = if odd { 3 } else { 2 };
    for k in (first..=degrees).step_by(2) {
        sum += term;
        term *= cos * cos * (k - 1) as f64 / k as f64;
    }
    if odd { std::f64::consts::FRAC_2_PI * (theta + sin * sum) } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::Random;

    fn parts(shares: &[f64], degrees: f64) -> Vec<Part> {
        shares.iter().map(|&share| Part { share, degrees }).collect()
    }

    #[test]
    fn one_part_and_equal_parts_are_students() {
        let close = |ours: f64, t: f64| assert!((ours / t - 1.0).abs() < 1e-5, "{ours} against {t}");
        for degrees in [1.0, 2.0, 3.0, 9.0, 40.0] {
            close(pooled_975(&parts(&[7.0], degrees), Parts::Independent), student_975(degrees));
            close(pooled_975(&parts(&[2.0; 4], degrees), Parts::Independent), student_975(4.0 * degrees));
            // (places − 1)·(blocks − 1) degrees: the classical analysis of a randomised block design.
            close(pooled_975(&parts(&[1.0; 5], degrees), Parts::Blocks), student_975(4.0 * degrees));
        }
    }

    /// 200,000 drawn studies leave the quantile with probability 5 %, to three of their standard errors.
    #[test]
    fn unequal_parts_leave_a_twentieth_beyond() {
        let shares = [2.31, 0.68, 0.01, 0.61, 2.18_f64];
        let total: f64 = shares.iter().sum();
        let studies = 200_000;
        for (blocks, dependence) in [(2, Parts::Blocks), (3, Parts::Blocks), (2, Parts::Independent)] {
            let t = pooled_975(&parts(&shares, f64::from(blocks - 1)), dependence);
            let mut random = Random::new(5);
            let mut outside = 0;
            for _ in 0..studies {
                let mut variance = 0.0;
                for _ in 1..blocks {
                    let normals: [f64; 5] = std::array::from_fn(|_| random.normal());
                    let (mean, scale) = match dependence {
                        Parts::Blocks => (normals.iter().sum::<f64>() / 5.0, 1.25),
                        Parts::Independent => (0.0, 1.0),
                    };
                    let squares = shares.iter().zip(normals).map(|(c, x)| c * scale * (x - mean).powi(2));
                    variance += squares.sum::<f64>() / total / f64::from(blocks - 1);
                }
                outside += usize::from(random.normal().abs() > t * variance.sqrt());
            }
            let share = outside as f64 / f64::from(studies);
            assert!((share - 0.05).abs() < 0.0015, "{blocks} blocks, {dependence:?}: {share}");
        }
    }

    #[test]
    fn quantiles_agree_with_the_published_table() {
        for (degrees, t) in [
            (1.0, 12.706),
            (2.0, 4.303),
            (3.0, 3.182),
            (4.0, 2.776),
            (5.0, 2.571),
            (6.5, 2.4025),
            (10.0, 2.228),
            (29.0, 2.045),
            (120.0, 1.980),
        ] {
            let ours = student_975(degrees);
            assert!((ours - t).abs() < 6e-4, "{degrees} degrees: {ours} against {t}");
        }
        assert!((student_975(2000.0) - NORMAL_975).abs() < 2e-3);
        for (confidence, degrees, t) in [(0.98, 4, 3.747), (0.99, 9, 3.250), (0.999, 3, 12.924)] {
            let ours = quantile(confidence, degrees);
            assert!((ours - t).abs() < 1e-3, "{confidence} with {degrees} degrees: {ours} against {t}");
        }
    }

    /// Published 5 % and 1 % points of F, and t² as F with one degree of freedom above.
    #[test]
    fn tails_of_f_agree_with_the_published_table() {
        for (f, above, below, tail) in [
            (4.102_8, 2.0, 10.0, 0.05),
            (7.006_1, 4.0, 8.0, 0.01),
            (2.866_1, 4.0, 20.0, 0.05),
            (18.512_8, 1.0, 2.0, 0.05),
            (2.228_f64.powi(2), 1.0, 10.0, 0.05),
        ] {
            let ours = f_tail(f, above, below);
            assert!((ours - tail).abs() < 2e-5, "F({above}, {below}) beyond {f}: {ours}");
        }
        assert_eq!((f_tail(0.0, 3.0, 3.0), f_tail(f64::INFINITY, 3.0, 3.0)), (1.0, 0.0));
    }
}
