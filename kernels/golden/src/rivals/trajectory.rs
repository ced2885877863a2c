//! Parameters and inverses after some plain steps, with the batches that led there.

use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::{Matrix, MatrixRef};
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Cpu, Result, Scalar};

use super::{Network, rival_biases};
use crate::array::{Array, array, arrays, counted};
use crate::compare::{distance, upload, wide};
use crate::node::{Node, Read};

/// More steps than a file can reasonably ask for.
const MOST_STEPS: usize = 10_000;

/// The steps of a kind: their length, and the batches that they take in turn.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    pub(super) mu: f64,
    batches: Vec<Array>,
}

impl Steps {
    pub(super) fn read(node: &Node<'_>, network: &Network) -> Read<Self> {
        let mu = node.field("config")?.field("mu")?;
        let length = mu.number()?;
        if length <= 0.0 {
            return Err(mu.wrong("must be positive"));
        }
        let batches = node.field("inputs")?.field("batches")?;
        let shape = [network.x.rows, network.x.cols];
        let read: Vec<Array> = batches.list()?.iter().map(|batch| array(batch, &shape)).collect::<Read<_>>()?;
        if read.is_empty() { Err(batches.wrong("must not be empty")) } else { Ok(Self { mu: length, batches: read }) }
    }

    /// The batch of step t, from 1.
    pub(super) fn batch<T: Scalar>(&self, device: &Cpu, t: usize) -> Result<Matrix<Cpu, T>> {
        upload(device, &self.batches[(t - 1) % self.batches.len()])
    }
}

/// What must be there after a step.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) step: usize,
    weights: Vec<Array>,
    biases: Vec<Array>,
    /// R_k = W_k⁻¹.
    inverses: Vec<Array>,
    /// q_k = R_k b_k, where the file has it.
    shifts: Vec<Array>,
    log_abs_dets: Vec<f64>,
}

/// What a method keeps: W_k^{-T}, R_k b_k where it has that, and log|det W_k|.
pub(super) struct State<'a, T: Scalar> {
    pub(super) inverse_transposed: &'a dyn Fn(usize) -> MatrixRef<'a, Cpu, T>,
    pub(super) shift: &'a dyn Fn(usize) -> Option<MatrixRef<'a, Cpu, T>>,
    pub(super) log_abs_dets: &'a [f64],
}

impl Reached {
    /// The states of a run, in the order of their steps.
    pub(super) fn read_all(node: &Node<'_>, network: &Network) -> Read<Vec<Self>> {
        let states = node.list()?;
        let read: Vec<Self> = states.iter().map(|state| Self::read(state, network)).collect::<Read<_>>()?;
        if read.is_empty() || !read.is_sorted_by_key(|reached| reached.step) {
            return Err(node.wrong("must have the states of a run, in the order of their steps"));
        }
        Ok(read)
    }

    fn read(node: &Node<'_>, network: &Network) -> Read<Self> {
        let architecture = &network.architecture;
        let (layers, dim) = (architecture.layers, architecture.dim);
        let number = node.field("step")?;
        let step = number.count()?;
        if step > MOST_STEPS {
            return Err(number.wrong(format!("must be at most {MOST_STEPS}")));
        }
        let square = |name: &str| arrays(&node.field(name)?, layers, [dim, dim]);
        let shifts = node.child("q").map_or(Ok(Vec::new()), |node| rival_biases(&node, architecture))?;
        let log_abs_dets = counted(&node.field("log_abs_det")?, layers)?;
        Ok(Self {
            step,
            weights: square("W")?,
            biases: rival_biases(&node.field("b")?, architecture)?,
            inverses: square("R")?,
            shifts,
            log_abs_dets: log_abs_dets.iter().map(Node::number).collect::<Read<_>>()?,
        })
    }

    /// The errors of every array.
    pub(super) fn errors<T: Scalar>(
        &self,
        device: &Cpu,
        parameters: &Parameters<Cpu, T>,
        state: &State<'_, T>,
    ) -> Result<Vec<f64>> {
        let mut errors = Vec::new();
        let theirs = self.weights.iter().chain(&self.biases);
        for (ours, theirs) in parameters.arrays().iter().zip(theirs) {
            errors.push(distance(&wide(device, ours.view())?, theirs));
        }
        for (k, theirs) in self.inverses.iter().enumerate() {
            let ours = wide(device, (state.inverse_transposed)(k))?;
            let rows = (0..theirs.rows * theirs.cols).map(|at| ours[at / theirs.rows + at % theirs.rows * theirs.rows]);
            errors.push(relative_error(rows, theirs.data.iter().copied()));
        }
        for (k, theirs) in self.shifts.iter().enumerate() {
            let ours = (state.shift)(k).map_or(Ok(Vec::new()), |shift| wide(device, shift))?;
            errors.push(distance(&ours, theirs));
        }
        errors.push(relative_error(state.log_abs_dets.iter().copied(), self.log_abs_dets.iter().copied()));
        Ok(errors)
    }
}

/// The network that a run starts from.
pub(super) fn start<T: Scalar>(device: &Cpu, network: &Network) -> Result<Parameters<Cpu, T>> {
    let all = |from: &[Array]| from.iter().map(|array| upload(device, array)).collect::<Result<Vec<_>>>();
    let arrays = Arrays { weights: all(&network.weights)?, biases: all(&network.biases)?, head: None };
    Parameters::new(network.architecture, arrays)
}
