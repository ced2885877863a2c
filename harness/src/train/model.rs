//! A trained model, opened again: the likelihood of rows, and rows of latents.
//!
//! Nothing is locked or changed: a training may go on meanwhile.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use relgrad_kernels::inversion::{Inverter, draw_latents, locate};
use relgrad_kernels::layer::{Coupling, CouplingKind, Dense, Geometry, MaybeGroup, Visitor};
use relgrad_kernels::likelihood::LogLikelihood;
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Architecture, Base, Cpu, Dtype, Scalar};
use relgrad_reports::training::Training;

use super::checkpoint::{Slot, tensor_file};
use super::network::{Scorer, matrix_of};
use super::recipe::Recipe;
use super::store;
use crate::error::{Error, Result};

/// A model and the training that it comes from.
pub(crate) struct OpenedModel {
    pub(crate) training: Training,
    pub(crate) network: Box<dyn TrainedNetwork>,
}

/// A network whose layers and number type are hidden. Rows have D numbers, conditions d; none for a density without.
pub(crate) trait TrainedNetwork {
    /// The parts of ℓ of some rows x given u, and their latents z = g(x).
    fn score(&mut self, x: &[f64], u: &[f64]) -> relgrad_kernels::Result<(LogLikelihood, Vec<f64>)>;

    /// The latents of draws ρ from the base density: m(u) + τ(u)ρ, or ρ itself.
    fn locate(&self, rho: Vec<f64>, u: &[f64]) -> relgrad_kernels::Result<Vec<f64>>;

    /// x = g⁻¹(z) of some rows.
    fn invert(&mut self, z: &[f64]) -> relgrad_kernels::Result<Vec<f64>>;
}

impl OpenedModel {
    /// Opens the best model of a training's folder, or the checkpoint that a file in it belongs to: `best.json`,
    /// `last.json`, or the tensor file of either.
    ///
    /// # Errors
    /// What is missing, damaged or of another training.
    pub(crate) fn open(path: &Path, threads: usize) -> Result<Self> {
        let (dir, name) = place(path)?;
        let training = store::header(&dir)?;
        let recipe = Recipe::of(&training.settings, training.data.dim)?;
        let conditions = training.data.conditions.unwrap_or(0);
        let architecture = Architecture { conditions, ..recipe.architecture };
        let file = path.file_name().filter(|file| Path::new(file).extension() == Some(OsStr::new("safetensors")));
        let opening = Opening { slot: Slot::new(&dir, name, training.identity), name, file, architecture, threads };
        let network = match recipe.dtype {
            Dtype::F32 => architecture.coupling.visit::<f32, _>(opening),
            Dtype::F64 => architecture.coupling.visit::<f64, _>(opening),
        };
        Ok(Self { network: network.map_err(input)??, training })
    }

    /// D.
    pub(crate) fn dim(&self) -> usize {
        self.training.data.dim
    }

    /// d, 0 without a condition.
    pub(crate) fn conditions(&self) -> usize {
        self.training.data.conditions.unwrap_or(0)
    }

    /// The type of the data that the model makes: sums with a shift have more digits than f32.
    pub(crate) fn data_dtype(&self) -> Dtype {
        if self.training.data.shift.is_some() { Dtype::F64 } else { self.training.settings.dtype }
    }

    /// x of latents z in the coordinates of the data: g⁻¹(z), plus the shift of the training.
    ///
    /// # Errors
    /// A singular weight; a result that is not finite.
    pub(crate) fn data_of(&mut self, z: &[f64]) -> Result<Vec<f64>> {
        let mut x =
            self.network.invert(z).map_err(|cause| Error::Input(format!("cannot invert the model: {cause}")))?;
        if let Some(shift) = &self.training.data.shift {
            x.iter_mut().zip(shift.iter().cycle()).for_each(|(x, shift)| *x += shift);
        }
        Ok(x)
    }

    /// `count` rows of draws from the base density, times `temperature`.
    pub(crate) fn draws(&self, count: usize, seed: u64, temperature: f64) -> Vec<f64> {
        let base: Base = self.training.settings.base;
        let mut rho = draw_latents(base, self.dim() * count, seed);
        rho.iter_mut().for_each(|rho| *rho *= temperature);
        rho
    }
}

/// The best model of a training with dense layers, in the type of its numbers.
pub(crate) fn best_model<T: Scalar>(dir: &Path, recipe: &Recipe) -> Result<(Cpu, Parameters<Cpu, T>)> {
    let device = Cpu::new(recipe.threads);
    let slot = Slot::new(dir, "best", store::header(dir)?.identity);
    let mut parameters = empty(&device, recipe.architecture.with(Dense)).map_err(input)?;
    slot.read_parameters(&device, &mut parameters)?;
    Ok((device, parameters))
}

/// The folder of a training, and the name of a checkpoint in it.
fn place(path: &Path) -> Result<(PathBuf, &'static str)> {
    if path.is_dir() {
        return Ok((path.to_path_buf(), "best"));
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let is_of = |name: &&str| {
        let rest = file.strip_prefix(*name);
        rest.is_some_and(|rest| rest == ".json" || (rest.starts_with('-') && rest.ends_with(".safetensors")))
    };
    let Some(name) = ["best", "last"].into_iter().find(is_of) else {
        return Err(Error::Usage(format!(
            "{} is no model: name the folder of a training, or best.json, last.json or their .safetensors in it",
            path.display()
        )));
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir.to_path_buf(), name))
}

/// Parameters that are yet to be read.
fn empty<T: Scalar, C: Geometry>(
    device: &Cpu,
    architecture: Architecture<C>,
) -> relgrad_kernels::Result<Parameters<Cpu, T, C>> {
    let arrays = Arrays::zeros(device, &architecture, "model")?;
    Parameters::new(architecture, arrays)
}

fn input(cause: relgrad_kernels::Error) -> Error {
    Error::Input(cause.to_string())
}

/// A model whose type is yet to be known.
struct Opening<'a> {
    slot: Slot,
    name: &'static str,
    /// The tensor file that was named, which must be the checkpoint's.
    file: Option<&'a OsStr>,
    architecture: Architecture<CouplingKind>,
    threads: usize,
}

impl<T: Scalar> Visitor<T> for Opening<'_> {
    type Out = Result<Box<dyn TrainedNetwork>>;

    fn visit<C: MaybeGroup<Cpu, T>>(self, coupling: C) -> relgrad_kernels::Result<Self::Out> {
        let device = Cpu::new(self.threads);
        let mut parameters = empty::<T, C>(&device, self.architecture.with(coupling))?;
        Ok(self.read(&device, &mut parameters).map(|()| {
            let network: Box<dyn TrainedNetwork> =
                Box::new(TypedNetwork { device, parameters, scorer: None, inverter: None });
            network
        }))
    }
}

impl Opening<'_> {
    fn read<T: Scalar, C>(&self, device: &Cpu, parameters: &mut Parameters<Cpu, T, C>) -> Result<()> {
        let state = self.slot.read_parameters(device, parameters)?;
        let own = tensor_file(self.name, state.progress.step);
        match self.file {
            Some(file) if file != OsStr::new(&own) => Err(Error::Input(format!(
                "{} is not the file of {}.json, which is {own}",
                Path::new(file).display(),
                self.name
            ))),
            _ => Ok(()),
        }
    }
}

struct TypedNetwork<T: Scalar, C: Coupling<Cpu, T>> {
    device: Cpu,
    parameters: Parameters<Cpu, T, C>,
    /// Made when it is first asked for, as the next.
    scorer: Option<Scorer<T, C>>,
    inverter: Option<Inverter<T>>,
}

impl<T: Scalar, C: Coupling<Cpu, T>> TrainedNetwork for TypedNetwork<T, C> {
    fn score(&mut self, x: &[f64], u: &[f64]) -> relgrad_kernels::Result<(LogLikelihood, Vec<f64>)> {
        let Self { device, parameters, scorer, .. } = self;
        let scorer = match scorer {
            Some(scorer) => scorer,
            none => none.insert(Scorer::new(device, parameters)?),
        };
        let terms = scorer.terms(device, parameters, &narrowed::<T>(x), &narrowed::<T>(u))?;
        Ok((terms, widened(scorer.latents(device)?)))
    }

    fn locate(&self, rho: Vec<f64>, u: &[f64]) -> relgrad_kernels::Result<Vec<f64>> {
        let Architecture { dim, conditions, .. } = *self.parameters.architecture();
        let u = matrix_of::<T>(&self.device, &narrowed(u), conditions, rho.len() / dim)?;
        let u = u.as_ref().map(|u| u.view());
        Ok(widened(locate(&self.device, &self.parameters, rho, u)?))
    }

    fn invert(&mut self, z: &[f64]) -> relgrad_kernels::Result<Vec<f64>> {
        let Self { device, parameters, inverter, .. } = self;
        let inverter = match inverter {
            Some(inverter) => inverter,
            none => none.insert(Inverter::new(device, parameters)?),
        };
        let mut x = narrowed(z);
        inverter.invert(&mut x)?;
        Ok(widened(x))
    }
}

fn narrowed<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::of(x)).collect()
}

fn widened<T: Scalar>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Scalar::widen).collect()
}
