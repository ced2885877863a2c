//! The steps that several sets share.

use super::{Parts, Samples};

/// a in x = logit(a + (1 − 2a) p): keeps the logit finite.
pub(crate) const LOGIT_MARGIN: f64 = 1e-6;

/// x = logit(a + (1 − 2a) p).
pub(crate) fn logit(p: f64) -> f64 {
    let q = LOGIT_MARGIN + (1.0 - 2.0 * LOGIT_MARGIN) * p;
    (q / (1.0 - q)).ln()
}

/// Test = the last tenth of all rows, validation = the last tenth of what is left, each rounded down.
pub(crate) fn split_in_order(all: Samples) -> Parts {
    let (dim, count) = (all.dim, all.count());
    let test_count = count / 10;
    let validation_count = (count - test_count) / 10;
    let mut values = all.values;
    let test = values.split_off((count - test_count) * dim);
    let validation = values.split_off((count - test_count - validation_count) * dim);
    let part = |values| Samples { dim, values };
    Parts::of([part(values), part(validation), part(test)])
}

/// Mean and standard deviation of every column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    pub(crate) mean: Vec<f64>,
    pub(crate) deviation: Vec<f64>,
}

impl Scale {
    /// Of all samples of `parts` together; `lost` degrees of freedom (NumPy's `ddof`).
    ///
    /// # Errors
    /// Too few samples, and columns that do not vary, by which nothing can be divided.
    pub(crate) fn of(parts: &[&Samples], lost: f64) -> Result<Self, String> {
        let dim = parts.first().map_or(0, |part| part.dim);
        let count: f64 = parts.iter().map(|part| part.count() as f64).sum();
        if count <= lost.max(1.0) {
            return Err(format!("{count} samples are too few to standardise"));
        }
        let sums = |term: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; dim];
            for sample in parts.iter().flat_map(|part| part.iter()) {
                for (j, &x) in sample.iter().enumerate() {
                    sums[j] += term(j, x);
                }
            }
            sums
        };
        let mean: Vec<f64> = sums(&|_, x| x).into_iter().map(|sum| sum / count).collect();
        let squares = sums(&|j, x| (x - mean[j]).powi(2));
        let deviation: Vec<f64> = squares.into_iter().map(|sum| (sum / (count - lost)).sqrt()).collect();
        if let Some(j) = deviation.iter().position(|deviation| !(*deviation > 0.0 && deviation.is_finite())) {
            return Err(format!("column {} cannot be standardised: its deviation is {}", j + 1, deviation[j]));
        }
        Ok(Self { mean, deviation })
    }

    /// (x − mean) / deviation, rounded to f32 as the published arrays are.
    pub(crate) fn standardise(&self, samples: &mut Samples) {
        let scale = self.mean.iter().zip(&self.deviation).cycle();
        for (x, (mean, deviation)) in samples.values.iter_mut().zip(scale) {
            *x = f64::from(((*x - mean) / deviation) as f32);
        }
    }
}

/// The columns for which `keep` holds.
pub(crate) fn select_columns(samples: &Samples, keep: &[usize]) -> Samples {
    let values = samples.iter().flat_map(|sample| keep.iter().map(|&j| sample[j])).collect();
    Samples { dim: keep.len(), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_the_published_sizes() {
        // POWER, GAS and MINIBOONE: rows, then train, validation and test.
        for (rows, sizes) in [
            (2_049_280, [1_659_917, 184_435, 204_928]),
            (1_052_065, [852_174, 94_685, 105_206]),
            (36_488, [29_556, 3_284, 3_648]),
            (47_955, [38_844, 4_316, 4_795]),
        ] {
            let parts = split_in_order(Samples { dim: 1, values: (0..rows).map(f64::from).collect() });
            assert_eq!(parts.each().map(|(_, part)| part.count()), sizes);
            assert_eq!(parts.test.values[0], (sizes[0] + sizes[1]) as f64);
        }
    }

    #[test]
    fn scales_are_numpys() {
        let samples = Samples { dim: 2, values: vec![1.0, 10.0, 2.0, 20.0, 3.0, 60.0] };
        let population = Scale::of(&[&samples], 0.0).unwrap();
        assert_eq!(population.mean, [2.0, 30.0]);
        assert!((population.deviation[0] - (2.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(Scale::of(&[&samples], 1.0).unwrap().deviation[0], 1.0);
        let constant = Samples { dim: 2, values: vec![1.0, 5.0, 2.0, 5.0, 3.0, 5.0] };
        assert!(Scale::of(&[&constant], 0.0).unwrap_err().contains("column 2"));
        assert!(Scale::of(&[&samples.first(1)], 1.0).unwrap_err().contains("too few"));
        let mut standard = samples;
        population.standardise(&mut standard);
        assert_eq!(standard.values[0], f64::from(-(1.5_f64.sqrt()) as f32));
    }

    #[test]
    fn the_logit_is_finite_at_both_ends() {
        assert!((logit(0.5)).abs() < 1e-15);
        assert!((logit(0.0) + logit(1.0)).abs() < 1e-9 && logit(1.0) > 13.8);
        assert!((super::super::DataSet::to_grey(logit(0.3)) - 0.3).abs() < 1e-12);
    }
}
