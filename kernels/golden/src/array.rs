//! The arrays of a file: numbers of a known shape.

use relgrad_kernels::Architecture;
use relgrad_vocabulary::quoted;

use crate::node::{Node, Read};

/// Directions of the weights (D×D) and of the biases (D×1, none without biases), first layer first.
#[derive(Debug, Clone)]
pub struct Direction {
    /// Of the weights.
    pub weights: Vec<Array>,
    /// Of the biases.
    pub biases: Vec<Array>,
}

/// A matrix with its numbers column by column, the order of the kernels (the file has them row by row).
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Its numbers.
    pub data: Vec<f64>,
}

/// One vector of `rows` numbers a layer, or `null`, as the architecture has biases or not.
pub(crate) fn biases<C>(node: &Node<'_>, architecture: &Architecture<C>, rows: usize) -> Read<Vec<Array>> {
    match (node.is_null(), architecture.bias) {
        (true, false) => Ok(Vec::new()),
        (true, true) => Err(node.wrong("must not be null: config.bias is true")),
        (false, false) => Err(node.wrong("must be null: config.bias is false")),
        (false, true) => {
            let list = counted(node, architecture.layers)?;
            list.iter().map(|entry| array(entry, &[rows])).collect()
        }
    }
}

pub(crate) fn arrays(node: &Node<'_>, count: usize, shape: [usize; 2]) -> Read<Vec<Array>> {
    counted(node, count)?.iter().map(|entry| array(entry, &shape)).collect()
}

pub(crate) fn counted<'a>(node: &Node<'a>, count: usize) -> Read<Vec<Node<'a>>> {
    let list = node.list()?;
    if list.len() == count {
        Ok(list)
    } else {
        Err(node.wrong(format!("must have one entry a layer, {count} in all, and has {}", list.len())))
    }
}

/// A D×M array for any M.
pub(crate) fn free_columns(node: &Node<'_>, rows: usize) -> Read<Array> {
    let shape = node.field("shape")?;
    let cols = match shape.list()?.as_slice() {
        [_, cols] => cols.count()?,
        _ => return Err(shape.wrong("must have two dimensions")),
    };
    array(node, &[rows, cols])
}

/// An array of exactly this shape, with finite numbers.
pub(crate) fn array(node: &Node<'_>, shape: &[usize]) -> Read<Array> {
    let found = node.field("shape")?;
    let dims: Vec<usize> = found.list()?.iter().map(Node::count).collect::<Read<_>>()?;
    if dims != shape {
        return Err(found.wrong(format!("must be {shape:?} and is {}", quoted(&format!("{dims:?}")))));
    }
    let layout = node.field("layout")?;
    if layout.text()? != "row_major" {
        return Err(layout.wrong("must be row_major"));
    }
    let data = node.field("data")?;
    let entries = data.list()?;
    let (rows, cols) = (shape[0], shape.get(1).copied().unwrap_or(1));
    if Some(entries.len()) != rows.checked_mul(cols) {
        return Err(data.wrong(format!("must have {rows}·{cols} numbers and has {}", entries.len())));
    }
    let row_major: Vec<f64> = entries.iter().map(Node::number).collect::<Read<_>>()?;
    let data = (0..cols).flat_map(|col| (0..rows).map(move |row| row * cols + col)).map(|at| row_major[at]).collect();
    Ok(Array { rows, cols, data })
}
