//! Rates of arithmetic, through the kernels' operations.

use relgrad_kernels::device::{Addend, Device, Inversion, Matrix};
use relgrad_kernels::{Architecture, Init, Math, Result, Scalar, init};
use relgrad_reports::roofline::{Operation, Rate};

use super::Bench;
use super::timing::{Timing, time};
use crate::measure::workload::DeviceKind;

/// Scale of an accumulated product: thousands of repetitions leave the numbers of the same size.
const GAIN: f64 = 1e-6;

/// The dimensions at which each kind of operation is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    square: &'static [usize],
    skinny: &'static [usize],
    inverse: &'static [usize],
}

impl Sizes {
    /// A GPU needs larger products to be busy.
    pub(super) const fn of(device: DeviceKind, quick: bool) -> Self {
        match (device, quick) {
            (DeviceKind::Cpu, false) => {
                Self { square: &[512, 1024, 2048], skinny: &[100, 1000, 5000], inverse: &[500, 1000, 2000] }
            }
            (DeviceKind::Cpu, true) => Self { square: &[512, 1024], skinny: &[1000], inverse: &[500] },
            (DeviceKind::Cuda, false) => {
                Self { square: &[1024, 4096, 8192], skinny: &[1000, 5000, 20_000], inverse: &[1000, 2000, 5000] }
            }
            (DeviceKind::Cuda, true) => Self { square: &[4096, 8192], skinny: &[5000], inverse: &[2000] },
        }
    }
}

impl Sizes {
    /// Bytes of the factors and results of the largest skinny product, in f64.
    pub(super) fn skinny_bytes(&self, batch: usize) -> f64 {
        let dim = self.skinny.iter().copied().max().unwrap_or(0);
        2.0 * size_of::<f64>() as f64 * 2.0 * batch as f64 * dim as f64
    }
}

/// Every operation in precision `T`; inverses, whose products are in full precision, where all products are.
pub(super) fn rates<D: Device<T>, T: Scalar>(bench: &Bench<D>) -> Result<Vec<Rate>> {
    let sizes = bench.sizes;
    let square = sizes.square.iter().map(|&dim| Ok(vec![square(bench, dim)?]));
    let skinny = sizes.skinny.iter().map(|&dim| skinny(bench, dim));
    let exact = bench.device.math() == Math::of(T::DTYPE);
    let inverse = sizes.inverse.iter().filter(|_| exact).map(|&dim| Ok(vec![inverse(bench, dim)?]));
    Ok(square.chain(skinny).chain(inverse).collect::<Result<Vec<_>>>()?.concat())
}

/// C ← A B.
fn square<D: Device<T>, T: Scalar>(bench: &Bench<D>, dim: usize) -> Result<Rate> {
    let Bench { device, effort, .. } = bench;
    let [a, b] = [numbers(device, dim, dim)?, numbers(device, dim, dim)?];
    let mut c = Matrix::zeros(device, dim, dim, "product")?;
    let timing = time(effort, || {
        device.multiply(T::of(1.0), a.view().plain(), b.view().plain(), Addend::Zero, c.view_mut())?;
        device.synchronize()
    })?;
    let flops = 2.0 * (dim as f64).powi(3);
    Ok(rate(bench, Operation::SquareProduct, dim, None, flops, timing))
}

/// The three products of the relative gradient with one D×D weight.
fn skinny<D: Device<T>, T: Scalar>(bench: &Bench<D>, dim: usize) -> Result<Vec<Rate>> {
    let Bench { device, effort, batch, .. } = bench;
    let batch = *batch;
    let one = T::of(1.0);
    let mut w = numbers(device, dim, dim)?;
    let pair = numbers(device, dim, 2 * batch)?;
    let mut out = Matrix::zeros(device, dim, 2 * batch, "product")?;
    let product = 2.0 * batch as f64 * (dim as f64).powi(2);
    let rate = |operation, flops, timing| rate(bench, operation, dim, Some(batch), flops, timing);

    let forward = time(effort, || {
        let z = pair.view().columns(0, batch);
        let y = out.view_mut().columns(0, batch);
        device.multiply(one, w.view().plain(), z.plain(), Addend::Zero, y)?;
        device.synchronize()
    })?;
    let pull_back = time(effort, || {
        device.multiply(one, w.view().transposed(), pair.view().plain(), Addend::Zero, out.view_mut())?;
        device.synchronize()
    })?;
    let outer = time(effort, || {
        let (delta, u) = (pair.view().columns(0, batch), pair.view().columns(batch, batch));
        let addend = Addend::Scaled(T::of(1.0 + GAIN));
        device.multiply(T::of(GAIN), delta.plain(), u.transposed(), addend, w.view_mut())?;
        device.synchronize()
    })?;
    Ok(vec![
        rate(Operation::ForwardProduct, product, forward),
        rate(Operation::PullBackProduct, 2.0 * product, pull_back),
        rate(Operation::OuterProduct, product, outer),
    ])
}

/// A⁻ᵀ; the copy that restores the overwritten A is in the time, O(D²) beside O(D³).
fn inverse<D: Device<T>, T: Scalar>(bench: &Bench<D>, dim: usize) -> Result<Rate> {
    let Bench { device, effort, .. } = bench;
    let network = init::network(device, &Architecture::new(dim, 1), Init::Orthogonal, 1)?;
    let mut factors = Matrix::zeros(device, dim, dim, "LU factors")?;
    let mut out = Matrix::zeros(device, dim, dim, "inverse")?;
    let mut work = device.factorization(dim, 1)?;
    let mut report = [Inversion { log_abs_det: 0.0, condition: 0.0 }];
    let timing = time(effort, || {
        device.copy(network.weight(0), factors.view_mut())?;
        device.invert_transposed(factors.view_mut(), out.view_mut(), &mut work, &mut report)?;
        device.synchronize()
    })?;
    let flops = 2.0 * (dim as f64).powi(3);
    Ok(rate(bench, Operation::Inverse, dim, None, flops, timing))
}

fn rate<D: Device<T>, T: Scalar>(
    bench: &Bench<D>,
    operation: Operation,
    dim: usize,
    batch: Option<usize>,
    flops: f64,
    timing: Timing,
) -> Rate {
    let flops_per_second = flops / timing.median_seconds();
    let Timing { seconds, evaluations_per_sample } = timing;
    let (math, threads) = (bench.device.math(), bench.threads);
    Rate { operation, math, threads, dim, batch, flops, seconds, evaluations_per_sample, flops_per_second }
}

/// Normal numbers, none of them zero or denormal; a period that is no divisor of a column keeps the columns apart.
pub(crate) fn numbers<D: Device<T>, T: Scalar>(device: &D, rows: usize, cols: usize) -> Result<Matrix<D, T>> {
    const PERIOD: usize = 4099;
    let normals: Vec<T> = init::normals(1, PERIOD).into_iter().map(T::of).collect();
    let mut source = normals.iter().copied().cycle();
    let mut matrix = Matrix::zeros(device, rows, cols, "operand")?;
    let mut column = vec![T::default(); rows];
    for j in 0..cols {
        column.iter_mut().zip(&mut source).for_each(|(to, from)| *to = from);
        device.upload(&column, matrix.view_mut().columns(j, 1).into_slice())?;
    }
    Ok(matrix)
}
