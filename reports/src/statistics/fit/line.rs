//! Weighted least squares of a straight line.

/// A place on the line's horizontal axis, a value there, and the weight of the pair.
pub(crate) type Weighted = (f64, f64, f64);

/// The straight line of a weighted least-squares fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) slope: f64,
    /// Weighted mean of the places.
    pub(crate) mean_x: f64,
    /// The line's value there.
    pub(crate) mean_y: f64,
    /// Σ w·(x − mean)².
    pub(crate) spread: f64,
    /// Σ w.
    pub(crate) weight: f64,
}

impl Line {
    /// The line through `points`; `None` unless two distinct x carry weight.
    pub(crate) fn fit(points: &[Weighted]) -> Option<Self> {
        let weight: f64 = points.iter().map(|(_, _, w)| w).sum();
        let mean_x = points.iter().map(|(x, _, w)| w * x).sum::<f64>() / weight;
        let mean_y = points.iter().map(|(_, y, w)| w * y).sum::<f64>() / weight;
        let spread: f64 = points.iter().map(|(x, _, w)| w * (x - mean_x).powi(2)).sum();
        let covariance: f64 = points.iter().map(|(x, y, w)| w * (x - mean_x) * (y - mean_y)).sum();
        (spread > 0.0).then(|| Self { slope: covariance / spread, mean_x, mean_y, spread, weight })
    }

    /// The line through `points` that values below `floors` pull up: a floor counts as a point while the line passes
    /// below it, and not at all otherwise. That is least squares of max(0, floor − line) beside the points' residuals,
    /// a convex problem whose active floors are found by adding those that the line violates until none is left.
    pub(crate) fn above(points: &[Weighted], floors: &[Weighted]) -> Option<Self> {
        let mut line = Self::fit(points)?;
        let mut active = vec![false; floors.len()];
        for _ in 0..=2 * floors.len() {
            let violated: Vec<bool> = floors.iter().map(|(x, floor, _)| line.at(*x) < *floor).collect();
            if violated == active {
                break;
            }
            active = violated;
            let counted = floors.iter().zip(&active).filter(|(_, active)| **active).map(|(floor, _)| *floor);
            line = Self::fit(&points.iter().copied().chain(counted).collect::<Vec<_>>())?;
        }
        Some(line)
    }

    /// The line's value at `x`.
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.mean_y + self.slope * (x - self.mean_x)
    }

    /// Weighted sum of the squared residuals.
    pub(crate) fn residual(&self, points: &[Weighted]) -> f64 {
        points.iter().map(|(x, y, w)| w * (y - self.at(*x)).powi(2)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_line_whatever_the_weights() {
        let line = Line::fit(&[(1.0, 5.0, 3.0), (2.0, 7.0, 0.5), (4.0, 11.0, 1.0)]).unwrap();
        assert!((line.slope - 2.0).abs() < 1e-14 && (line.at(10.0) - 23.0).abs() < 1e-12);
        assert_eq!(Line::fit(&[(1.0, 2.0, 1.0), (1.0, 3.0, 1.0)]), None);
        assert_eq!(Line::fit(&[]), None);
    }

    /// A point of weight 2 counts as the point twice.
    #[test]
    fn weight_means_repetition() {
        let weighted = Line::fit(&[(0.0, 0.0, 1.0), (1.0, 3.0, 2.0), (2.0, 1.0, 1.0)]).unwrap();
        let repeated = Line::fit(&[(0.0, 0.0, 1.0), (1.0, 3.0, 1.0), (1.0, 3.0, 1.0), (2.0, 1.0, 1.0)]).unwrap();
        assert!((weighted.slope - repeated.slope).abs() < 1e-15);
    }

    #[test]
    fn a_floor_lifts_a_line_below_it_and_leaves_one_above_alone() {
        let points = [(0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (2.0, 2.0, 1.0)];
        let free = Line::fit(&points).unwrap();
        assert_eq!(Line::above(&points, &[(3.0, 2.9, 1.0)]), Some(free));
        let lifted = Line::above(&points, &[(3.0, 4.0, 1.0)]).unwrap();
        assert!(lifted.slope > free.slope && lifted.at(3.0) > free.at(3.0) && lifted.at(3.0) < 4.0);
    }
}
