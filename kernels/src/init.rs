//! Seeded networks and batches: the same seed gives the same numbers, bit for bit, on every machine.
//!
//! Uniform bits come from ChaCha8; normals from the polar method with `libm`'s software logarithm, since a platform's
//! own may differ in the last bit. Each array has a stream of its own, so that its numbers do not depend on the others.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use relgrad_vocabulary::names;

use crate::device::{Device, Matrix};
use crate::error::Result;
use crate::layer::Coupling;
use crate::network::Architecture;
use crate::parameters::{Arrays, Parameters};
use crate::scalar::Scalar;

names! {
    /// How weights are drawn.
    #[derive(Default)]
    Init, "initialisation", {
        /// An orthogonal matrix, condition number 1: a signed permutation times a product of min(D, 16) Householder
        /// reflections along normal vectors. O(D²), where a Haar-distributed one would take O(D³).
        #[default]
        Orthogonal = "orthogonal",
        /// Independent normals of variance 1/D. The condition number is of the order of D.
        ScaledGaussian = "gaussian",
    }
}

/// Reflections in an orthogonal weight: enough to make every entry nonzero, few enough to cost O(D²).
const REFLECTIONS: usize = 16;

/// Standard deviation of a bias.
const BIAS_SCALE: f64 = 0.1;

/// A network drawn from `seed`: weights as `init` says and the coupling keeps them, biases normal with standard
/// deviation 0.1; a conditional density that ignores its condition.
///
/// # Errors
/// [`OutOfMemory`](crate::Error::OutOfMemory), [`InvalidParameter`](crate::Error::InvalidParameter),
/// [`ShapeMismatch`](crate::Error::ShapeMismatch).
pub fn network<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
    device: &D,
    architecture: &Architecture<C>,
    init: Init,
    seed: u64,
) -> Result<Parameters<D, T, C>> {
    let mut arrays = Arrays::zeros(device, architecture, "parameters")?;
    for (k, weight) in arrays.weights.iter_mut().enumerate() {
        architecture.coupling.draw(device, architecture.dim, (init, seed, k), weight)?;
    }
    for (k, bias) in arrays.biases.iter_mut().enumerate() {
        fill_normal(device, &mut Normals::new(seed, Stream::Bias(k)), BIAS_SCALE, bias)?;
    }
    Parameters::new(*architecture, arrays)
}

/// The square weight of layer k (from 0).
pub(crate) fn square<D: Device<T>, T: Scalar>(
    device: &D,
    init: Init,
    seed: u64,
    k: usize,
    weight: &mut Matrix<D, T>,
) -> Result<()> {
    let mut normals = Normals::new(seed, Stream::Weight(k));
    match init {
        Init::Orthogonal => orthogonal(device, &mut normals, weight),
        Init::ScaledGaussian => {
            let scale = 1.0 / (weight.rows() as f64).sqrt();
            fill_normal(device, &mut normals, scale, weight)
        }
    }
}

/// A D×N batch of standard normals drawn from `seed`.
///
/// # Errors
/// [`OutOfMemory`](crate::Error::OutOfMemory).
pub fn batch<D: Device<T>, T: Scalar>(device: &D, dim: usize, samples: usize, seed: u64) -> Result<Matrix<D, T>> {
    let mut batch = Matrix::zeros(device, dim, samples, "batch")?;
    fill_normal(device, &mut Normals::new(seed, Stream::Batch), 1.0, &mut batch)?;
    Ok(batch)
}

/// `count` standard normals drawn from `seed`, for probes and latent samples.
pub fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut source = Normals::new(seed, Stream::Probe);
    (0..count).map(|_| source.next()).collect()
}

/// `count` uniforms in the open interval (0, 1) drawn from `seed`.
pub fn uniforms(seed: u64, count: usize) -> Vec<f64> {
    let mut source = Normals::new(seed, Stream::Uniform);
    (0..count).map(|_| source.uniform()).collect()
}

/// What a stream of random numbers is for.
enum Stream {
    Batch,
    Probe,
    Uniform,
    Weight(usize),
    Bias(usize),
}

/// A stream of standard normals.
struct Normals {
    bits: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normals {
    fn new(seed: u64, stream: Stream) -> Self {
        let mut bits = ChaCha8Rng::seed_from_u64(seed);
        bits.set_stream(match stream {
            Stream::Batch => 0,
            Stream::Probe => 1,
            Stream::Uniform => 2,
            Stream::Weight(k) => 16 + 2 * k as u64,
            Stream::Bias(k) => 17 + 2 * k as u64,
        });
        Self { bits, spare: None }
    }

    /// Midpoint of one of 2⁵³ equal cells of (0, 1).
    fn uniform(&mut self) -> f64 {
        const CELL: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.bits.next_u64() >> 11) as f64 + 0.5) * CELL
    }

    /// Marsaglia's polar method.
    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let factor = (-2.0 * libm::log(s) / s).sqrt();
                self.spare = Some(v * factor);
                return u * factor;
            }
        }
    }
}

/// Fills a matrix column by column, through one column of host memory.
fn fill_normal<D: Device<T>, T: Scalar>(
    device: &D,
    normals: &mut Normals,
    scale: f64,
    matrix: &mut Matrix<D, T>,
) -> Result<()> {
    let mut column = vec![T::default(); matrix.rows()];
    for j in 0..matrix.cols() {
        column.fill_with(|| T::of(scale * normals.next()));
        device.upload(&column, matrix.view_mut().columns(j, 1).into_slice())?;
    }
    Ok(())
}

fn orthogonal<D: Device<T>, T: Scalar>(device: &D, normals: &mut Normals, weight: &mut Matrix<D, T>) -> Result<()> {
    /// Columns built at a time, in parallel.
    const COLUMNS: usize = 64;
    let dim = weight.rows();
    let reflections: Vec<Vec<f64>> = (0..REFLECTIONS.min(dim)).map(|_| unit_vector(normals, dim)).collect();
    let mut order: Vec<usize> = (0..dim).collect();
    for i in (1..dim).rev() {
        order.swap(i, (normals.uniform() * (i + 1) as f64) as usize);
    }
    let signs: Vec<f64> = (0..dim).map(|_| if normals.uniform() < 0.5 { -1.0 } else { 1.0 }).collect();
    let mut columns = vec![T::default(); dim * COLUMNS.min(dim)];
    for start in (0..dim).step_by(COLUMNS) {
        let count = COLUMNS.min(dim - start);
        let columns = &mut columns[..dim * count];
        columns.par_chunks_mut(dim).enumerate().for_each(|(j, column)| {
            let mut wide = vec![0.0; dim];
            wide[order[start + j]] = signs[start + j];
            reflections.iter().for_each(|v| reflect(v, &mut wide));
            column.iter_mut().zip(wide).for_each(|(to, from)| *to = T::of(from));
        });
        device.upload(columns, weight.view_mut().columns(start, count).into_slice())?;
    }
    Ok(())
}

fn unit_vector(normals: &mut Normals, dim: usize) -> Vec<f64> {
    let mut v: Vec<f64> = (0..dim).map(|_| normals.next()).collect();
    let norm = dot(&v, &v).sqrt();
    v.iter_mut().for_each(|x| *x /= norm);
    v
}

/// x ← x − 2 v (vᵀx).
fn reflect(v: &[f64], x: &mut [f64]) {
    let twice = 2.0 * dot(v, x);
    x.iter_mut().zip(v).for_each(|(x, &v)| *x -= twice * v);
}

/// A dot product with a fixed order of summation, so that every machine rounds alike.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
