//! Parameters on disk: safetensors for arrays, JSON for the rest, each written whole or not at all.
//!
//! The JSON names its tensor file with its length and checksum, has a checksum of its own, and is renamed into place
//! last: a checkpoint exists exactly when its JSON does.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use relgrad_kernels::device::Matrix;
use relgrad_kernels::layer::Coupling;
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Cpu, Scalar};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::edge::Estimates;
use super::learner::Learner;
use super::learns::Learns;
use super::log::Prefix;
use super::network::{self, Place};
use super::sealed::{self, MOST_JSON, damaged};
use super::standing::Progress;
use super::tensors::{self, Named, Reader, Tensors, from_bytes, tensor_type, transposed};
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
    /// The carried log|det W_k| of every layer: ranks, which have no W whole, go on from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log_abs_dets: Option<Vec<f64>>,
    tensors: Tensors,
    /// What it belongs to; version 1 did not say.
    #[serde(default)]
    pub(super) of: Belonging,
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
    pub(super) fn write<L: Learns>(&self, at: &Progress, learner: &mut L, log: Option<Prefix>) -> Result<()> {
        let Beside { adam_steps, sharpness } = learner.beside(self.goes_on);
        let file = tensor_file(self.name, at.step);
        let written = learner.write_arrays(&self.dir.join(&file), sharpness.is_some()).and_then(|tensors| {
            let state = State {
                schema: SCHEMA,
                progress: at.clone(),
                adam_steps,
                sharpness,
                // JSON has no infinity.
                log_abs_dets: learner.log_abs_dets().filter(|known| known.iter().all(|x| x.is_finite())),
                tensors,
                of: Belonging { training: self.identity, log },
            };
            sealed::write(&self.path(), &state)
        });
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

    /// The tensors of a state, which must have these arrays, to be read a piece at a time.
    pub(super) fn reader<T: Scalar, A>(&self, state: &State, arrays: &[Named<A>]) -> Result<Reader> {
        Reader::open::<T, A>(self.dir.join(&state.tensors.file), &state.tensors, arrays)
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
    if state.log_abs_dets.iter().flatten().any(|log_det| !log_det.is_finite()) {
        return Err(damaged(path, "its log-determinants are none"));
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

/// All arrays of a learner; the vector of its sharpness where it is wanted.
pub(super) fn arrays_of<T: Scalar, C: Coupling<Cpu, T>>(
    learner: &Learner<T, C>,
    with_vector: bool,
) -> Vec<Named<&Matrix<Cpu, T>>> {
    let mut sets = vec![("", learner.parameters.arrays())];
    if let Some((vector, _)) = learner.sharpness().filter(|_| with_vector).and_then(|probe| probe.sharpness.state()) {
        sets.push((VECTOR, vector));
    }
    if let Some(moments) = learner.moments() {
        sets.extend([("adam.first.", &moments.first), ("adam.second.", &moments.second)]);
    }
    let named = sets.into_iter().flat_map(|(prefix, arrays)| {
        let name = move |place: Place| format!("{prefix}{}", place.tensor());
        network::each(arrays).map(move |(place, array)| Named { name: name(place), shape: shape(place, array), array })
    });
    tensors::in_order(named.collect())
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

fn shape<T: Scalar>(place: Place, array: &Matrix<Cpu, T>) -> Vec<usize> {
    if place.is_vector() { vec![array.rows()] } else { vec![array.rows(), array.cols()] }
}
