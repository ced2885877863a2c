//! Golden files of networks of convolutions.

use relgrad_kernels::{Convolution, CouplingKind};
use relgrad_vocabulary::quoted;

use crate::Case;
use crate::array::{Array, Direction, array, arrays, biases, counted};
use crate::case::{Golden, Outputs};
use crate::dense::{architecture, require_sums};
use crate::node::{Node, Read};
use crate::tolerance::{Groups, Tolerances, groups, measured_errors};

/// Reads the rest of a file whose kind is `conv`.
///
/// # Errors
/// Names the field and what is wrong with it.
pub(crate) fn read(root: &Node<'_>, id: String) -> Read<Case> {
    let config = root.field("config")?;
    let conv = config.field("conv")?;
    let grid = pair(&conv.field("grid")?)?;
    let Some(kernel) = kernel_of(&conv.field("support")?, grid)? else {
        let reason = "kernels whose taps are no window around the first".to_string();
        return Ok(Case::Unsupported { id, reason });
    };
    let convolution = Convolution { channels: conv.field("channels")?.count()?, grid, kernel };
    let architecture = architecture(&config)?.with(CouplingKind::Convolution(convolution));
    architecture.validate().map_err(|cause| config.wrong(cause))?;

    let (dim, layers, batch) = (architecture.dim, architecture.layers, config.field("N")?.count()?);
    let (inputs, outputs) = (root.field("inputs")?, root.field("outputs")?);
    let loglik = outputs.field("loglik")?;
    require_sums(&loglik, batch, layers)?;
    let direction = |node: &Node<'_>| -> Read<Direction> {
        Ok(Direction {
            weights: kernels(&node.field("dK")?, layers, &convolution)?,
            biases: biases(&node.field("db")?, &architecture, convolution.channels)?,
        })
    };
    let relative = outputs.child("relative").filter(|relative| !relative.is_null());
    Ok(Case::Network(Box::new(Golden {
        id,
        architecture,
        weights: kernels(&inputs.field("K")?, layers, &convolution)?,
        biases: biases(&inputs.field("b")?, &architecture, convolution.channels)?,
        x: array(&inputs.field("X")?, &[dim, batch])?,
        outputs: Outputs {
            y: arrays(&outputs.field("Y")?, layers, [dim, batch])?,
            delta: arrays(&outputs.field("delta")?, layers, [dim, batch])?,
            z: array(&outputs.field("Z")?, &[dim, batch])?,
            per_sample: array(&loglik.field("per_sample")?, &[batch])?,
            lp: array(&loglik.field("Lp")?, &[batch])?,
            l1j: array(&loglik.field("L1J")?, &[batch])?,
            l2j_per_layer: array(&loglik.field("L2J_per_layer")?, &[layers])?,
            ordinary: direction(&outputs.field("ordinary")?)?,
            relative: relative.map(|node| direction(&node)).transpose()?,
            transposed: None,
            inverse: None,
        },
        tolerances: tolerances(root, convolution.is_full())?,
        conditional: None,
    })))
}

/// The file has tolerances of closed forms in f64. Autodiff must meet the same. Those of f32 follow by the rule that
/// made the others: 20 times the measured error, here in f64 and scaled to the precision of f32, and at least 1e-5.
fn tolerances(root: &Node<'_>, full: bool) -> Read<Tolerances> {
    let mut required = vec!["loglik", "parts", "forward", "delta", "ordinary"];
    if full {
        required.push("relative");
    }
    let f64 = groups(&root.field("tol")?.field("f64")?, &required)?;
    let measured = measured_errors(root, "closed_form_f64")?;
    let precision = f64::from(f32::EPSILON) / f64::EPSILON;
    let f32 = f64
        .iter()
        .map(|(group, tolerance)| {
            let error = measured.get(group).copied().flatten().unwrap_or(0.0);
            (group.clone(), tolerance.map(|_| (20.0 * error * precision).max(1e-5)))
        })
        .collect();
    Ok(Tolerances { f64_autodiff: f64.clone(), f64, f32, autodiff_error: Groups::new() })
}

/// The sizes of the window whose taps these are, if they are one.
fn kernel_of(support: &Node<'_>, grid: [usize; 2]) -> Read<Option<[usize; 2]>> {
    let mut positions = Vec::new();
    let mut axes = [Vec::new(), Vec::new()];
    for tap in support.list()? {
        let coordinates = tap.list()?;
        if coordinates.len() != 2 {
            return Err(tap.wrong("must have two coordinates"));
        }
        let mut position = 0;
        for ((coordinate, size), axis) in coordinates.iter().zip(grid).zip(&mut axes) {
            let value = coordinate.number()?;
            if value.fract() != 0.0 || value < 0.0 || value >= size as f64 {
                return Err(coordinate.wrong(format!("must be a whole number from 0 to {}", size - 1)));
            }
            position = position * size + value as usize;
            axis.push(value as usize);
        }
        positions.push(position);
    }
    let [rows, cols] = axes.map(|mut axis| {
        axis.sort_unstable();
        axis.dedup();
        axis.len()
    });
    let kernel = [rows, cols];
    // A window has as many taps as its sides say; others could say far more than the file has.
    if rows.checked_mul(cols) != Some(positions.len()) {
        return Ok(None);
    }
    let mut window: Vec<usize> = Convolution { channels: 1, grid, kernel }.tap_positions().collect();
    window.sort_unstable();
    positions.sort_unstable();
    Ok((!positions.is_empty() && window == positions).then_some(kernel))
}

fn pair(node: &Node<'_>) -> Read<[usize; 2]> {
    match node.list()?.as_slice() {
        [rows, cols] => Ok([rows.count()?, cols.count()?]),
        _ => Err(node.wrong("must have two entries")),
    }
}

/// K\[out, in, τ1, τ2\] of every layer as columns by input channel, the taps of the support alone.
fn kernels(node: &Node<'_>, layers: usize, convolution: &Convolution) -> Read<Vec<Array>> {
    counted(node, layers)?.iter().map(|entry| kernel(entry, convolution)).collect()
}

fn kernel(node: &Node<'_>, convolution: &Convolution) -> Read<Array> {
    let (c, [rows, cols]) = (convolution.channels, convolution.grid);
    let expected = [c, c, rows, cols];
    let shape = node.field("shape")?;
    let found: Vec<usize> = shape.list()?.iter().map(Node::count).collect::<Read<_>>()?;
    if found != expected {
        let found = quoted(&format!("{found:?}"));
        return Err(shape.wrong(format!("must be {expected:?} and is {found}")));
    }
    let data = node.field("data")?;
    let numbers: Vec<f64> = data.list()?.iter().map(Node::number).collect::<Read<_>>()?;
    let points = convolution.points();
    if numbers.len() != c * c * points {
        return Err(data.wrong(format!("must have {} numbers and has {}", c * c * points, numbers.len())));
    }
    let taps = convolution.tap_positions();
    let columns = (0..c).flat_map(|input| (0..c).map(move |output| (output, input)));
    let data = columns
        .flat_map(|(output, input)| taps.clone().map(move |tap| (output * c + input) * points + tap))
        .map(|at| numbers[at])
        .collect();
    Ok(Array { rows: c * convolution.taps(), cols: c, data })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kernel_sizes(support: Value, grid: [usize; 2]) -> Read<Option<[usize; 2]>> {
        kernel_of(&Node::root(&support), grid)
    }

    #[test]
    fn windows_are_told_from_other_sets_of_taps() {
        let full: Vec<_> = (0..6).map(|tap| json!([0, tap])).collect();
        assert_eq!(kernel_sizes(json!(full), [1, 6]), Ok(Some([1, 6])));
        assert_eq!(kernel_sizes(json!([[0, 0]]), [4, 4]), Ok(Some([1, 1])));
        assert_eq!(kernel_sizes(json!([[0, 5], [0, 0], [0, 1]]), [1, 6]), Ok(Some([1, 3])));
        assert_eq!(kernel_sizes(json!([[0, 0], [0, 1], [0, 2]]), [1, 6]), Ok(None));
        assert_eq!(kernel_sizes(json!([]), [1, 6]), Ok(None));
        let diagonal: Vec<_> = (0..100_000).map(|tap| json!([tap, tap])).collect();
        assert_eq!(kernel_sizes(json!(diagonal), [100_000; 2]), Ok(None));
        assert!(kernel_sizes(json!([[0, 6]]), [1, 6]).unwrap_err().contains("0 to 5"));
        assert!(kernel_sizes(json!([[0]]), [1, 6]).unwrap_err().contains("two coordinates"));
    }
}
