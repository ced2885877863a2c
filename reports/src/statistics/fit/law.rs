//! The choice between laws with one free factor, and whether any of them is true.

use serde::{Deserialize, Serialize};

use super::line::{Line, Weighted};
use super::panel::Panel;
use super::{DECISIVE_MARGIN, Observation};

/// A law is refused where chance alone gives its misfit with a smaller probability.
const REFUSED: f64 = 0.01;
/// A law is decided for only where chance gives its misfit with a larger probability.
pub(super) const ACCEPTED: f64 = 0.05;

/// A law with one free factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// x
    Linear,
    /// x²
    Quadratic,
    /// x² log x
    QuadraticLog,
    /// x³
    Cubic,
}

/// The best law and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The law of the least AICc, where it is 4 below the second and the times do not contradict it. D² log D is told
    /// only where its AICc is also 4 below that of a free power. `None` is "undecided", or "none of these".
    pub law: Option<Law>,
    /// AICc of the second best law minus that of the best.
    pub margin: f64,
    /// The times contradict every law of the list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub none_of_these: bool,
}

/// Chooses among the [`Law`]s by the corrected Akaike criterion of log-normal processes, and tests for lack of fit.
///
/// A law is tested twice: all residuals of the medians, and their slope along the axis alone, which is the sharper test
/// of another exponent. The smaller probability counts, twice because there are two. A law is decided for where it is
/// ahead by 4 and this probability is above 5 %. Below 1 % for every law it is none of these. With one process
/// everywhere there is no test and no decision. x² log x must also be ahead by 4 of a free power: over a decade it is
/// almost straight, and x^2.1 fits as well. `None` with fewer than four places.
pub fn choose_law(observations: &[Observation<'_>]) -> Option<Choice> {
    let panel = Panel::of(observations);
    if panel.places.len() < 4 || panel.places[0].0 < 2_f64.ln() {
        return None;
    }
    let mut tried = Vec::new();
    for law in [Law::Linear, Law::Quadratic, Law::QuadraticLog, Law::Cubic] {
        let rest: Vec<Weighted> = panel.places.iter().map(|(x, y, w)| (*x, y - law.logarithm(*x), *w)).collect();
        let line = Line::fit(&rest)?;
        let residual: f64 = rest.iter().map(|(_, y, w)| w * (y - line.mean_y).powi(2)).sum();
        let of_slope = (residual - line.residual(&rest)).max(0.0);
        let all = panel.misfit(residual, rest.len() as f64 - 1.0);
        let chance = all.zip(panel.misfit(of_slope, 1.0)).map(|(all, slope)| 2.0 * all.min(slope));
        tried.push((panel.criterion(residual, 2.0), law, chance));
    }
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (best, second) = (&tried[0], &tried[1]);
    let margin = second.0 - best.0;
    let power = panel.criterion(Line::fit(&panel.places)?.residual(&panel.places), 3.0);
    let is_bent = best.1 != Law::QuadraticLog || power - best.0 >= DECISIVE_MARGIN;
    let decided = margin >= DECISIVE_MARGIN && is_bent && best.2.is_some_and(|chance| chance > ACCEPTED);
    let none_of_these = tried.iter().all(|(.., chance)| chance.is_some_and(|chance| chance < REFUSED));
    Some(Choice { law: decided.then_some(best.1), margin, none_of_these })
}

impl Law {
    /// Logarithm of the law with factor 1, at the logarithm of x ≥ 2.
    fn logarithm(self, x: f64) -> f64 {
        match self {
            Self::Linear => x,
            Self::Quadratic => 2.0 * x,
            Self::QuadraticLog => 2.0 * x + x.ln(),
            Self::Cubic => 3.0 * x,
        }
    }
}
