//! Weighted least squares of a straight line.

/// Slope of the line through `(x, y)` with weights `w`; `None` unless two distinct x carry weight.
pub(crate) fn slope(points: impl Iterator<Item = (f64, f64, f64)> + Clone) -> Option<f64> {
    let weight: f64 = points.clone().map(|(_, _, w)| w).sum();
    let mean_x = points.clone().map(|(x, _, w)| w * x).sum::<f64>() / weight;
    let mean_y = points.clone().map(|(_, y, w)| w * y).sum::<f64>() / weight;
    let spread: f64 = points.clone().map(|(x, _, w)| w * (x - mean_x).powi(2)).sum();
    let covariance: f64 = points.map(|(x, y, w)| w * (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| covariance / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_line_whatever_the_weights() {
        let points = [(1.0, 5.0, 3.0), (2.0, 7.0, 0.5), (4.0, 11.0, 1.0)];
        assert!((slope(points.into_iter()).unwrap() - 2.0).abs() < 1e-14);
        assert_eq!(slope([(1.0, 2.0, 1.0), (1.0, 3.0, 1.0)].into_iter()), None);
        assert_eq!(slope(std::iter::empty()), None);
    }

    /// A point of weight 2 counts as the point twice.
    #[test]
    fn weight_means_repetition() {
        let weighted = [(0.0, 0.0, 1.0), (1.0, 3.0, 2.0), (2.0, 1.0, 1.0)];
        let repeated = [(0.0, 0.0, 1.0), (1.0, 3.0, 1.0), (1.0, 3.0, 1.0), (2.0, 1.0, 1.0)];
        let (a, b) = (slope(weighted.into_iter()).unwrap(), slope(repeated.into_iter()).unwrap());
        assert!((a - b).abs() < 1e-15);
    }
}
