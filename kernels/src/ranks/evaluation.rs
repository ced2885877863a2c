//! One gradient or step over ranks as something to be checked and timed.

use super::columns::ColumnBlock;
use super::sweep::ColumnWorkspace;
use super::transport::Transport;
use crate::backend::{BiasMode, GradientBackend, Relative};
use crate::check::{self, Check};
use crate::device::{Addend, Cpu, Device, Matrix};
use crate::error::Result;
use crate::evaluation::{CHECKED_STEP, TIMED_STEP};
use crate::init::{self, Init, Signs};
use crate::math::Math;
use crate::network::Architecture;
use crate::parameters::{Arrays, Gradient, Parameters};
use crate::scalar::Scalar;
use crate::step::InPlaceStep;

/// What ranks evaluate together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankWorkload {
    /// The network, whose weights are split by columns.
    pub architecture: Architecture,
    /// How its weights are drawn.
    pub init: Init,
    /// N.
    pub batch: usize,
    /// Seed of network and batch.
    pub seed: u64,
    /// Whether the gradient is stored. Otherwise an evaluation is one in-place step.
    pub stored: bool,
}

/// The share of one rank, all memory taken.
pub struct RankEvaluation<T: Scalar> {
    device: Cpu,
    workload: RankWorkload,
    block: ColumnBlock<Cpu, T>,
    work: ColumnWorkspace<Cpu, T>,
    /// The rank's rows of the batch.
    x: Matrix<Cpu, T>,
    gradient: Option<Gradient<Cpu, T>>,
}

/// Dimension up to which the problem itself is compared with one rank's; beyond it is the same problem of this one.
const COMPARED_DIM: usize = 300;
/// Large enough for what it moves a weight by to stand out of sums of thousands of terms in f32.
const PROBED_STEP: f64 = 0.1;

impl<T: Scalar> RankEvaluation<T> {
    /// Takes the memory of a rank and fills in its numbers, without those of others.
    ///
    /// # Errors
    /// Those of [`ColumnBlock::draw`] and [`ColumnWorkspace::new`].
    pub fn new(device: Cpu, workload: &RankWorkload, (ranks, rank): (usize, usize)) -> Result<Self> {
        let RankWorkload { architecture, init, batch, seed, stored } = *workload;
        let block = ColumnBlock::draw(&device, &architecture, (init, seed), (ranks, rank))?;
        let x = block.rows_of(&device, init::batch(&device, architecture.dim, batch, seed)?.view())?;
        let work = ColumnWorkspace::new(&device, &block, batch)?;
        let gradient = stored.then(|| block.zero_gradient(&device)).transpose()?;
        Ok(Self { device, workload: *workload, block, work, x, gradient })
    }

    /// One gradient, or one step. Allocates nothing. This is the timed region.
    ///
    /// # Errors
    /// Those of [`ColumnWorkspace::gradient`] and [`ColumnWorkspace::step`].
    pub fn evaluate(&mut self, transport: &mut (impl Transport<T> + ?Sized)) -> Result<()> {
        self.move_by((&InPlaceStep::default(), TIMED_STEP), transport)
    }

    /// Compares the ranks with one rank: the gradient, or the movement of a step, of this problem up to D = 300. Beyond
    /// it is that of a problem of D = 300, and for this one the product of the first layer's direction with a random
    /// vector, from its two factors. The error is the largest of all ranks and the same on each. Takes steps, where it
    /// is steps that are evaluated.
    ///
    /// # Errors
    /// Those of [`Self::new`] and [`Self::evaluate`].
    pub fn check(&mut self, transport: &mut (impl Transport<T> + ?Sized)) -> Result<Check> {
        let compared = self.compare(transport)?;
        let is_whole = self.workload.architecture.dim <= COMPARED_DIM;
        let probed = if is_whole { 0.0 } else { self.probe(transport)? };
        let max_rel_err = worst(compared, probed);
        Ok(Check { kind: "one-rank", max_rel_err, tolerance: check::tolerance(Math::of(T::DTYPE)) })
    }

    /// The largest error of all ranks against one rank.
    fn compare(&self, transport: &mut (impl Transport<T> + ?Sized)) -> Result<f64> {
        let (ranks, rank) = (transport.ranks(), transport.rank());
        let dim = self.workload.architecture.dim.min(COMPARED_DIM.max(ranks));
        let workload =
            RankWorkload { architecture: Architecture { dim, ..self.workload.architecture }, ..self.workload };
        let mut small = Self::new(self.device, &workload, (ranks, rank))?;
        let before = (!workload.stored).then(|| host(small.block.arrays())).transpose()?;
        // A step that the guard does not shorten stands out of the rounding of the weights.
        let rule = InPlaceStep { guard: false, ..InPlaceStep::default() };
        small.move_by((&rule, CHECKED_STEP), transport)?;
        let found = host(small.gradient.as_ref().unwrap_or(small.block.arrays()))?;
        let expected = of_one_rank::<T>(&self.device, &workload, &rule)?;
        let expected = host(ColumnBlock::of(&self.device, &expected, (ranks, rank))?.arrays())?;
        let mut errors = vec![0.0; ranks];
        errors[rank] = error(&found, &expected, before.as_deref());
        transport.all_reduce(&mut errors)?;
        Ok(errors.into_iter().fold(0.0, worst))
    }

    /// How far the direction of the first layer takes a vector t of random signs from where its factors do: ΔW t =
    /// (1/N) δ Yᵀs + s, s = Wt; of a step that times μ.
    fn probe(&mut self, transport: &mut (impl Transport<T> + ?Sized)) -> Result<f64> {
        let (split, rank) = (self.block.split(), transport.rank());
        let mut signs = vec![T::default(); split.total()];
        Signs::new(self.workload.seed).fill(&mut signs);
        let signs = &signs[split.start(rank)..][..split.count(rank)];
        let s = product(&self.device, &self.block.arrays().weights[0], signs, transport)?;
        let rule = InPlaceStep { guard: false, ..InPlaceStep::default() };
        self.move_by((&rule, PROBED_STEP), transport)?;
        let moved = self.gradient.as_ref().unwrap_or(self.block.arrays());
        let mut found = product(&self.device, &moved.weights[0], signs, transport)?;
        let mu = if self.workload.stored { 1.0 } else { PROBED_STEP };
        if !self.workload.stored {
            found.iter_mut().zip(&s).for_each(|(found, s)| *found -= s);
        }
        let (y, delta) = self.work.factors();
        let [y, delta] = [self.device.to_host(y)?, self.device.to_host(delta)?];
        let mut expected: Vec<f64> = s.iter().map(|s| mu * s).collect();
        for (y, delta) in y.chunks_exact(s.len()).zip(delta.chunks_exact(s.len())) {
            let along = y.iter().zip(&s).map(|(y, s)| y.widen() * s).sum::<f64>() * mu / self.workload.batch as f64;
            expected.iter_mut().zip(delta).for_each(|(sum, delta)| *sum += along * delta.widen());
        }
        Ok(error(&[found], &[expected], None))
    }

    fn move_by(&mut self, (rule, mu): (&InPlaceStep, f64), transport: &mut (impl Transport<T> + ?Sized)) -> Result<()> {
        let Self { device, block, work, x, gradient, .. } = self;
        match gradient {
            Some(gradient) => work.gradient(device, block, x.view(), BiasMode::Exact, transport, gradient),
            None => work.step(device, block, x.view(), (rule, mu), transport, None).map(|_| ()),
        }
    }
}

/// The gradient, or the parameters after a step, by the code for one rank.
fn of_one_rank<T: Scalar>(device: &Cpu, workload: &RankWorkload, rule: &InPlaceStep) -> Result<Parameters<Cpu, T>> {
    let RankWorkload { architecture, init, batch, seed, stored } = *workload;
    let mut parameters = init::network(device, &architecture, init, seed)?;
    let x = init::batch(device, architecture.dim, batch, seed)?;
    if stored {
        let backend = Relative::default();
        let mut gradient = Gradient::zeros(device, &architecture, "gradient of one rank")?;
        let mut work = backend.workspace(device, &architecture, batch)?;
        backend.gradient(device, &parameters, x.view(), &mut work, &mut gradient)?;
        return Parameters::new(architecture, gradient);
    }
    let mut work = rule.workspace(device, &architecture, batch)?;
    rule.step(device, &mut parameters, x.view(), CHECKED_STEP, &mut work, None)?;
    Ok(parameters)
}

/// Σ over ranks of a rank's columns of a matrix times its part of a vector, in f64.
fn product<T: Scalar>(
    device: &Cpu,
    columns: &Matrix<Cpu, T>,
    vector: &[T],
    transport: &mut (impl Transport<T> + ?Sized),
) -> Result<Vec<f64>> {
    let vector = Matrix::from_column_major(device, vector, vector.len(), 1, "random signs")?;
    let mut out = Matrix::zeros(device, columns.rows(), 1, "product with random signs")?;
    let (left, right) = (columns.view().plain(), vector.view().plain());
    device.multiply(T::of(1.0), left, right, Addend::Zero, out.view_mut())?;
    let mut sum: Vec<f64> = out.to_column_major(device)?.into_iter().map(Scalar::widen).collect();
    transport.all_reduce(&mut sum)?;
    Ok(sum)
}

/// The larger of two errors; one that is no number is the largest.
fn worst(worst: f64, error: f64) -> f64 {
    if error > worst || error.is_nan() { error } else { worst }
}

/// Every array, in f64.
fn host<T: Scalar>(arrays: &Arrays<Cpu, T>) -> Result<Vec<Vec<f64>>> {
    let wide = |array: &Matrix<Cpu, T>| {
        array.to_column_major(&Cpu::new(1)).map(|numbers| numbers.into_iter().map(Scalar::widen).collect())
    };
    arrays.iter().map(wide).collect()
}

/// ‖found − expected‖ over ‖expected − before‖ of the array where that is largest.
fn error(found: &[Vec<f64>], expected: &[Vec<f64>], before: Option<&[Vec<f64>]>) -> f64 {
    let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let of_array = |place: usize| {
        let (found, expected) = (&found[place], &expected[place]);
        let off = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
        let moved = match before {
            Some(before) => norm(&mut expected.iter().zip(&before[place]).map(|(a, b)| a - b)),
            None => norm(&mut expected.iter().copied()),
        };
        off / moved
    };
    (0..expected.len()).map(of_array).fold(0.0, worst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::{Threads, bytes_of_columns, on_threads};

    fn checked<T: Scalar>(workload: &RankWorkload, ranks: usize) -> Vec<(Check, u64)> {
        let found = on_threads(ranks, |transport: &mut Threads<'_, T>| {
            let mut evaluation = RankEvaluation::new(Cpu::new(1), workload, (ranks, transport.rank()))?;
            evaluation.evaluate(transport)?;
            let bytes = transport.traffic().received_bytes;
            Ok((evaluation.check(transport)?, bytes))
        });
        found.unwrap()
    }

    #[test]
    fn every_rank_passes_the_check_and_moves_what_the_formula_says() {
        for (dim, stored, bias) in [(37, true, true), (37, false, true), (301, true, false), (301, false, false)] {
            let architecture = Architecture { bias, ..Architecture::new(dim, 2) };
            let workload = RankWorkload { architecture, init: Init::Conditioned, batch: 10, seed: 1, stored };
            let found = checked::<f32>(&workload, 3);
            for (check, _) in &found {
                assert!(check.passed() && *check == found[0].0, "D = {dim}, stored: {stored}, {check:?}");
            }
            let bytes: u64 = found.iter().map(|rank| rank.1).sum();
            assert_eq!(bytes as f64, bytes_of_columns(&architecture, (10, 3), crate::Dtype::F32));
            assert!(checked::<f64>(&workload, 3)[0].0.passed());
        }
    }

    /// A wrong number in the direction shows at every size.
    #[test]
    fn a_wrong_direction_does_not_pass() {
        let architecture = Architecture::new(301, 1);
        let workload = RankWorkload { architecture, init: Init::Conditioned, batch: 10, seed: 1, stored: false };
        let probed = on_threads(2, |transport: &mut Threads<'_, f64>| {
            let mut evaluation = RankEvaluation::new(Cpu::new(1), &workload, (2, transport.rank()))?;
            let right = evaluation.probe(transport)?;
            // Another factor of the data's share than that of the batch.
            evaluation.workload.batch = 11;
            Ok((right, evaluation.probe(transport)?))
        });
        for (right, wrong) in probed.unwrap() {
            assert!(right < 1e-10 && wrong > 1e-3, "{right:e} {wrong:e}");
        }
    }

    #[test]
    fn an_error_is_relative_to_the_movement() {
        let [found, expected, before] = [[3.0, 4.5], [3.0, 4.0], [0.0, 0.0]].map(|numbers| vec![numbers.to_vec()]);
        assert_eq!(error(&found, &expected, None), 0.1);
        assert_eq!(error(&found, &expected, Some(&before)), 0.1);
        assert!(error(&[vec![f64::NAN]], &[vec![1.0]], None).is_nan());
    }
}
