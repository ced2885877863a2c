//! `fff`: the directions of network and decoder \[M59\], from steps, with the file's probes and with all of them
//! \[M60\].

use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::stateful::{FreeForm, FreeFormSettings, Stateful};
use relgrad_kernels::{Cpu, Result, Scalar};

use super::{Network, STEP, difference, numbers};
use crate::array::{Array, Direction, arrays, biases};
use crate::compare::{distance, upload};
use crate::node::{Node, Read};

/// What the file has of it.
#[derive(Debug, Clone)]
pub(crate) struct LearnedDecoder {
    beta: f64,
    decoder: Direction,
    /// K arrays of D×N.
    probes: Vec<Array>,
    network: Direction,
    of_decoder: Direction,
    surrogate: Vec<f64>,
    losses: Vec<f64>,
    /// Of the network, in the mean over the probes.
    mean: Direction,
}

pub(crate) fn read(node: &Node<'_>, network: &Network) -> Read<LearnedDecoder> {
    let architecture = &network.architecture;
    let (dim, layers, samples) = (architecture.dim, architecture.layers, network.x.cols);
    let (inputs, outputs) = (node.field("inputs")?, node.field("outputs")?);
    let direction = |node: &Node<'_>, weights: &str, shifts: &str| -> Read<Direction> {
        Ok(Direction {
            weights: arrays(&node.field(weights)?, layers, [dim, dim])?,
            biases: biases(&node.field(shifts)?, architecture, dim)?,
        })
    };
    let probes = inputs.field("probes")?;
    let count = probes.list()?.len();
    Ok(LearnedDecoder {
        beta: node.field("config")?.field("beta")?.number()?,
        decoder: direction(&inputs, "C", "c")?,
        probes: arrays(&probes, count, [dim, samples])?,
        network: direction(&outputs, "dW", "db")?,
        of_decoder: direction(&outputs, "dC", "dc")?,
        surrogate: numbers(&outputs.field("surrogate")?, samples)?,
        losses: numbers(&outputs.field("recon")?, samples)?,
        mean: direction(&outputs, "mean_dW", "mean_db")?,
    })
}

impl LearnedDecoder {
    pub(crate) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Result<Vec<f64>> {
        let dim = network.architecture.dim;
        let length = (dim as f64).sqrt();
        // √D e_i for every sample: their mean is that over all orthogonal probes.
        let units = (0..dim * network.x.cols * dim).map(|at| {
            let (row, probe) = (at % dim, at / dim / network.x.cols);
            if row == probe { length } else { 0.0 }
        });
        let given = self.probes.iter().flat_map(|probe| &probe.data).copied();
        let (mut errors, surrogate_and_loss) =
            self.step::<T>(device, network, (self.probes.len(), given.collect()), &self.network)?;
        for (ours, theirs) in surrogate_and_loss.into_iter().zip([&self.surrogate, &self.losses]) {
            errors.push(relative_error(ours, theirs.iter().copied()));
        }
        errors.extend(self.step::<T>(device, network, (dim, units.collect()), &self.mean)?.0);
        Ok(errors)
    }

    /// The errors of a step's directions, and its values for every sample.
    fn step<T: Scalar>(
        &self,
        device: &Cpu,
        network: &Network,
        (count, probes): (usize, Vec<f64>),
        expected: &Direction,
    ) -> Result<(Vec<f64>, [Vec<f64>; 2])> {
        let (mut parameters, x) = network.on::<T>(device)?;
        let before = network.on::<T>(device)?.0;
        let settings = FreeFormSettings { probes: count, beta: self.beta, ..FreeFormSettings::default() };
        let mut state = FreeForm::new(device, &parameters, x.cols(), settings)?;
        let probes: Vec<T> = probes.into_iter().map(T::of).collect();
        state.set_probes(device, &probes)?;
        let decoder = || -> Result<Vec<Matrix<Cpu, T>>> {
            self.decoder.weights.iter().chain(&self.decoder.biases).map(|array| upload(device, array)).collect()
        };
        for (to, from) in state.decoder_mut().iter_mut().zip(decoder()?) {
            *to = from;
        }
        let mut start = FreeForm::new(device, &before, x.cols(), settings)?;
        for (to, from) in start.decoder_mut().iter_mut().zip(decoder()?) {
            *to = from;
        }
        state.step(device, &mut parameters, x.view().into(), STEP)?;
        let mut errors = Vec::new();
        for ((before, after), expected) in
            [((before.arrays(), parameters.arrays()), expected), ((start.decoder(), state.decoder()), &self.of_decoder)]
        {
            let moves = difference(device, before, after)?;
            let expected = expected.weights.iter().chain(&expected.biases);
            errors.extend(moves.iter().zip(expected).map(|(ours, theirs)| distance(ours, theirs)));
        }
        Ok((errors, state.surrogate_and_loss(device)?))
    }
}
