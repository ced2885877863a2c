//! Layers W = P L U \[M50\]–\[M52\].

use relgrad_kernels::layer::Plu;
use relgrad_kernels::{Cpu, Result, Scalar};

use super::{Network, factors};
use crate::array::{Array, arrays, counted};
use crate::node::{Node, Read};

/// The factors of a file's network, and what must come out.
#[derive(Debug, Clone)]
pub(super) struct PluCase {
    /// The array of each layer as the library keeps it.
    layers: Vec<Array>,
    outputs: factors::FactorOutputs,
}

impl PluCase {
    pub(super) fn read(node: &Node<'_>, network: &Network) -> Read<Self> {
        let (dim, count) = (network.architecture.dim, network.architecture.layers);
        let inputs = node.field("inputs")?;
        let square = |name: &str| arrays(&inputs.field(name)?, count, [dim, dim]);
        let (lower, upper) = (square("lower")?, square("upper")?);
        let column = |name: &str| factors::columns(&inputs.field(name)?, network);
        let (signs, logs) = (column("sign")?, column("log_diag")?);
        let orders = counted(&inputs.field("perm")?, count)?;
        let mut layers = Vec::new();
        for (k, order) in orders.iter().enumerate() {
            let mut data: Vec<f64> = lower[k].data.iter().zip(&upper[k].data).map(|(l, u)| l + u).collect();
            data.iter_mut().step_by(dim + 1).zip(&logs[k].data).for_each(|(to, log)| *to += log);
            data.extend(&signs[k].data);
            let rows = order.list()?;
            if rows.len() != dim {
                return Err(order.wrong(format!("must have {dim} rows and has {}", rows.len())));
            }
            for row in rows {
                data.push(row.number()?);
            }
            layers.push(Array { rows: dim, cols: dim + 2, data });
        }
        let outputs = node.field("outputs")?;
        let square = |name: &str| arrays(&outputs.field(name)?, count, [dim, dim]);
        let logs = factors::columns(&outputs.field("d_log_diag")?, network)?;
        let mut gradients = Vec::new();
        for ((lower, upper), logs) in square("d_lower")?.iter().zip(&square("d_upper")?).zip(&logs) {
            let mut data: Vec<f64> = lower.data.iter().zip(&upper.data).map(|(l, u)| l + u).collect();
            data.iter_mut().step_by(dim + 1).zip(&logs.data).for_each(|(to, log)| *to += log);
            data.resize(dim * (dim + 2), 0.0);
            gradients.push(Array { rows: dim, cols: dim + 2, data });
        }
        Ok(Self { layers, outputs: factors::FactorOutputs::read(&outputs, network, gradients)? })
    }

    pub(super) fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Vec<(&'static str, Result<Vec<f64>>)> {
        vec![("plu", factors::errors::<T, _>(device, Plu, network, &self.layers, &self.outputs))]
    }
}
