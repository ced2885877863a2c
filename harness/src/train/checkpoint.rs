//! Parameters on disk: safetensors for arrays, JSON for the rest, each written whole or not at all.
//!
//! The JSON names its tensor file with its length and checksum, has a checksum of its own, and is renamed into place
//! last: a checkpoint exists exactly when its JSON does. Matrices are row-major in the file, as other tools read them.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use relgrad_kernels::device::Matrix;
use relgrad_kernels::layer::Coupling;
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Cpu, Dtype, Scalar};
use relgrad_reports::writer::write_atomically;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as TensorType, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::edge::Estimates;
use super::learner::Learner;
use super::log::Prefix;
use super::network::{self, Place};
use super::sealed::{self, MOST_JSON, damaged};
use super::standing::Progress;
use crate::error::{Error, Result};

/// Version of the JSON; 1 had no checksums.
const SCHEMA: u32 = 2;

/// The JSON of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    schema: u32,
    pub(super) progress: Progress,
    /// Steps that Adam's moments hold.
    adam_steps: Option<u64>,
    /// The last values of the sharpness, where their vector is among the tensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharpness: Option<Estimates>,
    tensors: Tensors,
    /// What it belongs to; version 1 did not say.
    #[serde(default)]
    pub(super) of: Belonging,
}

/// The tensor file that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tensors {
    file: String,
    bytes: u64,
    crc32: u32,
}

/// What a checkpoint belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Belonging {
    /// The identity of the training.
    pub(super) training: Option<u32>,
    /// The log up to it.
    pub(super) log: Option<Prefix>,
}

/// The name of the checkpoint that training goes on from.
pub(super) const LAST: &str = "last";

/// The place of a checkpoint: `NAME.json` and the tensor file that it names, in the folder of a training.
#[derive(Debug)]
pub(super) struct Slot {
    dir: PathBuf,
    name: &'static str,
    /// Whether training goes on from it, for which it has what estimates of the sharpness go on from.
    goes_on: bool,
    /// The identity of the training that it must belong to.
    identity: Option<u32>,
}

impl Slot {
    pub(super) fn new(dir: &Path, name: &'static str, identity: Option<u32>) -> Self {
        Self { dir: dir.to_path_buf(), name, goes_on: name == LAST, identity }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.name))
    }

    /// The error of a checkpoint that is not as it was written.
    pub(super) fn damaged(&self, cause: impl Display) -> Error {
        damaged(&self.path(), cause)
    }

    /// Whether there is one, if only a link that leads nowhere, or one that cannot be looked at now.
    pub(super) fn exists(&self) -> bool {
        !self.path().symlink_metadata().is_err_and(|cause| cause.kind() == ErrorKind::NotFound)
    }

    /// Writes it; other tensor files of its name go afterwards.
    pub(super) fn write<T: Scalar, C: Coupling<Cpu, T>>(
        &self,
        at: &Progress,
        learner: &Learner<T, C>,
        log: Option<Prefix>,
    ) -> Result<()> {
        let probe = learner.sharpness().filter(|probe| self.goes_on && probe.sharpness.state().is_some());
        let bytes = serialized(learner, probe.is_some())
            .map_err(|cause| Error::Output(format!("cannot write a checkpoint: {cause}")))?;
        let file = tensor_file(self.name, at.step);
        let state = State {
            schema: SCHEMA,
            progress: at.clone(),
            adam_steps: learner.moments().map(|moments| moments.steps),
            sharpness: probe.map(|probe| probe.estimates.clone()),
            tensors: Tensors { file: file.clone(), bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) },
            of: Belonging { training: self.identity, log },
        };
        let tensors = write_atomically(&self.dir.join(&file), &bytes);
        let written = tensors.map_err(|cause| Error::Output(cause.to_string()));
        let written = written.and_then(|()| sealed::write(&self.path(), &state));
        match written {
            Ok(()) => self.remove_others(&file),
            // On a full disk the tensors that no JSON names are in the way of what comes next.
            Err(_) => self.tidy(),
        }
        written
    }

    /// Where it stands and what it belongs to, without its tensors.
    pub(super) fn state(&self) -> Result<State> {
        let path = self.path();
        let state = parse_state(&path, self.name, &sealed::read(&path, MOST_JSON)?)?;
        let is_own = state.of.training == self.identity;
        if is_own { Ok(state) } else { Err(self.damaged("it belongs to another training")) }
    }

    /// Restores a learner of the same shape; after an error, which says what is missing or damaged, it is of no use.
    pub(super) fn read<T: Scalar, C: Coupling<Cpu, T>>(&self, learner: &mut Learner<T, C>) -> Result<State> {
        let state = self.state()?;
        let (path, bytes) = self.tensors(&state)?;
        restore_all(&bytes, state.holds(), learner).map_err(|cause| damaged(&path, cause))?;
        Ok(state)
    }

    pub(super) fn read_parameters<T: Scalar, C>(
        &self,
        device: &Cpu,
        parameters: &mut Parameters<Cpu, T, C>,
    ) -> Result<State> {
        let state = self.state()?;
        let (path, bytes) = self.tensors(&state)?;
        restore_parameters(&bytes, &state.holds(), device, parameters).map_err(|cause| damaged(&path, cause))?;
        Ok(state)
    }

    fn tensors(&self, state: &State) -> Result<(PathBuf, Vec<u8>)> {
        let tensors = &state.tensors;
        let path = self.dir.join(&tensors.file);
        let length = path.symlink_metadata().map_err(|cause| damaged(&path, cause))?.len();
        if length != tensors.bytes {
            return Err(damaged(&path, format!("{length} bytes instead of {}", tensors.bytes)));
        }
        let bytes = sealed::read(&path, length)?;
        if crc32fast::hash(&bytes) != tensors.crc32 {
            return Err(damaged(&path, "its checksum does not fit"));
        }
        Ok((path, bytes))
    }

    /// Removes what a kill left, where there is a whole checkpoint.
    pub(super) fn tidy(&self) {
        if let Ok(state) = self.state() {
            self.remove_others(&state.tensors.file);
        }
    }

    pub(super) fn remove(&self) {
        let _ = fs::remove_file(self.path());
        self.remove_others("");
    }

    /// Removes what a kill or a full disk left behind: tensors of this name that are not `kept`, and unfinished files.
    /// Best effort: a leftover takes space and does no harm.
    fn remove_others(&self, kept: &str) {
        let name = self.name;
        let is_ours = |file: &str| {
            let whole = file.strip_suffix(".partial").unwrap_or(file);
            let step = whole.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".safetensors"));
            step.is_some_and(|step| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()))
                || file == format!("{name}.json.partial")
        };
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|file| file != kept && is_ours(file)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

pub(super) fn tensor_file(name: &str, step: u64) -> String {
    format!("{name}-{step}.safetensors")
}

/// What a tensor file holds beside the parameters.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside {
    pub(super) adam_steps: Option<u64>,
    pub(super) sharpness: Option<Estimates>,
}

impl State {
    fn holds(&self) -> Beside {
        Beside { adam_steps: self.adam_steps, sharpness: self.sharpness.clone() }
    }
}

/// Restores parameters, moments and what estimates go on from, out of the bytes of a tensor file.
pub(super) fn restore_all<T: Scalar, C: Coupling<Cpu, T>>(
    bytes: &[u8],
    beside: Beside,
    learner: &mut Learner<T, C>,
) -> std::result::Result<(), String> {
    let device = learner.device;
    let tensors = restore_parameters(bytes, &beside, &device, &mut learner.parameters)?;
    match (learner.moments_mut(), beside.adam_steps) {
        (None, None) => {}
        (Some(moments), Some(steps)) => {
            restore(&tensors, "adam.first.", &mut moments.first, &device)?;
            restore(&tensors, "adam.second.", &mut moments.second, &device)?;
            moments.steps = steps;
        }
        _ => return Err("it belongs to another optimiser".to_string()),
    }
    match (learner.sharpness_mut(), beside.sharpness) {
        (_, None) => Ok(()),
        (Some(probe), Some(estimates)) => {
            let last = estimates.last().unwrap_or_default();
            probe.sharpness.resume(last, |vector| restore(&tensors, VECTOR, vector, &device))?;
            probe.estimates = estimates;
            Ok(())
        }
        (None, Some(_)) => Err("it belongs to a training that estimates its sharpness".to_string()),
    }
}

/// What the names of the vector's arrays begin with.
const VECTOR: &str = "sharpness.";

pub(super) fn parse_state(path: &Path, name: &str, bytes: &[u8]) -> Result<State> {
    let state: State = sealed::parse(path, bytes, SCHEMA)?;
    // The name comes from a file and must not lead anywhere else.
    if state.tensors.file != tensor_file(name, state.progress.step) {
        return Err(damaged(path, "it names a file that is not its own"));
    }
    if state.schema == 1 && state.of != Belonging::default() {
        return Err(damaged(path, "version 1 did not say what a checkpoint belongs to"));
    }
    if state.adam_steps.is_some_and(|steps| steps > state.progress.step) {
        return Err(damaged(path, "Adam has taken more steps than the training"));
    }
    if state.sharpness.as_ref().is_some_and(|estimates| !estimates.are_possible()) {
        return Err(damaged(path, "its values of the sharpness are none"));
    }
    Ok(state)
}

/// Restores the parameters from a tensor file, which must have as many arrays as a checkpoint of them, and returns all.
fn restore_parameters<'a, T: Scalar, C>(
    bytes: &'a [u8],
    beside: &Beside,
    device: &Cpu,
    parameters: &mut Parameters<Cpu, T, C>,
) -> std::result::Result<SafeTensors<'a>, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|cause| cause.to_string())?;
    let count = network::each(parameters.arrays()).count();
    let sets = 1 + if beside.adam_steps.is_some() { 2 } else { 0 } + usize::from(beside.sharpness.is_some());
    let expected = sets * count;
    if tensors.len() != expected {
        return Err(format!("it has {} arrays instead of {expected}", tensors.len()));
    }
    restore(&tensors, "", parameters.arrays_mut(), device)?;
    Ok(tensors)
}

/// All arrays of a learner, row-major, little-endian; the vector of its sharpness where it is wanted.
fn serialized<T: Scalar, C: Coupling<Cpu, T>>(
    learner: &Learner<T, C>,
    with_vector: bool,
) -> std::result::Result<Vec<u8>, String> {
    let mut sets = vec![("", learner.parameters.arrays())];
    if let Some((vector, _)) = learner.sharpness().filter(|_| with_vector).and_then(|probe| probe.sharpness.state()) {
        sets.push((VECTOR, vector));
    }
    if let Some(moments) = learner.moments() {
        sets.extend([("adam.first.", &moments.first), ("adam.second.", &moments.second)]);
    }
    let mut named = Vec::new();
    for (prefix, arrays) in sets {
        for (place, array) in network::each(arrays) {
            let values = array.to_column_major(&learner.device).map_err(|cause| cause.to_string())?;
            let bytes = to_bytes(&transposed(&values, array.rows(), array.cols()));
            named.push((format!("{prefix}{}", place.tensor()), shape(place, array), bytes));
        }
    }
    let views = named.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(tensor_type::<T>(), shape.clone(), bytes)?;
        Ok::<_, SafeTensorError>((name.as_str(), view))
    });
    let views = views.collect::<std::result::Result<Vec<_>, _>>();
    views.and_then(|views| safetensors::serialize(views, None)).map_err(|cause| cause.to_string())
}

fn restore<T: Scalar>(
    tensors: &SafeTensors<'_>,
    prefix: &str,
    arrays: &mut Arrays<Cpu, T>,
    device: &Cpu,
) -> std::result::Result<(), String> {
    for (place, array) in network::each_mut(arrays) {
        let name = format!("{prefix}{}", place.tensor());
        let tensor = tensors.tensor(&name).map_err(|cause| cause.to_string())?;
        if tensor.dtype() != tensor_type::<T>() || tensor.shape() != shape(place, array) {
            return Err(format!("{name} has shape {:?} and type {:?}", tensor.shape(), tensor.dtype()));
        }
        let (rows, columns) = (array.rows(), array.cols());
        let values = transposed(&from_bytes::<T>(tensor.data()), columns, rows);
        if values.iter().any(|x| !x.widen().is_finite()) {
            return Err(format!("{name} has a value that is not finite"));
        }
        *array = Matrix::from_column_major(device, &values, rows, columns, &name).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn tensor_type<T: Scalar>() -> TensorType {
    match T::DTYPE {
        Dtype::F32 => TensorType::F32,
        Dtype::F64 => TensorType::F64,
    }
}

fn shape<T: Scalar>(place: Place, array: &Matrix<Cpu, T>) -> Vec<usize> {
    if place.is_vector() { vec![array.rows()] } else { vec![array.rows(), array.cols()] }
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
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| T::of(f64::from(f32::from_le_bytes(*b)))).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| T::of(f64::from_le_bytes(*b))).collect(),
    }
}
