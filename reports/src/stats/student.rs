//! Quantiles of Student's t distribution.

/// The 97.5 % quantile of the standard normal distribution.
pub(crate) const NORMAL_975: f64 = 1.959_963_984_540_054;

/// The 97.5 % quantile of Student's t with `degrees` of freedom (at least 1).
pub(crate) fn student_975(degrees: usize) -> f64 {
    if degrees > MOST_DEGREES { NORMAL_975 } else { quantile(0.95, degrees) }
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

    #[test]
    fn quantiles_agree_with_the_published_table() {
        for (degrees, t) in [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (5, 2.571),
            (10, 2.228),
            (29, 2.045),
            (120, 1.980),
        ] {
            let ours = student_975(degrees);
            assert!((ours - t).abs() < 6e-4, "{degrees} degrees: {ours} against {t}");
        }
        assert!((student_975(2000) - NORMAL_975).abs() < 2e-3);
        for (confidence, degrees, t) in [(0.98, 4, 3.747), (0.99, 9, 3.250), (0.999, 3, 12.924)] {
            let ours = quantile(confidence, degrees);
            assert!((ours - t).abs() < 1e-3, "{confidence} with {degrees} degrees: {ours} against {t}");
        }
    }
}
