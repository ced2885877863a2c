//! W = Q U with Q = H_1 … H_{D−1} \[M53\]–\[M56\].

use faer::{MatMut, MatRef};
use nalgebra::DMatrix;
use rayon::prelude::*;

use super::host;
use super::reflections::{BlockScratch, Reflections, triangularize};
use super::{how, multiply, require_rows, singular, split_diagonal, write_diagonal};
use crate::bound::cost_of_dense;
use crate::cost::{Cost, Sizes};
use crate::device::{Addend, Cpu, Half, HalfOuter, Matrix, MatrixMut, MatrixRef, Solvable, Triangular};
use crate::error::{Error, Result};
use crate::init::{Init, square};
use crate::inversion::Solve;
use crate::layer::{Coupling, Extent, Geometry, MaybeGroup, SeenBlock, finite_log_det};
use crate::method::Method;
use crate::parameters::{Arrays, Layer};
use crate::scalar::Scalar;

/// y = H_1 … H_{D−1} (U z) + b: reflections H_i = I − 2 h_i h_iᵀ/‖h_i‖² along h_i that is zero above entry i, and U
/// with s_i exp(d_i), s_i = ±1, on its diagonal.
///
/// Of the array's first D columns the lower part with the diagonal is \[h_1 …\], but for its last entry, which is zero,
/// and the strict upper part that of U; then come d, and s, which does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qr {
    /// Reflections that are multiplied with together.
    pub block: usize,
}

impl Default for Qr {
    fn default() -> Self {
        Self { block: BLOCK }
    }
}

impl Qr {
    /// n of layers of a dimension.
    fn size(self, dim: usize) -> usize {
        self.block.clamp(1, dim.max(2) - 1)
    }
}

/// Fewer are slower products, more are more of them.
pub(crate) const BLOCK: usize = 32;

type Ref<'a, T> = MatrixRef<'a, Cpu, T>;
type Mut<'a, T> = MatrixMut<'a, Cpu, T>;

impl Geometry for Qr {
    fn validate(&self, dim: usize) -> Result<()> {
        require_rows(dim)
    }

    fn weight_shape(&self, dim: usize) -> [usize; 2] {
        [dim, dim + 2]
    }

    fn own_method(&self) -> Option<Method> {
        Some(Method::Qr)
    }

    fn cost(&self, _method: Method, shape: &Sizes) -> Result<Cost> {
        Ok(cost_of_dense(Method::Qr, shape))
    }
}

/// What a pass reads of a layer's array once, and what it keeps.
pub struct Work<T: Scalar> {
    layers: Vec<QrNumbers<T>>,
    /// T Hᵀz of every block of each layer; D×LN.
    inner: Matrix<Cpu, T>,
    /// Q U z of each layer; D×LN.
    outputs: Matrix<Cpu, T>,
    /// A block's input and its error, on the way back; D×N.
    blocks: [Matrix<Cpu, T>; 2],
    scratch: BlockScratch<T>,
}

/// The numbers of a layer's array beside its upper triangle.
struct QrNumbers<T> {
    /// u_ii.
    diagonal: Vec<T>,
    /// u_ii times its mean derivative, on the way to that of d.
    slopes: Vec<T>,
    reflections: Reflections<T>,
}

impl<T: Scalar> QrNumbers<T> {
    fn new(dim: usize, block: usize) -> Self {
        let [diagonal, slopes] = [0, 1].map(|_| vec![T::default(); dim]);
        Self { diagonal, slopes, reflections: Reflections::new(dim, block) }
    }

    /// Reads an array.
    fn read(&mut self, device: &Cpu, array: Ref<'_, T>) -> Result<()> {
        let (array, logs, signs) = parts(array);
        write_diagonal(logs.iter().copied(), signs, &mut self.diagonal)?;
        self.reflections.read(how::<T>(device), array)
    }
}

/// The D columns of reflections and triangle, d, and s.
fn parts<T: Scalar>(array: Ref<'_, T>) -> (&[T], &[T], &[T]) {
    let dim = array.rows();
    let (triangles, columns) = array.slice().split_at(dim * dim);
    let (logs, signs) = columns.split_at(dim);
    (triangles, logs, signs)
}

impl<T: Scalar> Work<T> {
    /// The numbers of layer k for so many samples, of what has D×N for each.
    fn of(all: &mut Matrix<Cpu, T>, layers: usize, k: usize, samples: usize) -> &mut [T] {
        let room = all.cols() / layers;
        all.view_mut().columns(k * room, samples).into_slice()
    }
}

fn block<T: Scalar>(dim: usize, numbers: &mut [T]) -> MatMut<'_, T> {
    let samples = numbers.len() / dim;
    MatMut::from_column_major_slice_mut(numbers, dim, samples)
}

impl<T: Scalar> Coupling<Cpu, T> for Qr {
    const IS_LINEAR: bool = false;
    type Work = Work<T>;
    type Inverse = ();

    fn work(&self, device: &Cpu, Extent { dim, layers, batch, .. }: Extent) -> Result<Work<T>> {
        let block = |count: usize, what| Matrix::zeros(device, dim, count.saturating_mul(batch), what);
        Ok(Work {
            layers: (0..layers).map(|_| QrNumbers::new(dim, self.size(dim))).collect(),
            inner: block(layers, "products with reflections")?,
            outputs: block(layers, "outputs of reflections")?,
            blocks: [block(1, "inputs of reflections")?, block(1, "errors of reflections")?],
            scratch: BlockScratch::new(self.size(dim), batch),
        })
    }

    fn inverse(&self, _device: &Cpu, _dim: usize) -> Result<()> {
        Ok(())
    }

    fn prepare(&self, device: &Cpu, arrays: &Arrays<Cpu, T>, work: &mut Work<T>) -> Result<()> {
        work.layers.iter_mut().zip(&arrays.weights).try_for_each(|(numbers, array)| numbers.read(device, array.view()))
    }

    fn push(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        z: Ref<'_, T>,
        y: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let (dim, samples) = z.shape();
        let (k, (array, ..)) = (layer.index, parts(layer.weight));
        let Work { layers, inner, outputs, scratch, .. } = work;
        let count = layers.len();
        let QrNumbers { diagonal, reflections, .. } = &layers[k];
        let (inner, output) = (Work::of(inner, count, k, samples), Work::of(outputs, count, k, samples));
        multiply(device, Triangular::upper(array, diagonal), dim, z.slice(), output);
        reflections.multiply(how::<T>(device), array, output, inner, &mut scratch.inner);
        y.into_slice().copy_from_slice(output);
        Ok(())
    }

    fn pull(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        delta: Ref<'_, T>,
        v: Mut<'_, T>,
        work: &mut Work<T>,
    ) -> Result<()> {
        let (dim, samples) = delta.shape();
        let (array, ..) = parts(layer.weight);
        let Work { layers, blocks: [_, pulled], scratch, .. } = work;
        let QrNumbers { diagonal, reflections, .. } = &layers[layer.index];
        let pulled = pulled.view_mut().columns(0, samples).into_slice();
        pulled.copy_from_slice(delta.slice());
        let BlockScratch { e, inner, .. } = scratch;
        reflections.multiply_transposed(how::<T>(device), array, block(dim, pulled), [e, inner]);
        multiply(device, Triangular::upper(array, diagonal).transposed(), dim, pulled, v.into_slice());
        Ok(())
    }

    /// Only at a layer, by [`Coupling::differentiate`].
    fn outer(
        &self,
        _device: &Cpu,
        _alpha: T,
        _factors: (SeenBlock<'_, Cpu, T>, SeenBlock<'_, Cpu, T>),
        _addend: Addend<'_, Cpu, T>,
        _out: Mut<'_, T>,
        _work: &mut Work<T>,
    ) -> Result<()> {
        Err(Error::shape("outer product", "layers that are linear in their numbers", format!("{self:?}")))
    }

    fn differentiate(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        (alpha, _): (T, T),
        (delta, carried): (Ref<'_, T>, Ref<'_, T>),
        (v, out): (Option<Mut<'_, T>>, Mut<'_, T>),
        work: &mut Work<T>,
    ) -> Result<()> {
        let (dim, samples) = delta.shape();
        let (k, (array, ..), how) = (layer.index, parts(layer.weight), how::<T>(device));
        let Work { layers, inner, outputs, blocks: [input, pulled], scratch } = work;
        let count = layers.len();
        let QrNumbers { diagonal, slopes, reflections } = &mut layers[k];
        let (inner, output) = (Work::of(inner, count, k, samples), Work::of(outputs, count, k, samples));
        let [input, pulled] = [input, pulled].map(|of| of.view_mut().columns(0, samples).into_slice());
        input.copy_from_slice(output);
        pulled.copy_from_slice(delta.slice());
        let (triangles, columns) = out.into_slice().split_at_mut(dim * dim);
        for index in 0..reflections.count() {
            let of = reflections.block(index, array);
            let (c, start, width) = (of.part(inner, samples), of.start, of.width());
            let out = block(dim, &mut triangles[start * dim..(start + width) * dim]);
            of.differentiate(how, alpha, c, [block(dim, input), block(dim, pulled)], out, scratch);
        }
        triangles[dim * dim - 1] = T::default();
        if let Some(v) = v {
            multiply(device, Triangular::upper(array, diagonal).transposed(), dim, pulled, v.into_slice());
        }
        let upper = HalfOuter { half: Half::Upper, alpha, left: pulled, right: carried.slice() };
        T::half_outer(how, dim, upper, triangles, Some(&mut *slopes));
        let (logs, signs) = columns.split_at_mut(dim);
        for ((log, &u), &slope) in logs.iter_mut().zip(&*diagonal).zip(&*slopes) {
            *log = T::of(1.0) + u * slope;
        }
        signs.fill(T::default());
        Ok(())
    }

    /// Nothing: in these numbers the derivative of log|det W| is 1 in each d, which [`Coupling::differentiate`] adds.
    fn invert_transposed(
        &self,
        _device: &Cpu,
        _layer: &Layer<'_, Cpu, T>,
        _out: Mut<'_, T>,
        _inverse: &mut (),
        _work: &mut Work<T>,
    ) -> Result<()> {
        Ok(())
    }

    fn to_dense(&self, device: &Cpu, weight: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
        let dim = weight.rows();
        let mut numbers = QrNumbers::new(dim, self.size(dim));
        numbers.read(device, weight)?;
        let (array, ..) = parts(weight);
        let out = out.into_slice();
        for (j, column) in out.chunks_exact_mut(dim).enumerate() {
            column.fill(T::default());
            column[..j].copy_from_slice(&array[j * dim..][..j]);
            column[j] = numbers.diagonal[j];
        }
        let mut inner = Matrix::<Cpu, T>::zeros(device, dim, dim, "products with reflections")?;
        let mut scratch = BlockScratch::new(self.size(dim), dim);
        let inner = inner.view_mut().into_slice();
        numbers.reflections.multiply(how::<T>(device), array, out, inner, &mut scratch.inner);
        Ok(())
    }

    fn sum_entries(&self, _device: &Cpu, weight: Ref<'_, T>, dense: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
        host::sum_reflections(weight.rows(), weight.slice(), dense.slice(), out.into_slice());
        Ok(())
    }

    fn tangent(
        &self,
        _device: &Cpu,
        weight: Ref<'_, T>,
        rank_one: (&[f64], &[f64]),
        z: &DMatrix<f64>,
    ) -> Result<(DMatrix<f64>, f64)> {
        Ok(host::reflections_tangent(weight.slice(), rank_one, z))
    }

    fn draw(
        &self,
        device: &Cpu,
        dim: usize,
        (init, seed, k): (Init, u64, usize),
        weight: &mut Matrix<Cpu, T>,
    ) -> Result<()> {
        let mut dense = Matrix::zeros(device, dim, dim, "dense weight")?;
        square(device, init, seed, k, &mut dense)?;
        self.take_dense(device, k, dense.view(), weight.view_mut())
    }

    /// Its QR decomposition, with ‖h_i‖² = 2.
    fn take_dense(&self, device: &Cpu, k: usize, dense: Ref<'_, T>, weight: Mut<'_, T>) -> Result<()> {
        let (dim, how) = (dense.rows(), how::<T>(device));
        let (array, columns) = weight.into_slice().split_at_mut(dim * dim);
        array.copy_from_slice(dense.slice());
        let mut diagonal = vec![0.0; dim];
        let mut reflections = Reflections::new(dim, self.size(dim));
        let mut scratch = BlockScratch::new(self.size(dim), dim);
        for index in 0..reflections.count() {
            let range = reflections.columns(index);
            triangularize(dim, range.clone(), array, &mut diagonal);
            reflections.read_block(how, index, array)?;
            let (before, behind) = array.split_at_mut(range.end * dim);
            let BlockScratch { e, inner, .. } = &mut scratch;
            reflections.block(index, before).reflect_back(how, block(dim, behind), [e, inner]);
        }
        diagonal[dim - 1] = array[dim * dim - 1].widen();
        array[dim * dim - 1] = T::default();
        let (logs, signs) = columns.split_at_mut(dim);
        for ((log, sign), &u) in logs.iter_mut().zip(signs).zip(&diagonal) {
            (*sign, *log) = split_diagonal(k, u)?;
        }
        Ok(())
    }

    /// Σ d.
    fn log_abs_det(&self, _device: &Cpu, _dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<f64> {
        let (_, logs, _) = parts(layer.weight);
        finite_log_det(layer.index, logs.iter().map(|d| d.widen()).sum())
    }

    fn factor(&self, device: &Cpu, dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<Box<dyn Solve<T>>> {
        let mut numbers = QrNumbers::new(dim, self.size(dim));
        numbers.read(device, layer.weight)?;
        let (array, ..) = parts(layer.weight);
        let mut array = array.to_vec();
        for (number, &u) in array.iter_mut().step_by(dim + 1).zip(&numbers.diagonal) {
            if u.widen() == 0.0 || !u.widen().is_finite() {
                return Err(singular(layer.index));
            }
            *number = u;
        }
        Ok(Box::new(QrFactors { device: *device, dim, array, reflections: numbers.reflections }))
    }

    /// h_i of norm √2 where its norm has left \[½, 4\]: the same reflection, whose gradient has the scale of 1/‖h_i‖.
    /// The moments follow.
    fn recondition(
        &self,
        _device: &Cpu,
        _k: usize,
        weight: Mut<'_, T>,
        moments: Option<[Mut<'_, T>; 2]>,
    ) -> Result<bool> {
        let dim = weight.rows();
        let norm = |(i, column): (usize, &[T])| column[i..].iter().map(|x| x.widen().powi(2)).sum::<f64>().sqrt();
        let array = weight.into_slice();
        let norms: Vec<f64> = array.par_chunks_exact(dim).take(dim - 1).enumerate().map(norm).collect();
        let mut moments = moments.map(|both| both.map(Mut::into_slice));
        let mut changed = false;
        for (i, norm) in norms.into_iter().enumerate() {
            if (SHORTEST..=LONGEST).contains(&norm) || norm == 0.0 || !norm.is_finite() {
                continue;
            }
            let scale = std::f64::consts::SQRT_2 / norm;
            let rescale = |of: &mut [T], factor: f64| {
                of[i * dim + i..(i + 1) * dim].iter_mut().for_each(|x| *x = T::of(factor * x.widen()));
            };
            rescale(array, scale);
            if let Some([first, second]) = &mut moments {
                rescale(first, 1.0 / scale);
                rescale(second, 1.0 / (scale * scale));
            }
            changed = true;
        }
        Ok(changed)
    }
}

/// Norms of a reflection's vector between which it is left alone.
const SHORTEST: f64 = 0.5;
const LONGEST: f64 = 4.0;

impl<T: Scalar> MaybeGroup<Cpu, T> for Qr {}

/// Q's blocks, and U in the array of its reflections, u_ii on the diagonal.
struct QrFactors<T> {
    device: Cpu,
    dim: usize,
    array: Vec<T>,
    reflections: Reflections<T>,
}

impl<T: Scalar> Solve<T> for QrFactors<T> {
    fn solve(&self, y: &mut [T]) -> Result<()> {
        let Self { device, dim, array, reflections } = self;
        let mut scratch = BlockScratch::new(reflections.size(), y.len() / dim);
        let BlockScratch { e, inner, .. } = &mut scratch;
        reflections.multiply_transposed(how::<T>(device), array, block(*dim, y), [e, inner]);
        let array = MatRef::from_column_major_slice(array, *dim, *dim);
        T::solve_triangular(Solvable::Upper, array, block(*dim, y));
        Ok(())
    }
}
