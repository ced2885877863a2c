//! `relgrad peer-case`: the hidden verb that shows other implementations what to compute: a network, a batch, and the
//! results of every method on them.
//!
//! The weights are Gaussian, not orthogonal as in timed cells: for orthogonal ones the ordinary and the relative
//! gradient are the same matrix, and an implementation that took one for the other would pass.

use std::collections::BTreeMap;

use clap::Args;
use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Architecture, Cost, Cpu, Dtype, Init, Method, Result, Scalar, cost, init};
use relgrad_reports::record::{Model, SCHEMA_VERSION};
use serde::Serialize;

use super::{MAX_BATCH, MAX_LAYERS, count};
use crate::error;
use crate::machine;
use crate::measure::plan::dims::MAX_DIM;
use crate::measure::workload::with_dtype;

/// Prints a small network, a batch and the gradients of every method as JSON, to verify other implementations
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// Print the cost models alone, no numbers of the network
    #[arg(long)]
    models: bool,
}

pub(crate) fn run(arguments: &Arguments) -> error::Result<u8> {
    super::start_threads(None)?;
    let Arguments { shape, models } = arguments;
    if !models {
        super::require_memory("this case", expected_bytes(shape))?;
    }
    super::print_json(&case(shape, !models).map_err(|cause| error::Error::Usage(cause.to_string()))?)?;
    Ok(0)
}

/// Step size of the case's gradient step: large enough that a wrong direction shows.
const STEP: f64 = 0.01;

/// Sizes of the network and the batch.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
struct Shape {
    /// Data dimension D
    #[arg(long, value_parser = count::<MAX_DIM>)]
    dim: usize,
    /// Samples in a batch, N
    #[arg(long, default_value_t = 100, value_parser = count::<MAX_BATCH>)]
    batch: usize,
    /// Layers of the network, L
    #[arg(long, default_value_t = 2, value_parser = count::<MAX_LAYERS>)]
    layers: usize,
    /// Number type: f32 or f64
    #[arg(long, default_value = "f64")]
    dtype: Dtype,
    /// Seed of the network and the batch
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The default architecture at one shape. A matrix is a list of its numbers, column by column, so that samples and rows
/// of Wᵀ are contiguous.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Case {
    schema: u32,
    dim: usize,
    batch: usize,
    layers: usize,
    dtype: &'static str,
    activation: String,
    models: BTreeMap<&'static str, Model>,
    #[serde(flatten)]
    numbers: Option<Numbers>,
}

/// The numbers of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Numbers {
    /// μ of the gradient step.
    step_size: f64,
    /// W_k (D×D), first layer first.
    weights: Vec<Vec<f64>>,
    /// The batch (D×N), one sample after the other.
    x: Vec<f64>,
    /// (1/N) Σ_n ℓ(x_n), in nats.
    log_likelihood: f64,
    /// Per method the gradient of every layer (D×D); for an in-place method the weights after a step, unguarded.
    results: BTreeMap<&'static str, Vec<Vec<f64>>>,
}

/// Computes the case; with `numbers` off the cost models alone.
fn case(shape: &Shape, numbers: bool) -> Result<Case> {
    let architecture = Architecture::new(shape.dim, shape.layers);
    let model = |method: Method| Ok((method.name(), model(method, &architecture, shape)?));
    let models = Method::ALL.into_iter().map(model).collect::<Result<_>>()?;
    let compute = || with_dtype!(shape.dtype, T => compute::<T>(&architecture, shape));
    let numbers = numbers.then(compute).transpose()?;
    Ok(Case {
        schema: SCHEMA_VERSION,
        dim: shape.dim,
        batch: shape.batch,
        layers: shape.layers,
        dtype: shape.dtype.name(),
        activation: architecture.activation.to_string(),
        models,
        numbers,
    })
}

/// Bytes that a case with its numbers takes: the method that needs most, the results of all in f64, and their text.
fn expected_bytes(shape: &Shape) -> f64 {
    const NUMBER_AND_ITS_TEXT: f64 = 8.0 + 24.0;
    let architecture = Architecture::new(shape.dim, shape.layers);
    let of = |method| {
        cost(method, &architecture, shape.batch, shape.dtype).map_or(f64::INFINITY, |cost| cost.expected_bytes)
    };
    let weights = shape.layers as f64 * (shape.dim as f64).powi(2);
    let numbers = (1 + Method::ALL.len()) as f64 * weights + shape.dim as f64 * shape.batch as f64;
    Method::ALL.map(of).into_iter().fold(0.0, f64::max) + NUMBER_AND_ITS_TEXT * numbers
}

fn model(method: Method, architecture: &Architecture, shape: &Shape) -> Result<Model> {
    let Cost { flops, min_bytes, min_traffic_bytes, .. } = cost(method, architecture, shape.batch, shape.dtype)?;
    Ok(Model { flops, min_bytes, min_traffic_bytes })
}

fn compute<T: Scalar>(architecture: &Architecture, shape: &Shape) -> Result<Numbers> {
    let device = Cpu::new(machine::logical_cores());
    let network = || init::network::<_, T, _>(&device, architecture, Init::ScaledGaussian, shape.seed);
    let parameters = network()?;
    let x = init::batch(&device, shape.dim, shape.batch, shape.seed)?;
    let weights = wide(&device, &parameters.arrays().weights)?;
    let mut results = BTreeMap::new();
    // What draws at random, begins with a state of its own, or has factors for weights, is nobody else's result.
    let is_comparable =
        |method: &Method| !method.keeps_state() && !method.has_own_layers() && *method != Method::Hutchinson;
    for method in Method::ALL.into_iter().filter(is_comparable) {
        let result = match method {
            method if method.is_step() => stepped(&device, network()?, &x),
            _ => stored(method, &device, &parameters, &x),
        };
        results.insert(method.name(), result?);
    }
    let mut evaluator = Evaluator::new(&device, architecture, shape.batch)?;
    let likelihood = evaluator.log_likelihood(&device, &parameters, x.view())?;
    let x = wide(&device, std::slice::from_ref(&x))?.remove(0);
    Ok(Numbers { step_size: STEP, weights, x, log_likelihood: likelihood.mean(), results })
}

fn stored<T: Scalar>(
    method: Method,
    device: &Cpu,
    parameters: &Parameters<Cpu, T>,
    x: &Matrix<Cpu, T>,
) -> Result<Vec<Vec<f64>>> {
    let architecture = parameters.architecture();
    let mut bound = bind(device, method, BiasMode::Exact, architecture, x.cols())?;
    let mut gradient = Gradient::zeros(device, architecture, "gradient")?;
    bound.gradient(device, parameters, x.view(), &mut gradient)?;
    wide(device, &gradient.weights)
}

/// The weights after a step.
fn stepped<T: Scalar>(device: &Cpu, mut parameters: Parameters<Cpu, T>, x: &Matrix<Cpu, T>) -> Result<Vec<Vec<f64>>> {
    let step = InPlaceStep { guard: false, ..InPlaceStep::default() };
    let mut workspace = step.workspace(device, parameters.architecture(), x.cols())?;
    step.step(device, &mut parameters, x.view(), STEP, &mut workspace, None)?;
    wide(device, &parameters.arrays().weights)
}

/// Host copies, widened without error.
fn wide<T: Scalar>(device: &Cpu, matrices: &[Matrix<Cpu, T>]) -> Result<Vec<Vec<f64>>> {
    let widen = |matrix: &Matrix<Cpu, T>| Ok(matrix.to_column_major(device)?.into_iter().map(Scalar::widen).collect());
    matrices.iter().map(widen).collect()
}
