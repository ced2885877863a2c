//! `hutchinson`: the gradient with inverses sketched by given probes \[M62\]–\[M63\], solved to the end or for some
//! steps.

use relgrad_kernels::backend::{GradientBackend, Hutchinson};
use relgrad_kernels::check::relative_error;
use relgrad_kernels::parameters::Gradient;
use relgrad_kernels::{Cpu, Result, Scalar};

use super::Network;
use crate::array::{Array, array, arrays, counted, free_columns};
use crate::compare::{distance, wide};
use crate::node::{Node, Read};

/// What the file has of it.
#[derive(Debug, Clone)]
pub(crate) struct ProbedInverses {
    probes: Array,
    /// The weights' directions with C = 0 and with C = γW, from a solve to the end.
    exact: [Vec<Array>; 2],
    stopped: Vec<Stopped>,
}

/// A solve that ends after some steps.
#[derive(Debug, Clone)]
struct Stopped {
    steps: usize,
    weights: Vec<Array>,
    /// ‖ω − Wᵀq‖ of every probe, layer by layer.
    residuals: Vec<Array>,
}

/// Steps after which a solve of a file's size has ended.
const MOST_STEPS: usize = 100;

pub(crate) fn read(node: &Node<'_>, network: &Network) -> Read<ProbedInverses> {
    let (dim, layers) = (network.architecture.dim, network.architecture.layers);
    let probes = free_columns(&node.field("inputs")?.field("probes")?, dim)?;
    let outputs = node.field("outputs")?;
    let weights = |node: &Node<'_>, name: &str| arrays(&node.field(name)?, layers, [dim, dim]);
    let exact = outputs.field("exact")?;
    let stopped = |entry: &Node<'_>| {
        let residual = |of: &Node<'_>| array(of, &[probes.cols]);
        Ok(Stopped {
            steps: entry.field("count")?.count()?,
            weights: weights(entry, "dW")?,
            residuals: counted(&entry.field("residual")?, layers)?.iter().map(residual).collect::<Read<_>>()?,
        })
    };
    Ok(ProbedInverses {
        exact: [weights(&exact, "dW")?, weights(&exact, "dW_control")?],
        stopped: outputs.field("iterations")?.list()?.iter().map(stopped).collect::<Read<_>>()?,
        probes,
    })
}

impl ProbedInverses {
    pub(crate) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Result<Vec<f64>> {
        let mut errors = Vec::new();
        for (control, expected) in [false, true].into_iter().zip(&self.exact) {
            let tolerance = T::EPS / 64.0;
            let method = Hutchinson { tolerance, most_iterations: MOST_STEPS, control, ..self.method() };
            errors.extend(self.gradient::<T>(device, network, method, expected)?.0);
        }
        for Stopped { steps, weights, residuals } in &self.stopped {
            let method = Hutchinson { tolerance: 0.0, most_iterations: *steps, control: false, ..self.method() };
            let (of_weights, found) = self.gradient::<T>(device, network, method, weights)?;
            errors.extend(of_weights);
            let pairs = found.iter().zip(residuals);
            errors.extend(pairs.map(|(ours, theirs)| relative_error(ours.iter().copied(), theirs.data.clone())));
        }
        Ok(errors)
    }

    fn method(&self) -> Hutchinson {
        Hutchinson { probes: self.probes.cols, ..Hutchinson::default() }
    }

    /// The errors of the weights, and the residuals of the solves.
    fn gradient<T: Scalar>(
        &self,
        device: &Cpu,
        network: &Network,
        method: Hutchinson,
        expected: &[Array],
    ) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
        let (parameters, x) = network.on::<T>(device)?;
        let mut out = Gradient::zeros(device, &network.architecture, "gradient")?;
        let mut work = method.workspace(device, &network.architecture, x.cols())?;
        let probes: Vec<T> = self.probes.data.iter().map(|&sign| T::of(sign)).collect();
        work.set_probes(device, &probes)?;
        method.gradient(device, &parameters, x.view(), &mut work, &mut out)?;
        let error = |(ours, theirs)| Ok(distance(&wide(device, relgrad_kernels::device::Matrix::view(ours))?, theirs));
        Ok((out.weights.iter().zip(expected).map(error).collect::<Result<_>>()?, work.residuals().to_vec()))
    }
}
