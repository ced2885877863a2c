//! The golden-vector file, schema `relgrad-golden-1`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use relgrad_kernels::{Activation, Architecture, Base, Dtype};
use serde_json::Value;

use super::golden_convolution::{self, ConvolutionGolden};
use super::node::{Node, Read};
use crate::console;

/// The schema this reader knows.
const SCHEMA: &str = "relgrad-golden-1";

/// One file.
#[derive(Debug, Clone)]
pub(crate) enum Case {
    /// A dense network: everything can be compared.
    Dense(Box<Golden>),
    /// A network of convolutions.
    Convolution(Box<ConvolutionGolden>),
    /// A kind of network that relgrad cannot evaluate yet.
    Unsupported {
        /// Name of the case.
        id: String,
        /// What is not supported.
        reason: String,
    },
}

/// A dense network, a batch, and what must come out.
#[derive(Debug, Clone)]
pub(crate) struct Golden {
    pub(crate) id: String,
    pub(crate) architecture: Architecture,
    /// W_k, D×D, first layer first.
    pub(crate) weights: Vec<Array>,
    /// b_k, D×1; empty without biases.
    pub(crate) biases: Vec<Array>,
    /// X, D×N.
    pub(crate) x: Array,
    pub(crate) outputs: Outputs,
    pub(crate) tolerances: Tolerances,
    /// The density of the outputs, where it depends on a condition.
    pub(crate) conditional: Option<Conditional>,
}

/// A location–scale density with affine m(u) = A u + a and log τ(u) = B u + c \[M6\].
#[derive(Debug, Clone)]
pub(crate) struct Conditional {
    /// u, d×N.
    pub(crate) u: Array,
    /// A, a, B, c.
    pub(crate) density: [Array; 4],
    /// dA, da, dB, dc.
    pub(crate) gradient: [Array; 4],
}

/// What the file says must come out; equations as in MATH.md.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    /// Y_k, D×N.
    pub(crate) y: Vec<Array>,
    /// Z = g(X), D×N.
    pub(crate) z: Array,
    /// ℓ, Lp and L1J of each sample, N×1; log|det W_k|, L×1.
    pub(crate) per_sample: Array,
    pub(crate) lp: Array,
    pub(crate) l1j: Array,
    pub(crate) l2j_per_layer: Array,
    /// δ_k, D×N, per sample.
    pub(crate) delta: Vec<Array>,
    pub(crate) ordinary: Direction,
    pub(crate) relative: Direction,
    pub(crate) transposed: Direction,
    /// S and g⁻¹(S), D×M.
    pub(crate) inverse_s: Array,
    pub(crate) inverse_x: Array,
}

/// Directions of the weights (D×D) and of the biases (D×1, none without biases), first layer first.
#[derive(Debug, Clone)]
pub(crate) struct Direction {
    pub(crate) weights: Vec<Array>,
    pub(crate) biases: Vec<Array>,
}

/// A matrix with its numbers column by column, the order of the kernels (the file has them row by row).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) data: Vec<f64>,
}

/// Tolerances by group, as the file gives them; `None` where that precision cannot be expected to work.
#[derive(Debug, Clone)]
pub(crate) struct Tolerances {
    pub(super) f64: Groups,
    pub(super) f64_autodiff: Groups,
    pub(super) f32: Groups,
    /// Measured error of full-Jacobian automatic differentiation in f64, by group, where the file has it.
    pub(super) autodiff_error: Groups,
}

pub(super) type Groups = BTreeMap<String, Option<f64>>;

/// Whether a quantity suffers from the conditioning of one layer or, like autodiff, of the product of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditioning {
    /// Closed forms, layer by layer.
    PerLayer,
    /// The full Jacobian.
    Product,
}

impl Tolerances {
    /// The tolerance of a group.
    ///
    /// The file has none for autodiff in f32. It follows from the file in two ways, of which the larger counts: the
    /// tolerance of f32 times what the conditioning of the product costs in f64, and the rule by which all tolerances
    /// were made (20 times a measured error) with the error in f64 scaled to the precision of f32. The first alone says
    /// nothing where both of its f64 tolerances stand at their floor. From 1 on, nothing can be expected.
    pub(crate) fn of(&self, dtype: Dtype, conditioning: Conditioning, group: &str) -> Option<f64> {
        let of = |groups: &Groups| groups.get(group).copied().flatten();
        match (dtype, conditioning) {
            (Dtype::F64, Conditioning::PerLayer) => of(&self.f64),
            (Dtype::F64, Conditioning::Product) => of(&self.f64_autodiff),
            (Dtype::F32, Conditioning::PerLayer) => of(&self.f32),
            (Dtype::F32, Conditioning::Product) => {
                let loss = (of(&self.f64_autodiff)? / of(&self.f64)?).max(1.0);
                let precision = f64::from(f32::EPSILON) / f64::EPSILON;
                let measured = of(&self.autodiff_error).map_or(0.0, |error| 20.0 * error * precision);
                Some((of(&self.f32)? * loss).max(measured)).filter(|tolerance| *tolerance < 1.0)
            }
        }
    }
}

/// What a file can be.
#[derive(Debug, Clone)]
pub(crate) enum File {
    /// Names of files beside it.
    Index(Vec<String>),
    /// A case.
    Case(Case),
}

/// Reads a file.
///
/// # Errors
/// Names the field and what is wrong with it.
pub(crate) fn parse(text: &[u8]) -> Read<File> {
    let value: Value = serde_json::from_slice(text).map_err(|cause| format!("not JSON: {cause}"))?;
    let root = Node::root(&value);
    match root.child("files").filter(|_| root.child("kind").is_none()) {
        Some(files) => index(&root, &files).map(File::Index),
        None => read(&value).map(File::Case),
    }
}

/// The names that an `index.json` lists.
fn index(root: &Node<'_>, files: &Node<'_>) -> Read<Vec<String>> {
    require_schema(root)?;
    let plain = |name: &str| Path::new(name).file_name() == Some(OsStr::new(name));
    let name = |entry: &Node<'_>| match entry.text()? {
        name if plain(name) => Ok(name.to_string()),
        _ => Err(entry.not("the name of a file beside the index")),
    };
    files.list()?.iter().map(name).collect()
}

fn require_schema(root: &Node<'_>) -> Read<()> {
    let schema = root.field("schema")?;
    if schema.text()? == SCHEMA { Ok(()) } else { Err(schema.not(SCHEMA)) }
}

fn read(value: &Value) -> Read<Case> {
    let root = Node::root(value);
    require_schema(&root)?;
    let id = console::quoted(root.field("id")?.text()?);
    let kind = root.field("kind")?;
    let config = root.field("config")?;
    match kind.text()? {
        "conv" => return golden_convolution::read(&root, id),
        "dense" => {}
        _ => return Err(kind.not("dense or conv")),
    }
    let conditional = config.child("conditional").filter(|conditional| !conditional.is_null());
    if let Some(conditional) = &conditional {
        let kind = conditional.field("kind")?.text()?;
        if kind != "location_scale_affine" {
            let reason = format!("conditional densities of kind {}", console::quoted(kind));
            return Ok(Case::Unsupported { id, reason });
        }
    }

    let architecture = architecture(&config)?;
    let (dim, layers, batch) = (architecture.dim, architecture.layers, config.field("N")?.count()?);
    let inputs = root.field("inputs")?;
    Ok(Case::Dense(Box::new(Golden {
        id,
        architecture,
        weights: arrays(&inputs.field("W")?, layers, [dim, dim])?,
        biases: biases(&inputs.field("b")?, &architecture)?,
        x: array(&inputs.field("X")?, &[dim, batch])?,
        outputs: outputs(&root.field("outputs")?, &architecture, batch)?,
        tolerances: tolerances(&root, conditional.is_some())?,
        conditional: match conditional {
            Some(config) => Some(conditional_of(&root, config.field("d")?.count()?, dim, batch)?),
            None => None,
        },
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

pub(super) fn architecture(config: &Node<'_>) -> Read<Architecture> {
    let sigma = config.field("nonlinearity")?;
    let name = sigma.field("name")?;
    let activation = match name.text()? {
        "s_L" => Activation::SmoothLeaky { alpha: sigma.field("alpha")?.number()? },
        "s_T" => Activation::TanhLinear {
            alpha: sigma.field("alpha")?.number()?,
            beta: sigma.field("beta")?.number()?,
        },
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
    loglik.field("mean")?.number()?;
    let direction = |name: &str| -> Read<Direction> {
        let node = outputs.field(name)?;
        let weights = arrays(&node.field("dW")?, layers, [dim, dim])?;
        Ok(Direction { weights, biases: biases(&node.field("db")?, architecture)? })
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
        relative: direction("relative")?,
        transposed: direction("transposed")?,
        inverse_s,
        inverse_x,
    })
}

/// The groups that a dense file must have a tolerance (or `null`) for; autodiff has no inverse.
const GROUPS: [&str; 9] =
    ["loglik", "parts", "forward", "delta", "ordinary", "relative", "transposed", "inverse", "roundtrip"];
const AUTODIFF_GROUPS: [&str; 3] = ["loglik", "delta", "ordinary"];

fn tolerances(root: &Node<'_>, conditional: bool) -> Read<Tolerances> {
    let tol = root.field("tol")?;
    if conditional {
        for name in ["f64", "f64_autodiff", "f32"] {
            tol.field(name)?.field("conditional")?;
        }
    }
    let autodiff_error = measured_errors(root, "jax_f64_vs_hp")?;
    Ok(Tolerances {
        f64: groups(&tol.field("f64")?, &GROUPS)?,
        f64_autodiff: groups(&tol.field("f64_autodiff")?, &AUTODIFF_GROUPS)?,
        f32: groups(&tol.field("f32")?, &GROUPS)?,
        autodiff_error,
    })
}

/// The errors that the file says were measured, by group; none where it does not say.
pub(super) fn measured_errors(root: &Node<'_>, name: &str) -> Read<Groups> {
    let mut measured = Groups::new();
    let node = root.child("check").and_then(|check| check.child(name)).filter(|errors| !errors.is_null());
    for (group, error) in node.map_or(Ok(Vec::new()), |errors| errors.entries())? {
        let size = if error.is_null() { None } else { Some(error.number()?) };
        if size.is_some_and(|size| size < 0.0) {
            return Err(error.wrong("must not be negative"));
        }
        measured.insert(group.to_string(), size);
    }
    Ok(measured)
}

/// Tolerances by group, of which some must be there.
pub(super) fn groups(node: &Node<'_>, required: &[&str]) -> Read<Groups> {
    for group in required {
        node.field(group)?;
    }
    let mut groups = Groups::new();
    for (group, entry) in node.entries()? {
        let tolerance = if entry.is_null() { None } else { Some(entry.number()?) };
        // A relative error of 1 is no agreement at all.
        if tolerance.is_some_and(|tolerance| !(tolerance > 0.0 && tolerance < 1.0)) {
            return Err(entry.wrong("must be above 0 and below 1, or null"));
        }
        groups.insert(group.to_string(), tolerance);
    }
    Ok(groups)
}

/// One D-vector a layer, or `null`, as the architecture has biases or not.
fn biases(node: &Node<'_>, architecture: &Architecture) -> Read<Vec<Array>> {
    match (node.is_null(), architecture.bias) {
        (true, false) => Ok(Vec::new()),
        (true, true) => Err(node.wrong("must not be null: config.bias is true")),
        (false, false) => Err(node.wrong("must be null: config.bias is false")),
        (false, true) => {
            let list = counted(node, architecture.layers)?;
            list.iter().map(|entry| array(entry, &[architecture.dim])).collect()
        }
    }
}

pub(super) fn arrays(node: &Node<'_>, count: usize, shape: [usize; 2]) -> Read<Vec<Array>> {
    counted(node, count)?.iter().map(|entry| array(entry, &shape)).collect()
}

pub(super) fn counted<'a>(node: &Node<'a>, count: usize) -> Read<Vec<Node<'a>>> {
    let list = node.list()?;
    if list.len() == count {
        Ok(list)
    } else {
        Err(node.wrong(format!("must have one entry a layer, {count} in all, and has {}", list.len())))
    }
}

/// A D×M array for any M.
fn free_columns(node: &Node<'_>, rows: usize) -> Read<Array> {
    let shape = node.field("shape")?;
    let cols = match shape.list()?.as_slice() {
        [_, cols] => cols.count()?,
        _ => return Err(shape.wrong("must have two dimensions")),
    };
    array(node, &[rows, cols])
}

/// An array of exactly this shape, with finite numbers.
pub(super) fn array(node: &Node<'_>, shape: &[usize]) -> Read<Array> {
    let found = node.field("shape")?;
    let dims: Vec<usize> = found.list()?.iter().map(Node::count).collect::<Read<_>>()?;
    if dims != shape {
        return Err(
            found.wrong(format!("must be {shape:?} and is {}", console::quoted(&format!("{dims:?}"))))
        );
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
    let data = (0..cols)
        .flat_map(|col| (0..rows).map(move |row| row * cols + col))
        .map(|at| row_major[at])
        .collect();
    Ok(Array { rows, cols, data })
}

#[cfg(test)]
#[path = "golden_tests.rs"]
mod tests;
