//! Golden files of dense networks.

use relgrad_kernels::{Activation, Architecture, Base};
use relgrad_vocabulary::quoted;

use crate::Case;
use crate::array::{Array, Direction, array, arrays, biases, free_columns};
use crate::case::{Conditional, Golden, Outputs};
use crate::node::{Node, Read};
use crate::tolerance::tolerances;

/// Reads the rest of a file whose kind is `dense`.
///
/// # Errors
/// Names the field and what is wrong with it.
pub(crate) fn read(root: &Node<'_>, id: String) -> Read<Case> {
    let config = root.field("config")?;
    let conditional = config.child("conditional").filter(|conditional| !conditional.is_null());
    if let Some(conditional) = &conditional {
        let kind = conditional.field("kind")?.text()?;
        if kind != "location_scale_affine" {
            let reason = format!("conditional densities of kind {}", quoted(kind));
            return Ok(Case::Unsupported { id, reason });
        }
    }

    let architecture = architecture(&config)?;
    let (dim, layers, batch) = (architecture.dim, architecture.layers, config.field("N")?.count()?);
    let inputs = root.field("inputs")?;
    let conditional = conditional.map(|config| config.field("d")?.count()).transpose()?;
    Ok(Case::Network(Box::new(Golden {
        id,
        architecture: Architecture { conditions: conditional.unwrap_or(0), ..architecture.into() },
        weights: arrays(&inputs.field("W")?, layers, [dim, dim])?,
        biases: biases(&inputs.field("b")?, &architecture, dim)?,
        x: array(&inputs.field("X")?, &[dim, batch])?,
        outputs: outputs(&root.field("outputs")?, &architecture, batch)?,
        tolerances: tolerances(root, conditional.is_some())?,
        conditional: conditional.map(|conditions| conditional_of(root, conditions, dim, batch)).transpose()?,
    })))
}

fn conditional_of(root: &Node<'_>, conditions: usize, dim: usize, batch: usize) -> Read<Conditional> {
    let inputs = root.field("inputs")?.field("conditional")?;
    let outputs = root.field("outputs")?.field("conditional")?;
    let four = |node: &Node<'_>, [matrix, offset, log_matrix, log_offset]: [&str; 4]| -> Read<[Array; 4]> {
        Ok([
            array(&node.field(matrix)?, &[dim, conditions])?,
            array(&node.field(offset)?, &[dim])?,
            array(&node.field(log_matrix)?, &[dim, conditions])?,
            array(&node.field(log_offset)?, &[dim])?,
        ])
    };
    Ok(Conditional {
        u: array(&inputs.field("u")?, &[conditions, batch])?,
        density: four(&inputs, ["A", "a", "B", "c"])?,
        gradient: four(&outputs, ["dA", "da", "dB", "dc"])?,
    })
}

pub(crate) fn architecture(config: &Node<'_>) -> Read<Architecture> {
    let sigma = config.field("nonlinearity")?;
    let name = sigma.field("name")?;
    let activation = match name.text()? {
        "s_L" => Activation::SmoothLeaky { alpha: sigma.field("alpha")?.number()? },
        "s_T" => {
            Activation::TanhLinear { alpha: sigma.field("alpha")?.number()?, beta: sigma.field("beta")?.number()? }
        }
        _ => return Err(name.not("s_L or s_T")),
    };
    let base = config.field("base")?;
    let base = match base.text()? {
        "normal" => Base::Normal,
        "sech" => Base::SECH,
        "logistic" => Base::Logistic,
        "laplace" => Base::Laplace,
        _ => return Err(base.not("normal, sech, logistic or laplace")),
    };
    let architecture = Architecture {
        activation,
        base,
        last_nonlinear: config.field("last_nonlinear")?.flag()?,
        bias: config.field("bias")?.flag()?,
        ..Architecture::new(config.field("D")?.count()?, config.field("L")?.count()?)
    };
    architecture.validate().map_err(|cause| config.wrong(cause))?;
    Ok(architecture)
}

fn outputs(outputs: &Node<'_>, architecture: &Architecture, batch: usize) -> Read<Outputs> {
    let (dim, layers) = (architecture.dim, architecture.layers);
    let loglik = outputs.field("loglik")?;
    require_sums(&loglik, batch, layers)?;
    let direction = |name: &str| -> Read<Direction> {
        let node = outputs.field(name)?;
        let weights = arrays(&node.field("dW")?, layers, [dim, dim])?;
        Ok(Direction { weights, biases: biases(&node.field("db")?, architecture, dim)? })
    };
    let inverse = outputs.field("inverse")?;
    let s = inverse.field("S")?;
    let inverse_s = free_columns(&s, dim)?;
    let inverse_x = array(&inverse.field("X")?, &[dim, inverse_s.cols])?;
    Ok(Outputs {
        y: arrays(&outputs.field("Y")?, layers, [dim, batch])?,
        z: array(&outputs.field("Z")?, &[dim, batch])?,
        per_sample: array(&loglik.field("per_sample")?, &[batch])?,
        lp: array(&loglik.field("Lp")?, &[batch])?,
        l1j: array(&loglik.field("L1J")?, &[batch])?,
        l2j_per_layer: array(&loglik.field("L2J_per_layer")?, &[layers])?,
        delta: arrays(&outputs.field("delta")?, layers, [dim, batch])?,
        ordinary: direction("ordinary")?,
        relative: Some(direction("relative")?),
        transposed: Some(direction("transposed")?),
        inverse: Some([inverse_s, inverse_x]),
    })
}

/// The mean log-likelihood and the whole log-determinant of a file are those of its samples and layers: only these are
/// compared.
pub(crate) fn require_sums(loglik: &Node<'_>, batch: usize, layers: usize) -> Read<()> {
    const TOLERANCE: f64 = 1e-9;
    let parts = [("mean", "per_sample", batch, 1.0 / batch as f64), ("L2J", "L2J_per_layer", layers, 1.0)];
    for (whole, of, count, scale) in parts {
        let (node, parts) = (loglik.field(whole)?, array(&loglik.field(of)?, &[count])?);
        let expected = scale * parts.data.iter().sum::<f64>();
        let found = node.number()?;
        if (found - expected).abs() > TOLERANCE * expected.abs().max(1.0) {
            return Err(node.wrong(format!("is {found}, and that of {of} is {expected}")));
        }
    }
    Ok(())
}
