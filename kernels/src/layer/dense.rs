//! A dense D×D matrix, on any device.

use super::pending::Pending;
use super::{Coupling, Extent, ForGroup, Geometry, Group, MaybeGroup, SeenBlock, finite_log_det};
use crate::Tuned;
use crate::bound::cost_of_dense;
use crate::cost::{Cost, Sizes};
use crate::device::{Addend, Device, Inversion, Matrix, MatrixMut, MatrixRef};
use crate::error::{Error, Result};
use crate::init::{Init, square};
use crate::inversion::{DenseFactors, Solve};
use crate::method::Method;
use crate::network::Architecture;
use crate::parameters::{Layer, Parameters};
use crate::scalar::Scalar;
use crate::stateful::{self, Stateful};

/// y = W z + b with a dense D×D matrix W, D×D column-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dense;

impl Geometry for Dense {
    fn weight_shape(&self, dim: usize) -> [usize; 2] {
        [dim, dim]
    }

    fn cost(&self, method: Method, shape: &Sizes) -> Result<Cost> {
        Ok(cost_of_dense(method, shape))
    }
}

/// The LU factors of a weight (the inverse is built in the gradient's own buffer).
pub struct LuFactors<D: Device<T>, T: Scalar> {
    /// D×D; free between two inversions.
    pub(crate) factors: Matrix<D, T>,
    factorization: D::Factorization,
}

impl<D: Device<T>, T: Scalar> LuFactors<D, T> {
    pub(crate) fn new(device: &D, dim: usize) -> Result<Self> {
        let factors = Matrix::zeros(device, dim, dim, "LU factors")?;
        Ok(Self { factors, factorization: device.factorization(dim, 1)? })
    }

    /// out ← W^{-T}.
    pub(crate) fn invert(&mut self, device: &D, layer: &Layer<'_, D, T>, out: MatrixMut<'_, D, T>) -> Result<()> {
        device.copy(layer.weight, self.factors.view_mut())?;
        self.invert_own(device, out, || format!("weight of layer {}", layer.index + 1)).map(drop)
    }

    /// out ← A^{-T} of the A in [`Self::factors`], which is overwritten; `what` names A.
    pub(crate) fn invert_own(
        &mut self,
        device: &D,
        out: MatrixMut<'_, D, T>,
        what: impl FnOnce() -> String,
    ) -> Result<Inversion> {
        let mut report = [Inversion { log_abs_det: 0.0, condition: 0.0 }];
        device.invert_transposed(self.factors.view_mut(), out, &mut self.factorization, &mut report)?;
        if report[0].is_singular::<T>(self.factors.rows()) {
            return Err(Error::Singular { matrix: what(), condition: report[0].condition });
        }
        Ok(report[0])
    }
}

impl<D: Device<T>, T: Scalar> Coupling<D, T> for Dense {
    const IS_DENSE: bool = true;
    type Work = Pending<D, T>;
    type Inverse = LuFactors<D, T>;

    fn work(&self, _device: &D, _extent: Extent) -> Result<Self::Work> {
        Ok(Pending::default())
    }

    fn parts(&self, device: &D, architecture: &Architecture, batch: usize) -> usize {
        device.sample_parts(architecture, batch)
    }

    fn inverse(&self, device: &D, dim: usize) -> Result<Self::Inverse> {
        LuFactors::new(device, dim)
    }

    fn push(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        z: MatrixRef<'_, D, T>,
        mut y: MatrixMut<'_, D, T>,
        work: &mut Self::Work,
    ) -> Result<()> {
        device.multiply(T::of(1.0), layer.weight.plain(), z.plain(), Addend::Zero, y.reborrow())?;
        work.add_product(device, layer.index, false, z, y)
    }

    fn pull(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        delta: MatrixRef<'_, D, T>,
        mut v: MatrixMut<'_, D, T>,
        work: &mut Self::Work,
    ) -> Result<()> {
        device.multiply(T::of(1.0), layer.weight.transposed(), delta.plain(), Addend::Zero, v.reborrow())?;
        work.add_product(device, layer.index, true, delta, v)
    }

    fn outer(
        &self,
        device: &D,
        alpha: T,
        (left, right): (SeenBlock<'_, D, T>, SeenBlock<'_, D, T>),
        addend: Addend<'_, D, T>,
        out: MatrixMut<'_, D, T>,
        _work: &mut Self::Work,
    ) -> Result<()> {
        device.multiply(alpha, left.matrix.plain(), right.matrix.transposed(), addend, out)
    }

    fn invert_transposed(
        &self,
        device: &D,
        layer: &Layer<'_, D, T>,
        out: MatrixMut<'_, D, T>,
        factors: &mut Self::Inverse,
        _work: &mut Self::Work,
    ) -> Result<()> {
        factors.invert(device, layer, out)
    }

    fn to_dense(&self, device: &D, weight: MatrixRef<'_, D, T>, out: MatrixMut<'_, D, T>) -> Result<()> {
        device.copy(weight, out)
    }

    fn sum_entries(
        &self,
        device: &D,
        _weight: MatrixRef<'_, D, T>,
        dense: MatrixRef<'_, D, T>,
        out: MatrixMut<'_, D, T>,
    ) -> Result<()> {
        device.copy(dense, out)
    }

    fn take_dense(&self, device: &D, _k: usize, dense: MatrixRef<'_, D, T>, weight: MatrixMut<'_, D, T>) -> Result<()> {
        device.copy(dense, weight)
    }

    fn draw(
        &self,
        device: &D,
        _dim: usize,
        (init, seed, k): (Init, u64, usize),
        weight: &mut Matrix<D, T>,
    ) -> Result<()> {
        square(device, init, seed, k, weight)
    }

    fn log_abs_det(&self, device: &D, _dim: usize, layer: &Layer<'_, D, T>) -> Result<f64> {
        finite_log_det(layer.index, device.log_abs_det(layer.weight)?)
    }

    fn factor(&self, device: &D, dim: usize, layer: &Layer<'_, D, T>) -> Result<Box<dyn Solve<T>>> {
        Ok(Box::new(DenseFactors::new(layer.index, dim, &device.to_host(layer.weight)?)?))
    }
}

impl<D: Device<T>, T: Scalar> Group<D, T> for Dense {
    fn delay(&self, device: &D, extent: Extent, steps: usize, work: &mut Self::Work) -> Result<()> {
        *work = if steps > 1 { Pending::new(device, extent, steps)? } else { Pending::default() };
        Ok(())
    }

    fn is_delayed(work: &Self::Work) -> bool {
        work.is_on()
    }

    fn append(
        &self,
        device: &D,
        sizes: (f64, f64),
        factors: (MatrixRef<'_, D, T>, MatrixRef<'_, D, T>),
        weight: MatrixMut<'_, D, T>,
        work: &mut Self::Work,
    ) -> Result<()> {
        work.append(device, sizes, factors, weight)
    }

    fn settle(&self, device: &D, k: usize, weight: MatrixMut<'_, D, T>, work: &mut Self::Work) -> Result<()> {
        work.settle(device, k, weight)
    }
}

impl<D: Device<T>, T: Scalar> MaybeGroup<D, T> for Dense {
    fn if_group<V: ForGroup<D, T, Self>>(&self, visitor: V) -> Result<V::Out> {
        visitor.call(*self)
    }

    fn stateful(
        device: &D,
        tuned: Tuned,
        parameters: &Parameters<D, T>,
        batch_and_seed: (usize, u64),
    ) -> Result<Box<dyn Stateful<D, T>>>
    where
        D: 'static,
    {
        stateful::begin(device, tuned, parameters, batch_and_seed)
    }
}
