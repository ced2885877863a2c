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
        /// What is measured: min(D, 4) reflections of a permutation with entries ±e^t, t uniform in (−¼, ¼). Its
        /// condition number is at most e^½, and W Wᵀ, WᵀW and I differ, so that a check tells all forms of a gradient
        /// apart. O(D²), a few operations an entry.
        Conditioned = "conditioned",
        /// Independent normals of variance 1/D. The condition number is of the order of D.
        ScaledGaussian = "gaussian",
    }
}

/// Reflections in a conditioned weight: from D = 5 on every entry is nonzero.
const FEW_REFLECTIONS: usize = 4;
/// |t| below which its permutation has entries e^t.
const SPREAD: f64 = 0.25;

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
    for (k, of_layer) in arrays.biases.iter_mut().enumerate() {
        bias(device, seed, k, of_layer)?;
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
    columns_of_square(device, (init, seed, k), 0, weight)
}

/// The columns from `first` on of that weight, as many as `weight` has, without the others.
pub(crate) fn columns_of_square<D: Device<T>, T: Scalar>(
    device: &D,
    (init, seed, k): (Init, u64, usize),
    first: usize,
    weight: &mut Matrix<D, T>,
) -> Result<()> {
    let mut normals = Normals::new(seed, Stream::Weight(k));
    match init {
        Init::Orthogonal => orthogonal(device, &mut normals, first, weight),
        Init::Conditioned => conditioned(device, &mut normals, first, weight),
        Init::ScaledGaussian => {
            let scale = 1.0 / (weight.rows() as f64).sqrt();
            // Those of the columns before.
            for _ in 0..first * weight.rows() {
                normals.next();
            }
            fill_normal(device, &mut normals, scale, weight)
        }
    }
}

/// The bias of layer k (from 0), one column.
pub(crate) fn bias<D: Device<T>, T: Scalar>(device: &D, seed: u64, k: usize, bias: &mut Matrix<D, T>) -> Result<()> {
    fill_normal(device, &mut Normals::new(seed, Stream::Bias(k)), BIAS_SCALE, bias)
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

/// A stream of random signs, drawn without allocation.
pub(crate) struct Signs(ChaCha8Rng);

impl Signs {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Normals::new(seed, Stream::Probe).bits)
    }

    /// Fills `out` with ±1.
    pub(crate) fn fill<T: Scalar>(&mut self, out: &mut [T]) {
        for some in out.chunks_mut(u64::BITS as usize) {
            let mut bits = self.0.next_u64();
            for sign in some {
                *sign = T::of(if bits & 1 == 0 { 1.0 } else { -1.0 });
                bits >>= 1;
            }
        }
    }
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

fn orthogonal<D: Device<T>, T: Scalar>(
    device: &D,
    normals: &mut Normals,
    first: usize,
    weight: &mut Matrix<D, T>,
) -> Result<()> {
    let dim = weight.rows();
    let reflections: Vec<Vec<f64>> = (0..REFLECTIONS.min(dim)).map(|_| unit_vector(normals, dim)).collect();
    let order = permutation(normals, dim);
    let signs: Vec<f64> = (0..dim).map(|_| if normals.uniform() < 0.5 { -1.0 } else { 1.0 }).collect();
    columns(device, first, weight, |j, column| {
        let mut wide = vec![0.0; dim];
        wide[order[j]] = signs[j];
        reflections.iter().for_each(|v| reflect(v, &mut wide));
        column.iter_mut().zip(wide).for_each(|(to, from)| *to = T::of(from));
    })
}

/// H_1 … H_r = I − V R Vᵀ with R upper triangular (compact WY form: Schreiber & Van Loan, SIAM Journal on Scientific
/// and Statistical Computing 10, 1989), so that column j is s_j times that of the point π(j): r multiply-adds an entry.
fn conditioned<D: Device<T>, T: Scalar>(
    device: &D,
    normals: &mut Normals,
    first: usize,
    weight: &mut Matrix<D, T>,
) -> Result<()> {
    const R: usize = FEW_REFLECTIONS;
    let dim = weight.rows();
    let vectors: Vec<Vec<f64>> =
        (0..R).map(|r| if r < dim { unit_vector(normals, dim) } else { vec![0.0; dim] }).collect();
    let order = permutation(normals, dim);
    let scales: Vec<f64> = (0..dim)
        .map(|_| {
            let t = 2.0 * normals.uniform() - 1.0;
            // The sign of a uniform number is as good as another one.
            libm::exp(SPREAD * (2.0 * t.abs() - 1.0)).copysign(t)
        })
        .collect();
    let mut triangle = [[0.0; R]; R];
    for r in 0..R {
        triangle[r][r] = 2.0;
        let products: Vec<f64> = (0..r).map(|k| dot(&vectors[k], &vectors[r])).collect();
        for (row, of_row) in triangle.iter_mut().enumerate().take(r) {
            of_row[r] = -2.0 * (row..r).map(|k| of_row[k] * products[k]).sum::<f64>();
        }
    }
    let [a, b, c, d] = [&vectors[0], &vectors[1], &vectors[2], &vectors[3]];
    columns(device, first, weight, |j, column| {
        let (point, scale) = (order[j], scales[j]);
        let factor = |row: usize| -scale * (row..R).map(|k| triangle[row][k] * vectors[k][point]).sum::<f64>();
        let [fa, fb, fc, fd] = [factor(0), factor(1), factor(2), factor(3)];
        for ((((to, a), b), c), d) in column.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *to = T::of((fa * a + fb * b) + (fc * c + fd * d));
        }
        let products = [fa * a[point], fb * b[point], fc * c[point], fd * d[point]];
        column[point] = T::of(scale + products.iter().sum::<f64>());
    })
}

/// Fills a matrix column by column, in parallel, through some columns of host memory; they are counted from `first`.
fn columns<D: Device<T>, T: Scalar>(
    device: &D,
    first: usize,
    weight: &mut Matrix<D, T>,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Result<()> {
    /// Columns built at a time.
    const COLUMNS: usize = 64;
    let (dim, cols) = weight.shape();
    let mut columns = vec![T::default(); dim * COLUMNS.min(cols)];
    for start in (0..cols).step_by(COLUMNS) {
        let count = COLUMNS.min(cols - start);
        let columns = &mut columns[..dim * count];
        columns.par_chunks_mut(dim).enumerate().for_each(|(j, column)| fill(first + start + j, column));
        device.upload(columns, weight.view_mut().columns(start, count).into_slice())?;
    }
    Ok(())
}

fn permutation(normals: &mut Normals, dim: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dim).collect();
    for i in (1..dim).rev() {
        order.swap(i, (normals.uniform() * (i + 1) as f64) as usize);
    }
    order
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
