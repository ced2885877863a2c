//! A coupling of a caller's own, y = d ⊙ z, through everything that is written once for all couplings.

use relgrad_kernels::agreement::coupling_agrees;
use relgrad_kernels::device::{Addend, Cpu, Matrix, MatrixMut, MatrixRef};
use relgrad_kernels::layer::{Coupling, Extent, ForGroup, Geometry, Group, MaybeGroup, SeenBlock};
use relgrad_kernels::parameters::Layer;
use relgrad_kernels::{Architecture, Init, Result, init};

/// D×1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Diagonal;

type Ref<'a> = MatrixRef<'a, Cpu, f64>;
type Mut<'a> = MatrixMut<'a, Cpu, f64>;

/// out ← d ⊙ block, column by column.
fn scale(d: Ref<'_>, block: Ref<'_>, out: Mut<'_>) -> Result<()> {
    let columns = block.slice().chunks_exact(d.rows()).zip(out.into_slice().chunks_exact_mut(d.rows()));
    columns.for_each(|(x, out)| out.iter_mut().zip(x).zip(d.slice()).for_each(|((out, x), d)| *out = d * x));
    Ok(())
}

impl Geometry for Diagonal {
    fn weight_shape(&self, dim: usize) -> [usize; 2] {
        [dim, 1]
    }
}

impl Coupling<Cpu, f64> for Diagonal {
    type Work = ();
    type Inverse = ();

    fn work(&self, _: &Cpu, _: Extent) -> Result<()> {
        Ok(())
    }
    fn inverse(&self, _: &Cpu, _: usize) -> Result<()> {
        Ok(())
    }
    fn push(&self, _: &Cpu, layer: &Layer<'_, Cpu, f64>, z: Ref<'_>, y: Mut<'_>, _: &mut ()) -> Result<()> {
        scale(layer.weight, z, y)
    }
    fn pull(&self, _: &Cpu, layer: &Layer<'_, Cpu, f64>, delta: Ref<'_>, v: Mut<'_>, _: &mut ()) -> Result<()> {
        scale(layer.weight, delta, v)
    }
    fn outer(
        &self,
        _: &Cpu,
        alpha: f64,
        (left, right): (SeenBlock<'_, Cpu, f64>, SeenBlock<'_, Cpu, f64>),
        addend: Addend<'_, Cpu, f64>,
        out: Mut<'_>,
        _: &mut (),
    ) -> Result<()> {
        let (dim, left, right) = (out.rows(), left.matrix.slice(), right.matrix.slice());
        for (i, out) in out.into_slice().iter_mut().enumerate() {
            let (left, right) = (left[i..].iter().step_by(dim), right[i..].iter().step_by(dim));
            let base = match &addend {
                Addend::Zero => 0.0,
                Addend::Scaled(keep) => keep * *out,
                Addend::Matrix(matrix) => matrix.slice()[i],
            };
            *out = base + alpha * left.zip(right).map(|(a, b)| a * b).sum::<f64>();
        }
        Ok(())
    }
    fn invert_transposed(&self, _: &Cpu, l: &Layer<'_, Cpu, f64>, out: Mut<'_>, _: &mut (), _: &mut ()) -> Result<()> {
        out.into_slice().iter_mut().zip(l.weight.slice()).for_each(|(out, d)| *out = 1.0 / d);
        Ok(())
    }
    fn to_dense(&self, _: &Cpu, weight: Ref<'_>, out: Mut<'_>) -> Result<()> {
        let (dim, out) = (weight.rows(), out.into_slice());
        (0..dim * dim).for_each(|i| out[i] = if i % (dim + 1) == 0 { weight.slice()[i / dim] } else { 0.0 });
        Ok(())
    }
    fn sum_entries(&self, _: &Cpu, _: Ref<'_>, dense: Ref<'_>, out: Mut<'_>) -> Result<()> {
        let diagonal = dense.slice().iter().step_by(dense.rows() + 1);
        out.into_slice().iter_mut().zip(diagonal).for_each(|(out, d)| *out = *d);
        Ok(())
    }
    fn draw(&self, _: &Cpu, dim: usize, (_, seed, k): (Init, u64, usize), d: &mut Matrix<Cpu, f64>) -> Result<()> {
        let drawn = init::uniforms(seed + k as u64, dim).into_iter().map(|u| 0.5 + u);
        d.view_mut().into_slice().iter_mut().zip(drawn).for_each(|(d, u)| *d = u);
        Ok(())
    }
}

impl Group<Cpu, f64> for Diagonal {}

impl MaybeGroup<Cpu, f64> for Diagonal {
    fn if_group<V: ForGroup<Cpu, f64, Self>>(&self, visitor: V) -> Result<V::Out> {
        visitor.call(*self)
    }
}

#[test]
fn a_diagonal_coupling_agrees_with_the_dense_network_of_the_same_function() {
    let network = |dim, layers| Architecture::new(dim, layers).with(Diagonal);
    assert_eq!(coupling_agrees(&Cpu::new(2), &network), Ok(Vec::new()));
}
