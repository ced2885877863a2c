//! The samples of a batch, divided into parts that go through the network on their own.
//!
//! A direction is a mean over samples. For a small network it is cheaper that every thread takes its samples forth and
//! back through all layers and adds up a direction of its own, than that all threads meet after every operation.

use std::mem::swap;

use super::{Form, RankUpdate, Sink, Workspace, sweep};
use crate::conditional::Condition;
use crate::device::{Addend, Device, MatrixRef};
use crate::error::{Error, Result};
use crate::network::Architecture;
use crate::parameters::{Arrays, Gradient, Parameters};
use crate::scalar::Scalar;

/// Work memory of both forms: L+3 blocks of D×N, two vectors for the biases, and where there are several parts
/// ([`Device::sample_parts`]) a direction for each but the first.
pub struct Divided<D: Device<T>, T: Scalar> {
    batch: usize,
    /// At least one.
    parts: Vec<Part<D, T>>,
}

struct Part<D: Device<T>, T: Scalar> {
    /// Column of the batch where its samples begin.
    first: usize,
    sweep: Workspace<D, T>,
    /// Σ over its samples; the first part has nothing here and writes to the caller's gradient.
    direction: Gradient<D, T>,
}

impl<D: Device<T>, T: Scalar> Divided<D, T> {
    pub(super) fn new(device: &D, architecture: &Architecture, batch: usize) -> Result<Self> {
        Self::in_parts(device, architecture, batch, device.sample_parts(architecture, batch))
    }

    /// In one part.
    pub(crate) fn whole(device: &D, architecture: &Architecture, batch: usize) -> Result<Self> {
        Self::in_parts(device, architecture, batch, 1)
    }

    fn in_parts(device: &D, architecture: &Architecture, batch: usize, count: usize) -> Result<Self> {
        let part = |index: usize| {
            let (first, end) = (batch * index / count, batch * (index + 1) / count);
            let direction = match index {
                0 => Arrays { weights: Vec::new(), biases: Vec::new() },
                _ => Gradient::zeros(device, architecture, "a part's direction")?,
            };
            Ok(Part { first, sweep: Workspace::new(device, architecture, end - first)?, direction })
        };
        Ok(Self { batch, parts: (0..count).map(part).collect::<Result<_>>()? })
    }

    /// The place of a conditional density, which a workspace in one part can have.
    pub(crate) fn condition(&mut self) -> &mut Option<Condition<D, T>> {
        &mut self.parts[0].sweep.values.condition
    }

    /// Writes every layer's direction to `out`.
    pub(super) fn gradient(
        &mut self,
        device: &D,
        form: Form,
        parameters: &Parameters<D, T>,
        x: MatrixRef<'_, D, T>,
        out: &mut Gradient<D, T>,
    ) -> Result<()> {
        let Self { batch, parts } = self;
        if x.cols() != *batch {
            return Err(Error::shape("gradient", format!("a batch of {batch}"), x.cols()));
        }
        let mean = T::of(1.0 / *batch as f64);
        swap(&mut parts[0].direction, out);
        let outcome = device.each_part(parts, |device, part| {
            let Part { first, sweep: work, direction } = part;
            let x = x.columns(*first, work.values.batch);
            let mut sink = Store { parameters, mean, with_parameters: *first == 0, out: direction };
            sweep(device, form, x, work, &mut sink)
        });
        swap(&mut parts[0].direction, out);
        outcome?;
        parts[1..].iter().try_for_each(|part| add(device, &part.direction, out))
    }
}

/// out ← out + direction.
fn add<D: Device<T>, T: Scalar>(device: &D, direction: &Gradient<D, T>, out: &mut Gradient<D, T>) -> Result<()> {
    for (weight, out) in direction.weights.iter().zip(&mut out.weights) {
        device.add_blocks(T::of(1.0), weight.view(), out.view_mut())?;
    }
    for (bias, out) in direction.biases.iter().zip(&mut out.biases) {
        device.add_bias(bias.view(), out.view_mut())?;
    }
    Ok(())
}

/// Writes every direction to a gradient.
struct Store<'a, D: Device<T>, T: Scalar> {
    parameters: &'a Parameters<D, T>,
    /// 1/N, of the whole batch.
    mean: T,
    /// Whether the direction has the log-determinant's share + W_k, + b_k: one part's has.
    with_parameters: bool,
    out: &'a mut Gradient<D, T>,
}

impl<D: Device<T>, T: Scalar> Sink<D, T> for Store<'_, D, T> {
    fn parameters(&self) -> &Parameters<D, T> {
        self.parameters
    }

    fn absorb(&mut self, device: &D, k: usize, update: &RankUpdate<'_, D, T>) -> Result<()> {
        let share = |wanted: bool, of| if wanted { Addend::Matrix(of) } else { Addend::Zero };
        let addend = share(self.with_parameters, self.parameters.weight(k));
        let out = self.out.weights[k].view_mut();
        device.multiply(self.mean, update.left.plain(), update.right.transposed(), addend, out)?;
        let (Some(samples), Some(bias)) = (update.samples, self.parameters.bias(k)) else {
            return Ok(());
        };
        let addend = share(self.with_parameters && update.bias_share, bias);
        let out = self.out.biases[k].view_mut();
        device.multiply(self.mean, update.left.plain(), samples.plain(), addend, out)
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
        let forms = [Form::Transposed].into_iter().chain(BiasMode::ALL.map(Form::Relative));
        for form in forms {
            let gradient = |count| {
                let mut divided = Divided::in_parts(&device, &architecture(), BATCH, count).unwrap();
                let mut out = Gradient::zeros(&device, &architecture(), "gradient").unwrap();
                // Twice: what a part had added up before must not count.
                for _ in 0..2 {
                    divided.gradient(&device, form, &parameters, x.view(), &mut out).unwrap();
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
            let error = divided.gradient(&device, form, &parameters, x.view(), &mut out).unwrap_err();
            assert!(matches!(error, Error::NonFinite { .. }), "sample {lost}: {error}");
            assert_eq!((out.weights.len(), out.biases.len()), (3, 3));
        }
        let x = init::batch(&device, DIM, BATCH + 1, 6).unwrap();
        let error = divided.gradient(&device, form, &parameters, x.view(), &mut out).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { .. }), "{error}");
    }
}
