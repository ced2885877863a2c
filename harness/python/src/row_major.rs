//! A dense layer as NumPy keeps it: row by row.

use relgrad_kernels::device::{Addend, Matrix, MatrixMut, MatrixRef};
use relgrad_kernels::layer::{Coupling, Dense, Extent, ForGroup, Geometry, Group, MaybeGroup, Pending, SeenBlock};
use relgrad_kernels::parameters::Layer;
use relgrad_kernels::{Architecture, Cpu, Init, Result, Scalar};

/// y = W z + b with W row-major: the kernels, which are column-major, see Wᵀ. Products by W are [`Dense`]'s by the
/// transpose of what is stored, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowMajor;

type Ref<'a, T> = MatrixRef<'a, Cpu, T>;
type Mut<'a, T> = MatrixMut<'a, Cpu, T>;

/// out ← aᵀ, both D×D.
fn transpose<T: Scalar>(a: &[T], dim: usize, out: &mut [T]) {
    for (i, row) in out.chunks_exact_mut(dim).enumerate() {
        row.iter_mut().zip(a[i..].iter().step_by(dim)).for_each(|(to, from)| *to = *from);
    }
}

impl Geometry for RowMajor {
    fn weight_shape(&self, dim: usize) -> [usize; 2] {
        [dim, dim]
    }
}

impl<T: Scalar> Coupling<Cpu, T> for RowMajor {
    type Work = Pending<Cpu, T>;
    type Inverse = <Dense as Coupling<Cpu, T>>::Inverse;

    fn work(&self, _: &Cpu, _: Extent) -> Result<Self::Work> {
        Ok(Pending::default())
    }

    fn inverse(&self, device: &Cpu, dim: usize) -> Result<Self::Inverse> {
        Dense.inverse(device, dim)
    }

    fn parts(&self, device: &Cpu, architecture: &Architecture<Self>, batch: usize) -> usize {
        Coupling::<Cpu, T>::parts(&Dense, device, &architecture.with(Dense), batch)
    }

    fn push(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        z: Ref<'_, T>,
        y: Mut<'_, T>,
        work: &mut Self::Work,
    ) -> Result<()> {
        Dense.pull(device, layer, z, y, work)
    }

    fn pull(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        delta: Ref<'_, T>,
        v: Mut<'_, T>,
        work: &mut Self::Work,
    ) -> Result<()> {
        Dense.push(device, layer, delta, v, work)
    }

    fn outer(
        &self,
        device: &Cpu,
        alpha: T,
        (left, right): (SeenBlock<'_, Cpu, T>, SeenBlock<'_, Cpu, T>),
        addend: Addend<'_, Cpu, T>,
        out: Mut<'_, T>,
        work: &mut Self::Work,
    ) -> Result<()> {
        Dense.outer(device, alpha, (right, left), addend, out, work)
    }

    /// What is stored of W^{-T} is W⁻¹, the inverse of the transpose of what is stored of W.
    fn invert_transposed(
        &self,
        device: &Cpu,
        layer: &Layer<'_, Cpu, T>,
        out: Mut<'_, T>,
        inverse: &mut Self::Inverse,
        work: &mut Self::Work,
    ) -> Result<()> {
        Dense.invert_transposed(device, layer, out, inverse, work)
    }

    fn to_dense(&self, _: &Cpu, weight: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
        transpose(weight.slice(), weight.rows(), out.into_slice());
        Ok(())
    }

    fn sum_entries(&self, _: &Cpu, _: Ref<'_, T>, dense: Ref<'_, T>, out: Mut<'_, T>) -> Result<()> {
        transpose(dense.slice(), dense.rows(), out.into_slice());
        Ok(())
    }

    fn draw(&self, device: &Cpu, dim: usize, drawn: (Init, u64, usize), weight: &mut Matrix<Cpu, T>) -> Result<()> {
        let mut dense = Matrix::zeros(device, dim, dim, "dense weight")?;
        Dense.draw(device, dim, drawn, &mut dense)?;
        transpose(dense.view().slice(), dim, weight.view_mut().into_slice());
        Ok(())
    }

    fn log_abs_det(&self, device: &Cpu, dim: usize, layer: &Layer<'_, Cpu, T>) -> Result<f64> {
        Dense.log_abs_det(device, dim, layer)
    }
}

impl<T: Scalar> Group<Cpu, T> for RowMajor {}

impl<T: Scalar> MaybeGroup<Cpu, T> for RowMajor {
    fn if_group<V: ForGroup<Cpu, T, Self>>(&self, visitor: V) -> Result<V::Out> {
        visitor.call(*self)
    }
}
