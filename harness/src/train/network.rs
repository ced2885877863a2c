//! A network's numbers as training sees them: the likelihood of samples, and the arrays one after another.
//!
//! What training asks of the kernels' parameters stands here, in `learner` and in `start`.

use std::fmt;

use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::layer::Coupling;
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood, log_abs_dets};
use relgrad_kernels::parameters::{Arrays, Batch, Parameters};
use relgrad_kernels::{Cpu, Result, Scalar};

use crate::data::{Parts, Samples};

/// Samples evaluated at a time.
pub(crate) const CHUNK: usize = 500;

/// Samples in the precision of training, one after another.
pub(crate) struct Inputs<T> {
    /// D numbers a sample.
    pub(crate) x: Vec<T>,
    /// d numbers a sample, nothing without conditions.
    pub(crate) u: Vec<T>,
}

impl<T: Scalar> Inputs<T> {
    /// Training, validation and test part.
    pub(crate) fn of(parts: &Parts) -> [Self; 3] {
        let given = |part: usize| parts.given.as_ref().map_or(Vec::new(), |given| converted(&given[part]));
        let [train, validation, test] = parts.each().map(|(_, samples)| converted(samples));
        [(0, train), (1, validation), (2, test)].map(|(part, x)| Self { x, u: given(part) })
    }
}

/// ℓ(x_n), given u_n where the density has a condition, of every sample, D and d numbers each, one after another;
/// determinants in f64. Fails where a sample or parameter is not finite, or a weight singular.
pub(crate) fn log_likelihoods<T: Scalar, C: Coupling<Cpu, T>>(
    device: &Cpu,
    parameters: &Parameters<Cpu, T, C>,
    x: &[T],
    u: &[T],
) -> Result<Vec<f64>> {
    let architecture = parameters.architecture();
    let (dim, conditions) = (architecture.dim, architecture.conditions);
    let mut scorer = Scorer::new(device, parameters)?;
    let mut result = Vec::with_capacity(x.len() / dim);
    for chunk in x.chunks(dim * CHUNK) {
        let count = chunk.len() / dim;
        let of_chunk = &u[result.len() * conditions..(result.len() + count) * conditions];
        result.extend(scorer.terms(device, parameters, chunk, of_chunk)?.per_sample());
    }
    Ok(result)
}

/// The likelihood of samples, some at a time.
pub(super) struct Scorer<T: Scalar, C: Coupling<Cpu, T>> {
    log_abs_dets: Vec<f64>,
    /// With the number of samples that it has room for.
    evaluator: Option<(usize, Evaluator<Cpu, T, C>)>,
}

impl<T: Scalar, C: Coupling<Cpu, T>> Scorer<T, C> {
    /// Takes the determinants, in f64. Fails where a weight is singular.
    pub(super) fn new(device: &Cpu, parameters: &Parameters<Cpu, T, C>) -> Result<Self> {
        Ok(Self { log_abs_dets: log_abs_dets(device, parameters)?, evaluator: None })
    }

    /// The parts of ℓ of samples, D numbers each, given u, d numbers each. Fails where one is not finite.
    pub(super) fn terms(
        &mut self,
        device: &Cpu,
        parameters: &Parameters<Cpu, T, C>,
        x: &[T],
        u: &[T],
    ) -> Result<LogLikelihood> {
        let architecture = parameters.architecture();
        let count = x.len() / architecture.dim;
        let evaluator = match &mut self.evaluator {
            Some((size, evaluator)) if *size == count => evaluator,
            other => &mut other.insert((count, Evaluator::new(device, architecture, count)?)).1,
        };
        let x = Matrix::from_column_major(device, x, architecture.dim, count, "samples to evaluate")?;
        let u = matrix_of(device, u, architecture.conditions, count)?;
        let batch = Batch { x: x.view(), u: u.as_ref().map(Matrix::view) };
        let terms = evaluator.data_terms(device, parameters, batch)?;
        Ok(LogLikelihood { l2j_per_layer: self.log_abs_dets.clone(), ..terms })
    }

    /// z of the samples that were last evaluated, D numbers each.
    pub(super) fn latents(&self, device: &Cpu) -> Result<Vec<T>> {
        self.evaluator.as_ref().map_or(Ok(Vec::new()), |(_, evaluator)| device.to_host(evaluator.latents()))
    }
}

/// The numbers of samples in the precision of training.
pub(crate) fn converted<T: Scalar>(samples: &Samples) -> Vec<T> {
    samples.values.iter().map(|&x| T::of(x)).collect()
}

/// Conditions of so many samples, where there are any.
pub(super) fn matrix_of<T: Scalar>(
    device: &Cpu,
    u: &[T],
    conditions: usize,
    count: usize,
) -> Result<Option<Matrix<Cpu, T>>> {
    let matrix = || Matrix::from_column_major(device, u, conditions, count, "conditions of samples");
    (conditions > 0).then(matrix).transpose()
}

/// Which of a network's arrays one is; layers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Weight(usize),
    Bias(usize),
    /// Of location and scale that depend on a condition: its name in files, and in sentences.
    Head(&'static str, &'static str),
}

/// A, a, B, c of m(u) = A u + a and log τ(u) = B u + c.
const HEAD: [Place; 4] = [
    Place::Head("location", "matrix of the location"),
    Place::Head("location_offset", "offset of the location"),
    Place::Head("log_scale", "matrix of the log-scale"),
    Place::Head("log_scale_offset", "offset of the log-scale"),
];

impl Place {
    /// Its name in a tensor file.
    pub(super) fn tensor(self) -> String {
        match self {
            Self::Weight(k) => format!("layer{k}.weight"),
            Self::Bias(k) => format!("layer{k}.bias"),
            Self::Head(name, _) => format!("head.{name}"),
        }
    }

    /// Whether it is a vector in a tensor file.
    pub(super) fn is_vector(self) -> bool {
        match self {
            Self::Weight(_) => false,
            Self::Bias(_) => true,
            Self::Head(name, _) => name.ends_with("offset"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(k) => write!(f, "weight of layer {k}"),
            Self::Bias(k) => write!(f, "bias of layer {k}"),
            Self::Head(_, what) => f.write_str(what),
        }
    }
}

/// The places of arrays in their order: weights, then biases, then what a condition adds.
fn places<T: Scalar>(arrays: &Arrays<Cpu, T>) -> impl Iterator<Item = Place> + use<T> {
    let (weights, biases) = (arrays.weights.len(), arrays.biases.len());
    let head = if arrays.head.is_some() { &HEAD[..] } else { &[] };
    (1..=weights).map(Place::Weight).chain((1..=biases).map(Place::Bias)).chain(head.iter().copied())
}

/// Every array and which it is.
pub(super) fn each<T: Scalar>(arrays: &Arrays<Cpu, T>) -> impl Iterator<Item = (Place, &Matrix<Cpu, T>)> {
    places(arrays).zip(arrays.iter())
}

/// The same, to be changed.
pub(super) fn each_mut<T: Scalar>(arrays: &mut Arrays<Cpu, T>) -> impl Iterator<Item = (Place, &mut Matrix<Cpu, T>)> {
    places(arrays).zip(arrays.iter_mut())
}

/// Makes sure that every number is finite; `of` says whose arrays these are.
pub(super) fn require_finite<T: Scalar>(device: &Cpu, of: &str, arrays: &Arrays<Cpu, T>) -> Result<()> {
    each(arrays).try_for_each(|(place, array)| device.require_finite(&format!("{of}{place}"), array.view()))
}
