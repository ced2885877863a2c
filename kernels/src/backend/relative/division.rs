//! The samples of a batch, divided into parts that go through the network on their own.
//!
//! A direction is a mean over samples. For a small network it is cheaper that every thread takes its samples forth and
//! back through all layers and adds up a direction of its own, than that all threads meet after every operation.

use std::mem::swap;

use super::{Form, RankUpdate, RightFactor, Sink, Workspace, sweep};
use crate::device::{Addend, Device, PullOuter, Updated};
use crate::error::{Error, Result};
use crate::layer::{Dense, Group, Seen, SeenBlock};
use crate::network::Architecture;
use crate::output::Head;
use crate::parameters::{Batch, Gradient, Parameters};
use crate::scalar::Scalar;

/// Work memory of both forms: L+3 blocks of D×N, two vectors for the biases, and where there are several parts
/// ([`Device::sample_parts`]) a direction for each but the first.
pub struct Divided<D: Device<T>, T: Scalar, C: Group<D, T> = Dense> {
    batch: usize,
    /// At least one.
    parts: Vec<Part<D, T, C>>,
}

struct Part<D: Device<T>, T: Scalar, C: Group<D, T>> {
    /// Column of the batch where its samples begin.
    first: usize,
    sweep: Workspace<D, T, C>,
    /// Σ over its samples; the first part has nothing here and writes to the caller's gradient.
    direction: Gradient<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> Divided<D, T, C> {
    pub(super) fn new(device: &D, architecture: &Architecture<C>, batch: usize) -> Result<Self> {
        Self::in_parts(device, architecture, batch, architecture.coupling.parts(device, architecture, batch))
    }

    fn in_parts(device: &D, architecture: &Architecture<C>, batch: usize, count: usize) -> Result<Self> {
        let part = |index: usize| {
            let (first, end) = (batch * index / count, batch * (index + 1) / count);
            let direction = match index {
                0 => Gradient::none(),
                _ => Gradient::zeros(device, architecture, "a part's direction")?,
            };
            Ok(Part { first, sweep: Workspace::new(device, architecture, end - first)?, direction })
        };
        Ok(Self { batch, parts: (0..count).map(part).collect::<Result<_>>()? })
    }

    /// Writes every layer's direction to `out`.
    pub(super) fn gradient(
        &mut self,
        device: &D,
        form: Form,
        parameters: &Parameters<D, T, C>,
        batch: Batch<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        let Self { batch: samples, parts } = self;
        let columns = batch.u.map_or(*samples, |u| u.cols());
        if batch.x.cols() != *samples || columns != *samples {
            let found = format!("{} and {columns} conditions", batch.x.cols());
            return Err(Error::shape("gradient", format!("a batch of {samples}"), found));
        }
        out.require_fit("gradient", parameters.architecture())?;
        let mean = 1.0 / *samples as f64;
        swap(&mut parts[0].direction, out);
        let outcome = device.each_part(parts, |device, part| {
            let Part { first, sweep: work, direction } = part;
            let batch = batch.columns(*first, work.values.batch());
            let with_parameters = *first == 0 && !matches!(form, Form::Coordinates);
            let mut sink = Store { parameters, mean, with_parameters, out: direction };
            sweep(device, form, batch, work, &mut sink)
        });
        swap(&mut parts[0].direction, out);
        outcome?;
        parts[1..].iter().try_for_each(|part| add(device, &part.direction, out))
    }
}

/// out ← out + direction.
fn add<D: Device<T>, T: Scalar>(device: &D, direction: &Gradient<D, T>, out: &mut Gradient<D, T>) -> Result<()> {
    for (array, out) in direction.iter().zip(out.iter_mut()) {
        if array.rows() == array.cols() {
            device.add_blocks(T::of(1.0), array.view(), out.view_mut())?;
        } else {
            for j in 0..array.cols() {
                device.add_bias(array.view().columns(j, 1), out.view_mut().columns(j, 1))?;
            }
        }
    }
    Ok(())
}

/// Writes every direction to a gradient.
struct Store<'a, D: Device<T>, T: Scalar, C: Group<D, T>> {
    parameters: &'a Parameters<D, T, C>,
    /// 1/N, of the whole batch.
    mean: f64,
    /// Whether the direction has the log-determinant's share + W_k, + b_k: one part's has.
    with_parameters: bool,
    out: &'a mut Gradient<D, T>,
}

impl<D: Device<T>, T: Scalar, C: Group<D, T>> Sink<D, T, C> for Store<'_, D, T, C> {
    fn parameters(&self) -> &Parameters<D, T, C> {
        self.parameters
    }

    fn absorb_head(&mut self, device: &D, head: &Head<D, T>, batch: Batch<'_, D, T>) -> Result<()> {
        head.add_gradient(device, (self.mean, 0.0), batch.u, self.out.head.as_mut())
    }

    fn absorb(&mut self, device: &D, k: usize, update: RankUpdate<'_, D, T>, work: &mut C::Work) -> Result<()> {
        let coupling = self.parameters.architecture().coupling;
        let mean = T::of(self.mean / coupling.multiplicity());
        let RankUpdate { left, mut right, samples, bias_share } = update;
        let weight = self.parameters.weight(k);
        let addend = if self.with_parameters { Addend::Matrix(weight.shorten()) } else { Addend::Zero };
        let mut out = self.out.weights[k].view_mut();
        match &mut right {
            RightFactor::Pulled { errors, into } if C::IS_DENSE && self.with_parameters => {
                device.pull_outer(PullOuter {
                    errors: errors.shorten(),
                    pulled: into.reborrow(),
                    left: left.matrix.shorten(),
                    alpha: mean,
                    most: None,
                    weight: Updated::Apart(weight.shorten(), out.reborrow()),
                })?
            }
            RightFactor::Pulled { errors, into } => {
                let layer = self.parameters.network().layer(k);
                coupling.pull_pair(device, &layer, errors.shorten(), into.reborrow(), work)?;
                let right = SeenBlock::new(into.view().columns(0, left.matrix.cols()), Seen::Written);
                coupling.outer(device, mean, (left.shorten(), right), addend, out, work)?;
            }
            RightFactor::Known(right, _) => {
                let factors = (left.shorten(), SeenBlock::new(right.shorten(), Seen::No));
                coupling.outer(device, mean, factors, addend, out, work)?;
            }
        }
        let (Some(samples), Some(bias)) = (samples, self.parameters.bias(k)) else {
            return Ok(());
        };
        let with_bias = self.with_parameters && bias_share;
        let addend = if with_bias { Addend::Matrix(bias.shorten()) } else { Addend::Zero };
        let out = self.out.biases[k].view_mut();
        coupling.outer_bias(device, mean, (left.matrix, samples), addend, out, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BiasMode;
    use crate::device::{Cpu, Matrix};
    use crate::init::{self, Init};

    const DIM: usize = 9;
    const BATCH: usize = 23;

    fn architecture() -> Architecture {
        Architecture { bias: true, ..Architecture::new(DIM, 3) }
    }

    /// A network with weights of no special kind and biases that are not zero.
    fn parameters<T: Scalar>(device: &Cpu) -> Parameters<Cpu, T> {
        let mut parameters = init::network(device, &architecture(), Init::ScaledGaussian, 5).unwrap();
        for (k, bias) in parameters.arrays_mut().biases.iter_mut().enumerate() {
            let values: Vec<T> = (0..DIM).map(|i| T::of(0.1 * (i + k) as f64 - 0.4)).collect();
            *bias = Matrix::from_column_major(device, &values, DIM, 1, "bias").unwrap();
        }
        parameters
    }

    fn numbers<T: Scalar>(device: &Cpu, gradient: &Gradient<Cpu, T>) -> Vec<f64> {
        let matrices = gradient.weights.iter().chain(&gradient.biases);
        matrices.flat_map(|m| m.to_column_major(device).unwrap()).map(Scalar::widen).collect()
    }

    /// Sums in another order: some tens of roundings of numbers of about 1.
    fn parts_add_up_to_the_whole<T: Scalar>() {
        let device = Cpu::new(2);
        let parameters = parameters::<T>(&device);
        let x = init::batch(&device, DIM, BATCH, 6).unwrap();
        let forms = [Form::Transposed, Form::Coordinates].into_iter().chain(BiasMode::ALL.map(Form::Relative));
        for form in forms {
            let gradient = |count| {
                let mut divided = Divided::in_parts(&device, &architecture(), BATCH, count).unwrap();
                let mut out = Gradient::zeros(&device, &architecture(), "gradient").unwrap();
                // Twice: what a part had added up before must not count.
                for _ in 0..2 {
                    divided.gradient(&device, form, &parameters, x.view().into(), &mut out).unwrap();
                }
                numbers(&device, &out)
            };
            let whole = gradient(1);
            for count in [2, 3, 7, BATCH] {
                for (part, whole) in gradient(count).iter().zip(&whole) {
                    let error = (part - whole).abs();
                    assert!(error <= 100.0 * T::EPS * (1.0 + whole.abs()), "{form:?} in {count} parts: {error}");
                }
            }
        }
    }

    #[test]
    fn parts_add_up_to_the_whole_in_both_precisions() {
        parts_add_up_to_the_whole::<f64>();
        parts_add_up_to_the_whole::<f32>();
    }

    #[test]
    fn an_error_in_any_part_is_told_and_leaves_the_gradient_its_memory() {
        let device = Cpu::new(2);
        let parameters = parameters::<f64>(&device);
        let form = Form::Relative(BiasMode::Exact);
        let mut divided = Divided::in_parts(&device, &architecture(), BATCH, 3).unwrap();
        let mut out = Gradient::zeros(&device, &architecture(), "gradient").unwrap();
        for lost in [0, BATCH / 2, BATCH - 1] {
            let mut samples = vec![0.5; DIM * BATCH];
            samples[lost * DIM] = f64::NAN;
            let x = Matrix::from_column_major(&device, &samples, DIM, BATCH, "batch").unwrap();
            let error = divided.gradient(&device, form, &parameters, x.view().into(), &mut out).unwrap_err();
            assert!(matches!(error, Error::NonFinite { .. }), "sample {lost}: {error}");
            assert_eq!((out.weights.len(), out.biases.len()), (3, 3));
        }
        let x = init::batch(&device, DIM, BATCH + 1, 6).unwrap();
        let error = divided.gradient(&device, form, &parameters, x.view().into(), &mut out).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { .. }), "{error}");
    }
}
