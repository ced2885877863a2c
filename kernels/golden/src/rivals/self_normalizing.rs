//! `self_normalising`: the directions of weights and learned inverses \[M46\], from steps.

use relgrad_kernels::check::relative_error;
use relgrad_kernels::stateful::{Constraint, SelfNormalizing, Stateful};
use relgrad_kernels::{Cpu, Result, Scalar};

use super::{Network, STEP, difference, numbers};
use crate::array::{Array, Direction, arrays, biases};
use crate::compare::distance;
use crate::node::{Node, Read};

/// What the file has of it.
#[derive(Debug, Clone)]
pub(crate) struct LearnedInverses {
    /// λ.
    weight: f64,
    inverses: Vec<Array>,
    direction: Direction,
    /// Of the weights with λ = 0.
    free: Vec<Array>,
    of_inverses: Vec<Array>,
    losses: Vec<f64>,
}

pub(crate) fn read(node: &Node<'_>, network: &Network) -> Read<LearnedInverses> {
    let (dim, layers) = (network.architecture.dim, network.architecture.layers);
    let outputs = node.field("outputs")?;
    let squares = |node: &Node<'_>, name: &str| arrays(&node.field(name)?, layers, [dim, dim]);
    Ok(LearnedInverses {
        weight: node.field("config")?.field("weight")?.number()?,
        inverses: squares(&node.field("inputs")?, "R")?,
        direction: Direction {
            weights: squares(&outputs, "dW")?,
            biases: biases(&outputs.field("db")?, &network.architecture, dim)?,
        },
        free: squares(&outputs, "dW_without_recon")?,
        of_inverses: squares(&outputs, "dR")?,
        losses: numbers(&outputs.field("recon")?, layers)?,
    })
}

impl LearnedInverses {
    pub(crate) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Result<Vec<f64>> {
        let mut errors = Vec::new();
        for weight in [self.weight, 0.0] {
            let (mut parameters, x) = network.on::<T>(device)?;
            let constraint = Constraint { weight, gain: 0.0, ..Constraint::default() };
            let mut state = SelfNormalizing::new(device, &parameters, x.cols(), constraint)?;
            for (k, inverse) in self.inverses.iter().enumerate() {
                let data: Vec<T> = inverse.data.iter().map(|&entry| T::of(entry)).collect();
                state.set_inverse(device, k, &data)?;
            }
            let (before, inverses) = (network.on::<T>(device)?.0, state.inverses(device)?);
            state.step(device, &mut parameters, x.view().into(), STEP)?;
            let moves = difference(device, before.arrays(), parameters.arrays())?;
            let expected = if weight == 0.0 { &self.free } else { &self.direction.weights };
            let expected = expected.iter().chain(&self.direction.biases);
            errors.extend(moves.iter().zip(expected).map(|(ours, theirs)| distance(ours, theirs)));
            if weight == 0.0 {
                continue;
            }
            for ((after, before), theirs) in state.inverses(device)?.iter().zip(inverses).zip(&self.of_inverses) {
                let moved: Vec<f64> =
                    after.iter().zip(before).map(|(after, before)| (after.widen() - before.widen()) / STEP).collect();
                errors.push(distance(&moved, theirs));
            }
            errors.push(relative_error(state.losses(), self.losses.iter().copied()));
        }
        Ok(errors)
    }
}
