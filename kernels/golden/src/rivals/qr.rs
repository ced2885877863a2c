//! Layers W = H_1 … H_{D−1} U \[M53\]–\[M56\].

use relgrad_kernels::layer::Qr;
use relgrad_kernels::{Cpu, Result, Scalar};

use super::{Network, factors};
use crate::array::{Array, arrays};
use crate::node::{Node, Read};

/// The factors of a file's network, and what must come out.
#[derive(Debug, Clone)]
pub(super) struct QrCase {
    /// Reflections in a block, beside those of the file; the numbers must not depend on it.
    blocks: Vec<usize>,
    /// The array of each layer as the library keeps it.
    layers: Vec<Array>,
    outputs: factors::FactorOutputs,
}

impl QrCase {
    pub(super) fn read(node: &Node<'_>, network: &Network) -> Read<Self> {
        let config = node.field("config")?;
        let trapezoidal = config.field("trapezoidal")?;
        if !trapezoidal.flag()? {
            return Err(trapezoidal.wrong("must be true: h_i is zero above its entry i"));
        }
        let dim = network.architecture.dim;
        let (inputs, outputs) = (node.field("inputs")?, node.field("outputs")?);
        let gradients = layers_of(&outputs, ["d_H", "d_upper", "d_log_diag"], network)?;
        let mut layers = layers_of(&inputs, ["H", "upper", "log_diag"], network)?;
        let signs = factors::columns(&inputs.field("sign")?, network)?;
        layers
            .iter_mut()
            .zip(signs)
            .for_each(|(layer, signs)| layer.data[dim * (dim + 1)..].copy_from_slice(&signs.data));
        Ok(Self {
            blocks: vec![1, 2, dim, config.field("block")?.count()?],
            layers,
            outputs: factors::FactorOutputs::read(&outputs, network, gradients)?,
        })
    }

    pub(super) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Vec<(&'static str, Result<Vec<f64>>)> {
        let errors =
            |&block: &usize| factors::errors::<T, _>(device, Qr { block }, network, &self.layers, &self.outputs);
        self.blocks.iter().map(|block| ("qr", errors(block))).collect()
    }
}

/// Arrays of reflections (D×(D−1)), a strict upper triangle (D×D) and a column, as the library keeps them; zero where
/// there are signs.
fn layers_of(node: &Node<'_>, [h, upper, log]: [&str; 3], network: &Network) -> Read<Vec<Array>> {
    let (dim, count) = (network.architecture.dim, network.architecture.layers);
    let reflections = arrays(&node.field(h)?, count, [dim, dim.max(2) - 1])?;
    let uppers = arrays(&node.field(upper)?, count, [dim, dim])?;
    let logs = factors::columns(&node.field(log)?, network)?;
    let array = |((reflections, upper), logs): ((Array, Array), Array)| {
        let mut data = upper.data;
        data.iter_mut().zip(reflections.data).for_each(|(to, h)| *to += h);
        data.extend(logs.data);
        data.resize(dim * (dim + 2), 0.0);
        Array { rows: dim, cols: dim + 2, data }
    };
    Ok(reflections.into_iter().zip(uppers).zip(logs).map(array).collect())
}
