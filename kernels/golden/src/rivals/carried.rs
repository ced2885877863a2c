//! Relative steps with a carried inverse [M29]–[M31].

use relgrad_kernels::stateful::{RelativeCarried, Stateful};
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Cpu, Result, Scalar};

use super::Network;
use super::trajectory::{Reached, State, Steps, start};
use crate::node::{Node, Read};

/// The runs of a file.
#[derive(Debug, Clone)]
pub(super) struct CarriedRuns {
    steps: Steps,
    /// Whether the direction is the transposed one, and the states.
    runs: Vec<(bool, Vec<Reached>)>,
}

impl CarriedRuns {
    pub(super) fn read(node: &Node<'_>, network: &Network) -> Read<Self> {
        let outputs = node.field("outputs")?;
        let run = |run: &Node<'_>| {
            let transposed = match run.text()? {
                "relative" => false,
                "transposed" => true,
                _ => return Err(run.not("relative or transposed")),
            };
            Ok((transposed, Reached::read_all(&outputs.field(run.text()?)?, network)?))
        };
        let runs = node.field("config")?.field("runs")?.list()?.iter().map(run).collect::<Read<_>>()?;
        Ok(Self { steps: Steps::read(node, network)?, runs })
    }

    pub(super) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Vec<(&'static str, Result<Vec<f64>>)> {
        let named = |(transposed, states): &(bool, Vec<Reached>)| {
            let name = if *transposed { "transposed-carried" } else { "relative-carried" };
            (name, self.run::<T>(device, network, *transposed, states))
        };
        self.runs.iter().map(named).collect()
    }

    fn run<T: Scalar>(
        &self,
        device: &Cpu,
        network: &Network,
        transposed: bool,
        states: &[Reached],
    ) -> Result<Vec<f64>> {
        let mut parameters = start::<T>(device, network)?;
        let step = InPlaceStep { transposed, guard: false, ..InPlaceStep::default() };
        let mut carried = RelativeCarried::new(device, &parameters, network.x.cols, step)?;
        let (mut errors, mut done) = (Vec::new(), 0);
        for reached in states {
            for t in done + 1..=reached.step {
                let batch = self.steps.batch(device, t)?;
                carried.step(device, &mut parameters, batch.view().into(), self.steps.mu)?;
            }
            done = reached.step;
            let state = State {
                inverse_transposed: &|k| carried.inverse_transposed(k),
                shift: &|k| carried.shift(k),
                log_abs_dets: carried.log_abs_dets().unwrap_or_default(),
            };
            errors.extend(reached.errors(device, &parameters, &state)?);
        }
        Ok(errors)
    }
}
