//! What the kinds of layers that keep factors of W have in common.

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::layer::MaybeGroup;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::{Cpu, Error, Result, Scalar};

use super::Network;
use crate::array::{Array, array, arrays, biases, counted};
use crate::node::{Node, Read};

/// What must come out of such a network.
#[derive(Debug, Clone)]
pub(super) struct FactorOutputs {
    /// W_k.
    weights: Vec<Array>,
    per_sample: Array,
    log_abs_det: Vec<f64>,
    /// The gradient of each array.
    gradients: Vec<Array>,
    biases: Vec<Array>,
}

impl FactorOutputs {
    pub(super) fn read(node: &Node<'_>, network: &Network, gradients: Vec<Array>) -> Read<Self> {
        let architecture = &network.architecture;
        let (dim, layers) = (architecture.dim, architecture.layers);
        let log_abs_det = counted(&node.field("log_abs_det")?, layers)?;
        Ok(Self {
            weights: arrays(&node.field("W")?, layers, [dim, dim])?,
            per_sample: array(&node.field("per_sample")?, &[network.x.cols])?,
            log_abs_det: log_abs_det.iter().map(Node::number).collect::<Read<_>>()?,
            gradients,
            biases: biases(&node.field("db")?, architecture, dim)?,
        })
    }
}

/// A vector of D numbers for each layer.
pub(super) fn columns(node: &Node<'_>, network: &Network) -> Read<Vec<Array>> {
    counted(node, network.architecture.layers)?.iter().map(|entry| array(entry, &[network.architecture.dim])).collect()
}

/// The error of every array, of the likelihood, and of the data after the network and its inverse.
pub(super) fn errors<T: Scalar, C: MaybeGroup<Cpu, T>>(
    device: &Cpu,
    coupling: C,
    network: &Network,
    layers: &[Array],
    outputs: &FactorOutputs,
) -> Result<Vec<f64>> {
    let upload = |of: &Array| -> Result<_> {
        let data: Vec<T> = of.data.iter().map(|&x| T::of(x)).collect();
        Matrix::from_column_major(device, &data, of.rows, of.cols, "golden array")
    };
    let architecture = network.architecture.with(coupling);
    let weights = layers.iter().map(upload).collect::<Result<_>>()?;
    let biases = network.biases.iter().map(upload).collect::<Result<_>>()?;
    let parameters = Parameters::new(architecture, Arrays { weights, biases, head: None })?;
    let x = upload(&network.x)?;
    let Some(method) = coupling.own_method() else {
        return Err(Error::Device { operation: "a method of these layers", status: "none".to_string() });
    };
    let mut bound = bind(device, method, BiasMode::Exact, &architecture, x.cols())?;
    let mut gradient = Gradient::zeros(device, &architecture, "gradient")?;
    bound.gradient(device, &parameters, x.view(), &mut gradient)?;
    let wide = |of: &Matrix<Cpu, T>| -> Result<_> { Ok(of.to_column_major(device)?.into_iter().map(Scalar::widen)) };
    let mut errors = Vec::new();
    for (found, expected) in gradient.iter().zip(outputs.gradients.iter().chain(&outputs.biases)) {
        errors.push(relative_error(wide(found)?, expected.data.iter().copied()));
    }
    for (k, expected) in outputs.weights.iter().enumerate() {
        let mut dense = Matrix::zeros(device, architecture.dim, architecture.dim, "dense weight")?;
        coupling.to_dense(device, parameters.weight(k), dense.view_mut())?;
        errors.push(relative_error(wide(&dense)?, expected.data.iter().copied()));
    }
    let mut evaluator = Evaluator::new(device, &architecture, x.cols())?;
    let likelihood = evaluator.log_likelihood(device, &parameters, x.view())?;
    errors.push(relative_error(likelihood.per_sample(), outputs.per_sample.data.iter().copied()));
    errors.push(relative_error(likelihood.l2j_per_layer.iter().copied(), outputs.log_abs_det.iter().copied()));
    let mut s = device.to_host(evaluator.latents())?;
    Inverter::new(device, &parameters)?.invert(&mut s)?;
    errors.push(relative_error(s.into_iter().map(Scalar::widen), network.x.data.iter().copied()));
    Ok(errors)
}
