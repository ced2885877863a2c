//! Ordinary steps by a sketch of every W^{-T} on given coordinates [M35]–[M37].

use relgrad_kernels::device::Matrix;
use relgrad_kernels::stateful::{Control, OrdinaryCarried, Sketch, Stateful};
use relgrad_kernels::{Cpu, Result, Scalar};

use super::Network;
use super::trajectory::{Reached, State, Steps, start};
use crate::array::{Array, arrays, counted};
use crate::compare::upload;
use crate::node::{Node, Read};

/// The runs of a file.
#[derive(Debug, Clone)]
pub(super) struct SketchRuns {
    steps: Steps,
    /// Of every step, for each layer.
    coordinates: Vec<Vec<Vec<usize>>>,
    /// V of each layer at the start.
    directions: Vec<Array>,
    runs: Vec<(Control, Vec<Reached>)>,
}

impl SketchRuns {
    pub(super) fn read(node: &Node<'_>, network: &Network) -> Read<Self> {
        let (inputs, outputs) = (node.field("inputs")?, node.field("outputs")?);
        let (dim, layers) = (network.architecture.dim, network.architecture.layers);
        let run = |run: &Node<'_>| {
            let name = run.text()?;
            let control = name.parse().map_err(|_| run.not("none, columns or deflated"))?;
            Ok((control, Reached::read_all(&outputs.field(name)?, network)?))
        };
        let runs: Vec<(Control, Vec<Reached>)> =
            node.field("config")?.field("runs")?.list()?.iter().map(run).collect::<Read<_>>()?;
        let coordinates = inputs.field("coordinates")?;
        let of_layer = |node: &Node<'_>| node.list()?.iter().map(|i| i.index(dim)).collect::<Read<Vec<_>>>();
        let of_step = |node: &Node<'_>| counted(node, layers)?.iter().map(of_layer).collect::<Read<Vec<_>>>();
        let read: Vec<Vec<Vec<usize>>> = coordinates.list()?.iter().map(of_step).collect::<Read<_>>()?;
        let last = runs.iter().filter_map(|(_, states)| states.last()).map(|state| state.step).max();
        let width = read.first().map_or(0, |step| step[0].len());
        let is_whole = read.iter().flatten().all(|chosen| chosen.len() == width);
        if width == 0 || width > dim || !is_whole || last.is_some_and(|last| last > read.len()) {
            return Err(coordinates.wrong("must have as many coordinates for every layer of every step"));
        }
        let directions = arrays(&inputs.field("V")?, layers, [dim, 1])?;
        Ok(Self { steps: Steps::read(node, network)?, coordinates: read, directions, runs })
    }

    pub(super) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Vec<(&'static str, Result<Vec<f64>>)> {
        let named = |(control, states): &(Control, Vec<Reached>)| {
            let name = match control {
                Control::None => "ordinary-carried",
                Control::Columns => "ordinary-carried-columns",
                Control::Deflated => "ordinary-carried-deflated",
            };
            (name, self.run::<T>(device, network, *control, states))
        };
        self.runs.iter().map(named).collect()
    }

    fn run<T: Scalar>(
        &self,
        device: &Cpu,
        network: &Network,
        control: Control,
        states: &[Reached],
    ) -> Result<Vec<f64>> {
        let mut parameters = start::<T>(device, network)?;
        let coordinates = Some(self.coordinates[0][0].len());
        let sketch = Sketch { control, coordinates, ..Sketch::default() };
        let mut carried = OrdinaryCarried::new(device, &parameters, (network.x.cols, 0), sketch)?;
        if control == Control::Deflated {
            for (k, direction) in self.directions.iter().enumerate() {
                let direction: Matrix<Cpu, T> = upload(device, direction)?;
                carried.set_direction(device, k, direction.view())?;
            }
        }
        let (mut errors, mut done) = (Vec::new(), 0);
        for reached in states {
            for t in done + 1..=reached.step {
                let batch = self.steps.batch(device, t)?;
                let chosen = &self.coordinates[t - 1];
                carried.step_at(device, &mut parameters, batch.view().into(), self.steps.mu, chosen)?;
            }
            done = reached.step;
            let state = State {
                inverse_transposed: &|k| carried.inverse_transposed(k),
                shift: &|_| None,
                log_abs_dets: carried.log_abs_dets().unwrap_or_default(),
            };
            errors.extend(reached.errors(device, &parameters, &state)?);
        }
        Ok(errors)
    }
}
