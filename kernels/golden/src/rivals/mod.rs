//! Golden files of the rivals: one network, and what one or more methods with numbers of their own make of it. Each
//! kind of numbers is one file here, which reads them and computes the same.

mod carried;
mod factors;
mod free_form;
mod hutchinson;
mod jacobian;
mod plu;
mod qr;
mod self_normalizing;
mod sketch;
mod trajectory;

use relgrad_kernels::backend::autodiff::Mode;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Architecture, Cpu, Dtype, Result, Scalar};
use relgrad_vocabulary::quoted;

use crate::array::{Array, array, arrays, biases};
use crate::compare::{Row, upload, wide};
use crate::dense::architecture;
use crate::node::{Node, Read};
use crate::{Case, Groups};
use carried::CarriedRuns;
use sketch::SketchRuns;

/// The schema of these files.
pub(crate) const SCHEMA: &str = "relgrad-golden-rivals-1";

/// A network of a file with the kinds of numbers on it.
#[derive(Debug, Clone)]
pub struct Rivals {
    id: String,
    network: Network,
    kinds: Vec<(Kind, Groups)>,
}

impl Rivals {
    /// Name of the case.
    pub fn id(&self) -> &String {
        &self.id
    }
}

/// The network and the batch that the kinds of a file share.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) architecture: Architecture,
    /// W_k, where a kind of the file has dense weights.
    pub(crate) weights: Vec<Array>,
    pub(crate) biases: Vec<Array>,
    pub(crate) x: Array,
}

impl Network {
    /// The parameters and the batch in precision `T`; weights of zeros where the file has none.
    pub(crate) fn on<T: Scalar>(&self, device: &Cpu) -> Result<(Parameters<Cpu, T>, Matrix<Cpu, T>)> {
        let mut arrays = Arrays::zeros(device, &self.architecture, "parameters")?;
        let pairs = arrays.weights.iter_mut().zip(&self.weights).chain(arrays.biases.iter_mut().zip(&self.biases));
        for (to, from) in pairs {
            *to = upload(device, from)?;
        }
        Ok((Parameters::new(self.architecture, arrays)?, upload(device, &self.x)?))
    }
}

/// A kind with its numbers.
#[derive(Debug, Clone)]
enum Kind {
    /// Relative steps with a carried inverse.
    Carried(CarriedRuns),
    /// Ordinary steps by a sketch.
    Sketch(SketchRuns),
    /// Layers W = P L U.
    Plu(plu::PluCase),
    /// Layers W = Q U.
    Qr(qr::QrCase),
    Hutchinson(hutchinson::ProbedInverses),
    Jacobian(jacobian::FullJacobians),
    SelfNormalizing(self_normalizing::LearnedInverses),
    FreeForm(free_form::LearnedDecoder),
}

impl Kind {
    /// Reads the kind of a name; `None` for one that is not known here.
    fn read(name: &str, node: &Node<'_>, network: &Network) -> Read<Option<Self>> {
        Ok(match name {
            "carried" => Some(Self::Carried(CarriedRuns::read(node, network)?)),
            "sketch" => Some(Self::Sketch(SketchRuns::read(node, network)?)),
            "plu" => Some(Self::Plu(plu::PluCase::read(node, network)?)),
            "qr" => Some(Self::Qr(qr::QrCase::read(node, network)?)),
            "hutchinson" => Some(Self::Hutchinson(hutchinson::read(node, network)?)),
            "jacobian" => Some(Self::Jacobian(jacobian::read(node, network)?)),
            "self_normalising" => Some(Self::SelfNormalizing(self_normalizing::read(node, network)?)),
            "fff" => Some(Self::FreeForm(free_form::read(node, network)?)),
            _ => None,
        })
    }

    /// The name of what computes, and the errors of its arrays.
    fn errors<T: Scalar>(&self, device: &Cpu, network: &Network) -> Vec<(&'static str, Result<Vec<f64>>)> {
        match self {
            Self::Carried(runs) => runs.errors::<T>(device, network),
            Self::Sketch(runs) => runs.errors::<T>(device, network),
            Self::Plu(plu) => plu.errors::<T>(device, network),
            Self::Qr(qr) => qr.errors::<T>(device, network),
            Self::Hutchinson(numbers) => vec![("hutchinson", numbers.errors::<T>(device, network))],
            Self::Jacobian(numbers) => vec![
                ("autodiff-reverse", numbers.errors::<T>(device, network, Mode::Reverse)),
                ("autodiff", numbers.errors::<T>(device, network, Mode::Forward)),
            ],
            Self::SelfNormalizing(numbers) => vec![("self-normalizing", numbers.errors::<T>(device, network))],
            Self::FreeForm(numbers) => vec![("free-form", numbers.errors::<T>(device, network))],
        }
    }
}

/// Reads a file of [`SCHEMA`].
pub(crate) fn read(root: &Node<'_>) -> Read<Case> {
    let id = quoted(root.field("id")?.text()?);
    let (config, inputs) = (root.field("config")?, root.field("inputs")?);
    let architecture = architecture(&config)?;
    let (dim, layers, batch) = (architecture.dim, architecture.layers, config.field("N")?.count()?);
    let weights = inputs.child("W").map_or(Ok(Vec::new()), |node| arrays(&node, layers, [dim, dim]))?;
    let network = Network {
        architecture,
        weights,
        biases: rival_biases(&inputs.field("b")?, &architecture)?,
        x: array(&inputs.field("X")?, &[dim, batch])?,
    };
    let mut kinds = Vec::new();
    for entry in root.field("kinds")?.list()? {
        let name = entry.text()?;
        let node = root.field(name)?;
        let Some(kind) = Kind::read(name, &node, &network)? else {
            return Ok(Case::Unsupported { id, reason: format!("numbers of kind {}", quoted(name)) });
        };
        kinds.push((kind, crate::tolerance::groups(&node.field("tol")?, &["f64", "f32"])?));
    }
    Ok(Case::Rivals(Box::new(Rivals { id, network, kinds })))
}

/// A list of so many numbers, or an array of one column.
fn numbers(node: &Node<'_>, count: usize) -> Read<Vec<f64>> {
    if node.child("shape").is_some() {
        return Ok(array(node, &[count])?.data);
    }
    let list = node.list()?;
    if list.len() != count {
        return Err(node.wrong(format!("must have {count} numbers and has {}", list.len())));
    }
    list.iter().map(Node::number).collect()
}

/// Length of a step whose direction is read from what it did: a power of two, so that nothing is rounded by it, and
/// large, so that little is lost of the difference.
const STEP: f64 = 64.0;

/// What a step of length [`STEP`] did to every array, over its length.
fn difference<T: Scalar>(device: &Cpu, before: &Arrays<Cpu, T>, after: &Arrays<Cpu, T>) -> Result<Vec<Vec<f64>>> {
    let pairs = before.iter().zip(after.iter());
    let moved = |(before, after): (&Matrix<Cpu, T>, &Matrix<Cpu, T>)| {
        let (before, after) = (wide(device, before.view())?, wide(device, after.view())?);
        Ok(after.iter().zip(before).map(|(after, before)| (after - before) / STEP).collect())
    };
    pairs.map(moved).collect()
}

/// One bias a layer, or a null for each.
fn rival_biases(node: &Node<'_>, architecture: &Architecture) -> Read<Vec<Array>> {
    let all_null = node.list()?.iter().all(Node::is_null);
    if all_null && !architecture.bias { Ok(Vec::new()) } else { biases(node, architecture, architecture.dim) }
}

/// Compares every kind of a file on the CPU in a precision.
pub fn compare_rivals(device: &Cpu, dtype: Dtype, rivals: &Rivals) -> Vec<Row> {
    match dtype {
        Dtype::F32 => rows::<f32>(device, rivals),
        Dtype::F64 => rows::<f64>(device, rivals),
    }
}

fn rows<T: Scalar>(device: &Cpu, Rivals { id, network, kinds }: &Rivals) -> Vec<Row> {
    let of_kind = |(kind, tolerances): &(Kind, Groups)| {
        let tolerance = tolerances.get(T::DTYPE.name()).copied().flatten();
        let row = |(backend, errors)| Row::judged::<T>(id, (backend, backend), tolerance, errors);
        kind.errors::<T>(device, network).into_iter().map(row).collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of_kind).collect()
}
