//! Two-dimensional toy densities, those of the paper and of its authors' code, seeded.

use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

use relgrad_kernels::init;
use relgrad_reports::training::Provenance;
use relgrad_vocabulary::names;

use super::curves::Strewn;
use super::{DataSet, Parts, Samples, open};
use crate::error::{Error, Result};

names! {
    /// A density on the plane, by its name on the command line after `toy:`.
    Toy, "toy density", {
        /// Two Gaussians side by side.
        Mixture = "mixture",
        /// Two interleaved half circles.
        Moons = "moons",
        /// A noisy sine.
        Sine = "sine",
        /// Eight Gaussians on a circle.
        EightGaussians = "8gaussians",
        /// Ten Gaussians that make a face.
        Smile = "smile",
        /// Two spirals.
        Spirals = "2spirals",
        /// Eight squares of a checkerboard.
        Checkerboard = "checkerboard",
        /// Four concentric rings.
        Rings = "rings",
        /// Three Gaussians of two widths.
        Trimodal = "trimodal",
    }
}

/// The curve of t in [0, 1).
type Curve = fn(f64) -> [f64; 2];

impl Toy {
    /// The Gaussians of a density that is a mixture of round ones: weight, centre, standard deviation.
    fn gaussians(self) -> Option<Vec<(f64, [f64; 2], f64)>> {
        match self {
            Self::Mixture => Some(vec![(0.5, [-2.0, 0.0], 0.7), (0.5, [2.0, 0.0], 0.7)]),
            Self::EightGaussians => {
                let centre = |k: usize| (k as f64 * TAU / 8.0).sin_cos();
                let scale = 4.0 * FRAC_1_SQRT_2;
                let gaussian = |k| (0.125, [scale * centre(k).1, scale * centre(k).0], 0.5 * FRAC_1_SQRT_2);
                Some((0..8).map(gaussian).collect())
            }
            Self::Smile => {
                // Two eyes, a nose and a mouth of seven, on a circle of radius 4; angles from the positive x axis.
                let on_circle = |degrees: f64| [4.0 * degrees.to_radians().cos(), 4.0 * degrees.to_radians().sin()];
                let face = [[2.0, -4.0 * 0.75_f64.sqrt()], [-2.0, -4.0 * 0.75_f64.sqrt()], [0.0, 0.0]];
                let mouth = [90.0, 45.0, 135.0, 60.0, 75.0, 120.0, 105.0].map(on_circle);
                let of = |centres: &[[f64; 2]]| -> Vec<_> {
                    centres.iter().map(|&centre| (0.5 / centres.len() as f64, centre, 0.5)).collect()
                };
                Some([of(&face), of(&mouth)].concat())
            }
            Self::Trimodal => {
                let third = 1.0 / 3.0;
                Some(vec![(third, [0.0, 0.0], 1.0), (third, [5.0, 5.0], 0.5), (third, [5.0, -5.0], 0.5)])
            }
            _ => None,
        }
    }

    /// The curves of a density that lies along some, all alike, and the standard deviation of the noise around them.
    fn curves(self) -> Option<(&'static [Curve], f64)> {
        match self {
            Self::Moons => Some((&[|t| moon(t, false), |t| moon(t, true)], 0.05)),
            Self::Rings => Some((&[|t| ring(t, 0.75), |t| ring(t, 1.5), |t| ring(t, 2.25), |t| ring(t, 3.0)], 0.08)),
            _ => None,
        }
    }

    /// x ↦ log p(x) in nats.
    pub(crate) fn log_density(self) -> Box<dyn Fn([f64; 2]) -> f64> {
        if let Some(gaussians) = self.gaussians() {
            return Box::new(move |x| {
                let density = |(weight, centre, deviation): &(f64, [f64; 2], f64)| {
                    let square = ((x[0] - centre[0]).powi(2) + (x[1] - centre[1]).powi(2)) / deviation.powi(2);
                    weight * (-0.5 * square).exp() / (TAU * deviation.powi(2))
                };
                gaussians.iter().map(density).sum::<f64>().ln()
            });
        }
        if let Some((curves, noise)) = self.curves() {
            let strewn = Strewn::along(curves, noise, 0.0);
            return Box::new(move |x| strewn.density(x).ln());
        }
        match self {
            Self::Sine => Box::new(|x| {
                let z = (x[1] - (3.0 * x[0]).sin()) / SINE_NOISE;
                let inside = -0.5 * z * z - 0.5 * TAU.ln() - SINE_NOISE.ln() - (2.0 * SINE_HALF_WIDTH).ln();
                if x[0].abs() <= SINE_HALF_WIDTH { inside } else { f64::NEG_INFINITY }
            }),
            Self::Checkerboard => Box::new(|x| {
                let inside = x[0].abs() <= 4.0 && x[1].abs() <= 4.0;
                let dark = ((x[0] / 2.0).floor() + (x[1] / 2.0).floor()).rem_euclid(2.0) == 0.0;
                if inside && dark { -32.0_f64.ln() } else { f64::NEG_INFINITY }
            }),
            _ => {
                // The other arm is this one turned by half a turn, with its smear.
                let arm = Strewn::along(&[spiral], SPIRAL_NOISE, SPIRAL_SMEAR);
                Box::new(move |[x, y]| (0.5 * arm.density([x, y]) + 0.5 * arm.density([-x, -y])).ln())
            }
        }
    }

    /// The entropy −E log p(x) in nats: the mean over 20 000 seeded samples.
    pub(crate) fn entropy_nats(self) -> f64 {
        const SAMPLES: usize = 20_000;
        let log_density = self.log_density();
        let samples = self.sample(SAMPLES, u64::from(u32::MAX));
        -samples.iter().map(|x| log_density([x[0], x[1]])).sum::<f64>() / SAMPLES as f64
    }

    /// `count` samples drawn from `seed`.
    pub(crate) fn sample(self, count: usize, seed: u64) -> Samples {
        let uniforms = init::uniforms(seed, 3 * count);
        let normals = init::normals(seed, 2 * count);
        let draws = uniforms.as_chunks::<3>().0.iter().zip(normals.as_chunks::<2>().0);
        let values = draws.flat_map(|(&u, &z)| self.draw(u, z)).collect();
        Samples { dim: 2, values }
    }

    /// One sample from three uniforms and two normals.
    fn draw(self, [u, v, w]: [f64; 3], z: [f64; 2]) -> [f64; 2] {
        if let Some(gaussians) = self.gaussians() {
            let mut rest = u;
            let is_hit = |(weight, ..): &&(f64, [f64; 2], f64)| {
                let hit = rest < *weight;
                rest -= weight;
                hit
            };
            // Rounding of the weights' sum can leave none: the last one.
            let (_, centre, deviation) = gaussians.iter().find(is_hit).unwrap_or(&gaussians[gaussians.len() - 1]);
            return [centre[0] + deviation * z[0], centre[1] + deviation * z[1]];
        }
        if let Some((curves, noise)) = self.curves() {
            let [x, y] = curves[(curves.len() as f64 * u) as usize](v);
            return [x + noise * z[0], y + noise * z[1]];
        }
        match self {
            Self::Sine => {
                let x = SINE_HALF_WIDTH * (2.0 * v - 1.0);
                [x, (3.0 * x).sin() + SINE_NOISE * z[0]]
            }
            Self::Checkerboard => {
                let x = 8.0 * v - 4.0;
                let odd = (x / 2.0).floor().rem_euclid(2.0);
                let cell = if u < 0.5 { -4.0 } else { 0.0 };
                [x, cell + 2.0 * odd + 2.0 * w]
            }
            _ => {
                // Which half of [0, 1) u is in says the arm, and where in it is one more uniform number.
                let (sign, half) = if u < 0.5 { (-1.0, 0.0) } else { (1.0, 1.0) };
                let smear = [w, 2.0 * u - half].map(|w| SPIRAL_SMEAR * w);
                let [x, y] = spiral(v);
                [sign * (x + smear[0]) + SPIRAL_NOISE * z[0], sign * (y + smear[1]) + SPIRAL_NOISE * z[1]]
            }
        }
    }
}

/// The upper or the lower half circle at t in [0, 1).
fn moon(t: f64, lower: bool) -> [f64; 2] {
    let (sin, cos) = (PI * t).sin_cos();
    if lower { [1.0 - cos, 0.5 - sin] } else { [cos, sin] }
}

/// An arm of one and a half turns, points evenly far apart but near its centre.
fn spiral(t: f64) -> [f64; 2] {
    let angle = t.sqrt() * 1.5 * TAU;
    let (sin, cos) = angle.sin_cos();
    [-cos * angle / 3.0, sin * angle / 3.0]
}

fn ring(t: f64, radius: f64) -> [f64; 2] {
    let (sin, cos) = (TAU * t).sin_cos();
    [radius * cos, radius * sin]
}

/// Standard deviation of the spirals' noise.
const SPIRAL_NOISE: f64 = 0.1;
/// A spiral's points are moved by up to this in each coordinate, before the other arm is turned.
const SPIRAL_SMEAR: f64 = 0.5 / 3.0;
/// Half the range of the sine's abscissa.
const SINE_HALF_WIDTH: f64 = 2.0;
/// Standard deviation of its noise.
const SINE_NOISE: f64 = 0.25;

/// A toy set: training, validation and test parts with seeds of their own. Samples are at most [`MOST_SAMPLES`], and as
/// many as there is memory for.
pub(crate) fn data_set(toy: Toy, samples: usize, seed: u64) -> Result<DataSet> {
    if !(1..=MOST_SAMPLES).contains(&samples) {
        return Err(Error::Usage(format!(
            "a toy set has 1 to {MOST_SAMPLES} training samples (--toy-samples), not {samples}"
        )));
    }
    let held_out = samples.max(1000);
    // Three parts of two numbers, and while one is drawn the five random numbers of each sample.
    open::require_memory((11 * held_out) as u64)
        .map_err(|cause| Error::Input(format!("toy:{toy} with {samples} samples: {cause}")))?;
    let part = |count, offset| toy.sample(count, seed.wrapping_mul(3).wrapping_add(offset));
    let parts = Parts::of([part(samples, 0), part(held_out, 1), part(held_out, 2)]);
    let told = format!(
        "toy:{toy}: {samples} training, {held_out} validation and {held_out} test samples of 2 columns, seed {seed}"
    );
    let set = DataSet::new(format!("toy:{toy}"), parts, Provenance::Synthetic);
    Ok(DataSet { entropy_nats: Some(toy.entropy_nats()), told: vec![told], ..set })
}

/// Most training samples of a toy set; the paper has a thousand.
const MOST_SAMPLES: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_without_sense_or_memory_is_refused_before_memory_is_taken() {
        for samples in [0, MOST_SAMPLES + 1, u32::MAX as usize, usize::MAX] {
            let error = data_set(Toy::Moons, samples, 0).unwrap_err().to_string();
            assert!(error.contains("--toy-samples"), "{error}");
        }
    }

    /// Closed forms: ½ log(2πe σ²) + log 4 for the sine, log 32 for the board; a mixture of well-separated Gaussians
    /// has log 8 + log(2πe σ²). Points of a thin curve of length ℓ: log ℓ, the noise σ across it, and
    /// σ/ℓ ∫ −Φ log Φ = 0.9032 σ/ℓ for either end; a mean of entropies for circles far apart; curvature is left out.
    /// Tolerance: five standard errors of 20 000 samples.
    #[test]
    fn known_entropies_come_out() {
        let gaussian = |variance: f64| 0.5 * (TAU * std::f64::consts::E * variance).ln();
        let noise = |toy: Toy| toy.curves().unwrap().1;
        let moons = (2.0 * PI).ln() + 4.0 * 0.9032 * noise(Toy::Moons) / (2.0 * PI);
        let rings = (1..=4).map(|k| (4.0 * TAU * 0.75 * f64::from(k)).ln() / 4.0).sum::<f64>();
        for (toy, entropy, tolerance) in [
            (Toy::Sine, gaussian(SINE_NOISE * SINE_NOISE) + 4.0_f64.ln(), 0.036),
            (Toy::Checkerboard, 32.0_f64.ln(), 0.036),
            (Toy::EightGaussians, 8.0_f64.ln() + 2.0 * gaussian(0.125), 0.036),
            (Toy::Moons, moons + gaussian(noise(Toy::Moons).powi(2)), 0.025),
            (Toy::Rings, rings + gaussian(noise(Toy::Rings).powi(2)), 0.025),
        ] {
            let found = toy.entropy_nats();
            assert!((found - entropy).abs() < tolerance, "{toy}: {found} for {entropy}");
        }
    }

    #[test]
    fn samples_are_seeded_finite_and_lie_where_the_density_does() {
        for toy in Toy::ALL {
            let samples = toy.sample(500, 4);
            let log_density = toy.log_density();
            assert_eq!(samples, toy.sample(500, 4));
            assert_ne!(samples, toy.sample(500, 5));
            for x in samples.iter() {
                assert!(x.iter().all(|x| x.abs() < 8.0), "{toy}: {x:?}");
                let density = log_density([x[0], x[1]]);
                assert!(density > -20.0, "{toy} {x:?}: {density:?}");
            }
        }
    }

    #[test]
    fn densities_integrate_to_one() {
        for toy in Toy::ALL {
            let log_density = toy.log_density();
            let (step, half) = (0.04, 9.0);
            let side = (2.0 * half / step) as i32;
            let at = |i: i32| (f64::from(i) + 0.5).mul_add(step, -half);
            let mass: f64 = (0..side)
                .flat_map(|i| (0..side).map(move |j| (i, j)))
                .map(|(i, j)| log_density([at(i), at(j)]).exp() * step * step)
                .sum();
            assert!((mass - 1.0).abs() < 1e-2, "{toy}: {mass}");
        }
    }
}
