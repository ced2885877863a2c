//! Which coordinates of W^{-T} a step sees (MATH.md §21).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use relgrad_vocabulary::{Tuning, names};

names! {
    /// How the coordinates of a step are drawn. Either way each is drawn with the same probability π, and the mean of
    /// a sketch is W^{-T}.
    #[derive(Default)]
    Design, "design", {
        /// The D/m blocks of a random partition in turn, then those of another: over one sweep the noise of the sketch
        /// cancels but for what the weights moved \[M40\].
        #[default]
        Sweep = "sweep",
        /// m at random at each step.
        Independent = "independent",
    }
}

names! {
    /// What a step takes for W^{-T} in all columns, of whose error the sketch then is.
    #[derive(Default)]
    Control, "control", {
        /// Nothing: the sketch is of W^{-T} itself.
        #[default]
        None = "none",
        /// W diag(1/‖W_{:j}‖²), which is W^{-T} where the columns of W are orthogonal \[M36\].
        Columns = "columns",
        /// The share of W^{-T} along one direction, which follows the largest singular value of the inverse by one step
        /// of power iteration a step.
        Deflated = "deflated",
    }
}

/// How a step sees W^{-T}.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sketch {
    /// m, the coordinates that a step sees; `None` for as many as samples, and at most D.
    pub coordinates: Option<usize>,
    /// How they are drawn.
    pub design: Design,
    /// What the sketch is the error of.
    pub control: Control,
    /// Whether to shorten the step where \[M39\] could not keep a layer invertible.
    pub guard: bool,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { coordinates: None, design: Design::Sweep, control: Control::None, guard: true }
    }
}

impl Sketch {
    /// With the number of coordinates that `tuning` has.
    pub fn tuned(tuning: Tuning) -> Self {
        Self { coordinates: tuning.probes, ..Self::default() }
    }

    /// m for batches of `batch` samples in `dim` dimensions.
    pub fn width(&self, dim: usize, batch: usize) -> usize {
        self.coordinates.unwrap_or(batch).clamp(1, dim)
    }
}

/// The coordinates of a layer, step by step.
#[derive(Clone)]
pub(super) struct Draws {
    design: Design,
    /// All coordinates: by blocks where they are swept.
    order: Vec<usize>,
    /// The most at a time.
    width: usize,
    /// The block that this sweep began with, and how many it has visited.
    sweep: (usize, usize),
    random: ChaCha8Rng,
}

impl Draws {
    pub(super) fn new(design: Design, dim: usize, width: usize, seed: u64) -> Self {
        Self { design, order: (0..dim).collect(), width, sweep: (0, 0), random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The next coordinates, at most [`Self::width`] of them, and the probability π with which each is among them.
    pub(super) fn draw(&mut self) -> (&[usize], f64) {
        let dim = self.order.len();
        match self.design {
            Design::Sweep => {
                let blocks = dim.div_ceil(self.width);
                if self.sweep.1 == 0 {
                    self.shuffle(dim);
                    // Blocks are of two sizes; at every step each must come with the same probability.
                    self.sweep.0 = self.below(blocks);
                }
                let block = (self.sweep.0 + self.sweep.1) % blocks;
                self.sweep.1 = (self.sweep.1 + 1) % blocks;
                (&self.order[dim * block / blocks..dim * (block + 1) / blocks], 1.0 / blocks as f64)
            }
            Design::Independent => {
                self.shuffle(self.width);
                (&self.order[..self.width], self.width as f64 / dim as f64)
            }
        }
    }

    /// Makes the first `count` a random choice of all, in random order (Fisher and Yates).
    fn shuffle(&mut self, count: usize) {
        let dim = self.order.len();
        for place in 0..count {
            let other = place + self.below(dim - place);
            self.order.swap(place, other);
        }
    }

    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.random.next_u64()) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At each step of its own, over many seeds: the first steps are no exception.
    #[test]
    fn a_coordinate_comes_at_every_step_with_its_probability() {
        const SEEDS: usize = 4_000;
        for design in Design::ALL {
            let mut counts = [[0_u32; 10]; 3];
            let mut probability = 0.0;
            for seed in 0..SEEDS {
                let mut draws = Draws::new(design, 10, 3, seed as u64);
                for counts in &mut counts {
                    let (chosen, each) = draws.draw();
                    chosen.iter().for_each(|&i| counts[i] += 1);
                    probability = each;
                }
            }
            let (expected, n) = (probability * SEEDS as f64, SEEDS as f64);
            for (step, counts) in counts.iter().enumerate() {
                for (i, &count) in counts.iter().enumerate() {
                    let z = (f64::from(count) - expected) / (n * probability * (1.0 - probability)).sqrt();
                    assert!(z.abs() < 4.5, "{design}, step {step}, coordinate {i}: {count}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn a_sweep_visits_every_coordinate_once_and_every_design_each_as_often() {
        for (dim, width) in [(1, 1), (7, 3), (8, 2), (10, 10), (13, 4)] {
            for design in Design::ALL {
                let mut draws = Draws::new(design, dim, width, 5);
                let (sweeps, blocks) = (400, dim.div_ceil(width));
                let mut counts = vec![0; dim];
                let mut expected = 0.0;
                for _ in 0..sweeps {
                    let mut seen = vec![0; dim];
                    for _ in 0..blocks {
                        let (coordinates, probability) = draws.draw();
                        assert!(coordinates.len() <= width);
                        coordinates.iter().for_each(|&i| seen[i] += 1);
                        expected += probability;
                    }
                    assert!(design != Design::Sweep || seen.iter().all(|&count| count == 1), "{dim}, {width}");
                    counts.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen);
                }
                for count in counts {
                    let z = (f64::from(count) - expected) / expected.sqrt();
                    assert!(z.abs() < 5.0, "{design}, {dim}, {width}: {count} times, expected {expected}");
                }
            }
        }
    }
}
