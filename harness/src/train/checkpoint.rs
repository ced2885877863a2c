//! Parameters on disk: safetensors for arrays, JSON for the rest, each written whole or not at all.
//!
//! The JSON names its tensor file with its length and checksum and is renamed into place last: a checkpoint exists exactly
//! when its JSON does. Matrices are row-major in the file, as other tools read them.

use std::fs;
use std::path::{Path, PathBuf};

use relgrad_kernels::device::Matrix;
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Cpu, Dtype, Scalar};
use relgrad_reports::writer::write_atomically;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as TensorType, SafeTensors};
use serde::{Deserialize, Serialize};

use super::learner::Learner;
use crate::error::{Error, Result};

/// Version of the JSON.
const SCHEMA: u32 = 1;

/// Where a training stands; with the settings and the data it goes on bit for bit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Epochs done.
    pub(crate) epoch: usize,
    /// Batches done of the epoch that has begun.
    pub(crate) batches: usize,
    /// Steps done.
    pub(crate) step: u64,
    /// Seconds of training.
    pub(crate) seconds: f64,
    /// Sums over the epoch that has begun.
    pub(crate) running: Running,
    /// The best model so far.
    pub(crate) best: Option<Best>,
}

/// Sums over the batches of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Batches whose likelihood was tracked.
    pub(crate) tracked: usize,
    /// Sum of their mean log-likelihoods.
    pub(crate) nats: f64,
    /// Layers that the guard held back.
    pub(crate) guarded: usize,
}

/// The epoch with the best validation likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) epoch: usize,
    pub(crate) validation_nats: f64,
}

/// The JSON of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    schema: u32,
    progress: Progress,
    /// Steps that Adam's moments hold.
    adam_steps: Option<u64>,
    tensors: Tensors,
}

/// The tensor file that belongs to it.
#[derive(Debug, Serialize, Deserialize)]
struct Tensors {
    file: String,
    bytes: u64,
    crc32: u32,
}

/// Writes `NAME.json` and the tensor file that it names; the tensor file of the checkpoint before goes afterwards.
pub(crate) fn write<T: Scalar>(
    dir: &Path,
    name: &str,
    progress: &Progress,
    learner: &Learner<T>,
) -> Result<()> {
    let output = |cause: relgrad_reports::error::Error| Error::Output(cause.to_string());
    let mut named = arrays_of("", learner.parameters.arrays(), &learner.device)?;
    let moments = learner.moments();
    if let Some(moments) = moments {
        named.extend(arrays_of("adam.first.", &moments.first, &learner.device)?);
        named.extend(arrays_of("adam.second.", &moments.second, &learner.device)?);
    }
    let bytes = serialized::<T>(&named)
        .map_err(|cause| Error::Output(format!("cannot write a checkpoint: {cause}")))?;
    let file = format!("{name}-{}.safetensors", progress.step);
    let before = read_state(&dir.join(format!("{name}.json"))).ok().map(|state| state.tensors.file);
    write_atomically(&dir.join(&file), &bytes).map_err(output)?;
    let tensors = Tensors { file: file.clone(), bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) };
    let adam_steps = moments.map(|moments| moments.steps);
    let state = State { schema: SCHEMA, progress: progress.clone(), adam_steps, tensors };
    let path = dir.join(format!("{name}.json"));
    let json = serde_json::to_string_pretty(&state).map_err(|cause| Error::output(&path, cause))?;
    write_atomically(&path, json.as_bytes()).map_err(output)?;
    if let Some(before) = before.filter(|before| *before != file) {
        // Best effort: a leftover takes space and does no harm.
        let _ = fs::remove_file(dir.join(before));
    }
    Ok(())
}

/// Whether there is a checkpoint of this name.
pub(crate) fn exists(dir: &Path, name: &str) -> bool {
    dir.join(format!("{name}.json")).exists()
}

/// Restores a checkpoint into a learner of the same shape.
///
/// # Errors
/// Says what is missing or damaged; the learner is then of no use.
pub(crate) fn read<T: Scalar>(dir: &Path, name: &str, learner: &mut Learner<T>) -> Result<Progress> {
    let path = dir.join(format!("{name}.json"));
    let state = read_state(&path)?;
    let (tensor_path, bytes) = read_tensors(dir, &path, &state.tensors)?;
    let damaged = |cause: String| damaged(&tensor_path, &cause);
    let tensors = SafeTensors::deserialize(&bytes).map_err(|cause| damaged(cause.to_string()))?;
    let device = learner.device;
    restore(&tensors, "", learner.parameters.arrays_mut(), &device).map_err(&damaged)?;
    match (learner.moments_mut(), state.adam_steps) {
        (None, None) => {}
        (Some(moments), Some(steps)) => {
            restore(&tensors, "adam.first.", &mut moments.first, &device).map_err(&damaged)?;
            restore(&tensors, "adam.second.", &mut moments.second, &device).map_err(&damaged)?;
            moments.steps = steps;
        }
        _ => return Err(damaged("it belongs to another optimiser".to_string())),
    }
    Ok(state.progress)
}

/// Only the parameters of a checkpoint.
pub(crate) fn read_parameters<T: Scalar>(
    dir: &Path,
    name: &str,
    device: &Cpu,
    parameters: &mut Parameters<Cpu, T>,
) -> Result<Progress> {
    let path = dir.join(format!("{name}.json"));
    let state = read_state(&path)?;
    let (tensor_path, bytes) = read_tensors(dir, &path, &state.tensors)?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|cause| damaged(&tensor_path, &cause.to_string()))?;
    restore(&tensors, "", parameters.arrays_mut(), device).map_err(|cause| damaged(&tensor_path, &cause))?;
    Ok(state.progress)
}

fn damaged(path: &Path, cause: &str) -> Error {
    Error::Input(format!(
        "the checkpoint {} is damaged ({cause}): restore the file, or start again in another folder",
        path.display()
    ))
}

fn read_state(path: &Path) -> Result<State> {
    let text = fs::read_to_string(path).map_err(|cause| Error::input(path, cause))?;
    let state: State = serde_json::from_str(&text).map_err(|cause| damaged(path, &cause.to_string()))?;
    if state.schema > SCHEMA {
        let found = state.schema;
        return Err(Error::Input(format!(
            "{} has version {found}, and this relgrad reads up to {SCHEMA}: use the relgrad that wrote it",
            path.display()
        )));
    }
    Ok(state)
}

fn read_tensors(dir: &Path, state: &Path, tensors: &Tensors) -> Result<(PathBuf, Vec<u8>)> {
    // The name comes from a file: it must not lead out of the folder.
    if Path::new(&tensors.file).file_name() != Some(tensors.file.as_ref()) {
        return Err(damaged(state, "it names a file outside its folder"));
    }
    let path = dir.join(&tensors.file);
    let bytes = fs::read(&path).map_err(|cause| damaged(&path, &cause.to_string()))?;
    if bytes.len() as u64 != tensors.bytes {
        return Err(damaged(&path, &format!("{} bytes instead of {}", bytes.len(), tensors.bytes)));
    }
    if crc32fast::hash(&bytes) != tensors.crc32 {
        return Err(damaged(&path, "its checksum does not fit"));
    }
    Ok((path, bytes))
}

/// An array's name, shape and numbers, row-major, little-endian.
type Named = (String, Vec<usize>, Vec<u8>);

fn arrays_of<T: Scalar>(prefix: &str, arrays: &Arrays<Cpu, T>, device: &Cpu) -> Result<Vec<Named>> {
    let mut named = Vec::new();
    for (k, weight) in arrays.weights.iter().enumerate() {
        named.push((format!("{prefix}layer{}.weight", k + 1), vec![weight.rows(), weight.cols()], weight));
    }
    for (k, bias) in arrays.biases.iter().enumerate() {
        named.push((format!("{prefix}layer{}.bias", k + 1), vec![bias.rows()], bias));
    }
    let read = |(name, shape, matrix): (String, Vec<usize>, &Matrix<Cpu, T>)| {
        let values = matrix.to_column_major(device).map_err(|cause| Error::Output(cause.to_string()))?;
        Ok((name, shape, to_bytes(&transposed(&values, matrix.rows(), matrix.cols()))))
    };
    named.into_iter().map(read).collect()
}

fn serialized<T: Scalar>(named: &[Named]) -> std::result::Result<Vec<u8>, safetensors::SafeTensorError> {
    let kind = match T::DTYPE {
        Dtype::F32 => TensorType::F32,
        Dtype::F64 => TensorType::F64,
    };
    let views = named
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(kind, shape.clone(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, None)
}

fn restore<T: Scalar>(
    tensors: &SafeTensors<'_>,
    prefix: &str,
    arrays: &mut Arrays<Cpu, T>,
    device: &Cpu,
) -> std::result::Result<(), String> {
    let weights =
        arrays.weights.iter_mut().enumerate().map(|(k, w)| (format!("{prefix}layer{}.weight", k + 1), w));
    let biases =
        arrays.biases.iter_mut().enumerate().map(|(k, b)| (format!("{prefix}layer{}.bias", k + 1), b));
    for (name, matrix) in weights.chain(biases) {
        let tensor = tensors.tensor(&name).map_err(|cause| cause.to_string())?;
        let (rows, columns) = (matrix.rows(), matrix.cols());
        let kind = match T::DTYPE {
            Dtype::F32 => TensorType::F32,
            Dtype::F64 => TensorType::F64,
        };
        if tensor.dtype() != kind || tensor.shape().iter().product::<usize>() != rows * columns {
            return Err(format!("{name} has shape {:?} and type {:?}", tensor.shape(), tensor.dtype()));
        }
        let values = transposed(&from_bytes::<T>(tensor.data()), columns, rows);
        *matrix =
            Matrix::from_column_major(device, &values, rows, columns, &name).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Column-major rows×columns to row-major, or the other way round with the two exchanged.
fn transposed<T: Scalar>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..rows).flat_map(|i| (0..columns).map(move |j| values[i + j * rows])).collect()
}

fn to_bytes<T: Scalar>(values: &[T]) -> Vec<u8> {
    match T::DTYPE {
        Dtype::F32 => values.iter().flat_map(|x| (x.widen() as f32).to_le_bytes()).collect(),
        Dtype::F64 => values.iter().flat_map(|x| x.widen().to_le_bytes()).collect(),
    }
}

fn from_bytes<T: Scalar>(bytes: &[u8]) -> Vec<T> {
    match T::DTYPE {
        Dtype::F32 => {
            bytes.as_chunks::<4>().0.iter().map(|b| T::of(f64::from(f32::from_le_bytes(*b)))).collect()
        }
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| T::of(f64::from_le_bytes(*b))).collect(),
    }
}
