//! The calls into the kernels. All work is done without the interpreter's lock.

use std::thread::available_parallelism;

use numpy::{Element, IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::device::{Matrix, MatrixRef};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Architecture, Cpu, Dtype, Error, Init, Method, init};

use crate::arrays::{Access, Number, raised, readable, writable};
use crate::network::{Direction, Network};
use crate::row_major::RowMajor;

/// Calls a function of the precision.
macro_rules! in_precision {
    ($dtype:expr, $call:ident($($argument:expr),*)) => {
        match $dtype {
            Dtype::F32 => $call::<f32>($($argument),*),
            Dtype::F64 => $call::<f64>($($argument),*),
        }
    };
}

/// A name of the vocabulary.
fn named<N: std::str::FromStr<Err: Into<Error>>>(name: &str) -> PyResult<N> {
    name.parse().map_err(|unknown: N::Err| raised(unknown.into()))
}

/// The CPU with `threads` threads; with one for each core that the process may use where none is given.
fn device(threads: Option<usize>) -> PyResult<Cpu> {
    match threads {
        Some(0) => Err(PyValueError::new_err("threads = 0 must be at least 1")),
        Some(threads) => Ok(Cpu::new(threads)),
        None => Ok(Cpu::new(available_parallelism().map_or(1, usize::from))),
    }
}

/// A number of samples, unless there is none.
fn require_samples(samples: usize, name: &str) -> PyResult<usize> {
    if samples == 0 { Err(PyValueError::new_err(format!("{name} has no samples"))) } else { Ok(samples) }
}

/// Writes the direction of `method` at the parameters for x (N×D) to the arrays of `out`.
#[pyfunction]
pub(crate) fn gradient<'py>(
    parameters: Network<'py>,
    x: &Bound<'py, PyAny>,
    method: &str,
    bias_mode: &str,
    out: Direction<'py>,
    threads: Option<usize>,
) -> PyResult<()> {
    let how = (named(method)?, named(bias_mode)?);
    in_precision!(parameters.dtype()?, gradient_in(&parameters, x, how, &out, device(threads)?))
}

fn gradient_in<'py, T: Number>(
    network: &Network<'py>,
    x: &Bound<'py, PyAny>,
    (method, bias_mode): (Method, BiasMode),
    out: &Direction<'py>,
    device: Cpu,
) -> PyResult<()> {
    let (parameters, _parameters) = network.parameters::<T>(Access::Read)?;
    let architecture = *parameters.architecture();
    let batch = readable::<T>(x, "x", &[None, Some(architecture.dim)])?;
    let samples = require_samples(batch.shape()[0], "x")?;
    let (mut out, _out) = out.arrays::<T>(architecture)?;
    let numbers = batch.as_slice()?;
    let work = || {
        let x = MatrixRef::from_slice(numbers, architecture.dim, samples)?;
        bind(&device, method, bias_mode, &architecture, samples)?.gradient(&device, &parameters, x, &mut out)
    };
    x.py().detach(work).map_err(raised)
}

/// Lp and L1J of each sample, log|det W| of each layer, and the latents g(x) in `latents` (N×D) where it is given.
type Parts<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// The parts of the log-likelihood of x (N×D), in nats; writes g(x) to `latents`.
#[pyfunction]
pub(crate) fn likelihood<'py>(
    parameters: Network<'py>,
    x: &Bound<'py, PyAny>,
    latents: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Parts<'py>> {
    in_precision!(parameters.dtype()?, likelihood_in(&parameters, x, latents, device(threads)?))
}

fn likelihood_in<'py, T: Number>(
    network: &Network<'py>,
    x: &Bound<'py, PyAny>,
    latents: &Bound<'py, PyAny>,
    device: Cpu,
) -> PyResult<Parts<'py>> {
    let (parameters, _parameters) = network.parameters::<T>(Access::Read)?;
    let dim = parameters.architecture().dim;
    let batch = readable::<T>(x, "x", &[None, Some(dim)])?;
    let samples = require_samples(batch.shape()[0], "x")?;
    let mut latents = writable::<T>(latents, "latents", &[Some(samples), Some(dim)])?;
    let (numbers, latents) = (batch.as_slice()?, latents.as_slice_mut()?);
    let work = || {
        let mut evaluator = Evaluator::new(&device, parameters.architecture(), samples)?;
        let x = MatrixRef::from_slice(numbers, dim, samples)?;
        let parts = evaluator.log_likelihood(&device, &parameters, x)?;
        latents.copy_from_slice(evaluator.latents().slice());
        Ok(parts)
    };
    let parts = x.py().detach(work).map_err(raised)?;
    Ok((parts.lp.into_pyarray(x.py()), parts.l1j.into_pyarray(x.py()), parts.l2j_per_layer.into_pyarray(x.py())))
}

/// Factors every weight, on as many threads as the device has.
fn inverter<T: Number>(network: &Network<'_>, device: Cpu, py: Python<'_>) -> PyResult<Inverter<T>> {
    let (parameters, _parameters) = network.parameters::<T>(Access::Read)?;
    faer::set_global_parallelism(match device.threads() {
        1 => faer::Par::Seq,
        threads => faer::Par::rayon(threads),
    });
    py.detach(|| Inverter::new(&device, &parameters)).map_err(raised)
}

/// Overwrites the latents s (N×D) by g⁻¹(s).
#[pyfunction]
pub(crate) fn invert<'py>(parameters: Network<'py>, s: &Bound<'py, PyAny>, threads: Option<usize>) -> PyResult<()> {
    in_precision!(parameters.dtype()?, invert_in(&parameters, s, device(threads)?))
}

fn invert_in<'py, T: Number>(network: &Network<'py>, s: &Bound<'py, PyAny>, device: Cpu) -> PyResult<()> {
    let dim = network.architecture()?.dim;
    let mut latents = writable::<T>(s, "s", &[None, Some(dim)])?;
    let inverter = inverter::<T>(network, device, s.py())?;
    let latents = latents.as_slice_mut()?;
    s.py().detach(|| inverter.invert(latents)).map_err(raised)
}

/// `count` draws from the model (N×D).
#[pyfunction]
pub(crate) fn sample<'py>(
    py: Python<'py>,
    parameters: Network<'py>,
    count: usize,
    seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    in_precision!(parameters.dtype()?, sample_in(py, &parameters, (count, seed), device(threads)?))
}

fn sample_in<'py, T: Number>(
    py: Python<'py>,
    network: &Network<'py>,
    (count, seed): (usize, u64),
    device: Cpu,
) -> PyResult<Bound<'py, PyAny>> {
    let dim = network.architecture()?.dim;
    let inverter = inverter::<T>(network, device, py)?;
    let drawn = py.detach(|| inverter.sample(count, seed)).map_err(raised)?;
    Ok(shaped(py, drawn, &[count, dim])?.into_any())
}

/// One step of size μ in place, along the relative gradient or its transposed form. Returns μ_k and ρ_k of each layer.
#[pyfunction]
pub(crate) fn step<'py>(
    parameters: Network<'py>,
    x: &Bound<'py, PyAny>,
    mu: f64,
    transposed: bool,
    bias_mode: &str,
    guard: bool,
    threads: Option<usize>,
) -> PyResult<(Vec<f64>, Vec<f64>)> {
    let how = InPlaceStep { transposed, bias_mode: named(bias_mode)?, guard, delay: 1 };
    in_precision!(parameters.dtype()?, step_in(&parameters, x, (how, mu), device(threads)?))
}

fn step_in<'py, T: Number>(
    network: &Network<'py>,
    x: &Bound<'py, PyAny>,
    (how, mu): (InPlaceStep, f64),
    device: Cpu,
) -> PyResult<(Vec<f64>, Vec<f64>)> {
    let (mut parameters, _parameters) = network.parameters::<T>(Access::Write)?;
    let architecture = *parameters.architecture();
    let batch = readable::<T>(x, "x", &[None, Some(architecture.dim)])?;
    let samples = require_samples(batch.shape()[0], "x")?;
    let numbers = batch.as_slice()?;
    let work = || {
        let x = MatrixRef::from_slice(numbers, architecture.dim, samples)?;
        let mut workspace = how.workspace(&device, &architecture, samples)?;
        let report = how.step(&device, &mut parameters, x, mu, &mut workspace, None)?;
        Ok((report.step_sizes.clone(), report.rho.clone()))
    };
    x.py().detach(work).map_err(raised)
}

/// Weights, and biases where there are any.
type Drawn<'py> = (Vec<Bound<'py, PyAny>>, Vec<Bound<'py, PyAny>>);

/// The weights (D×D) and biases (D) of a seeded network.
#[pyfunction]
pub(crate) fn initial<'py>(
    py: Python<'py>,
    dim: usize,
    layers: usize,
    bias: bool,
    init: &str,
    seed: u64,
    float64: bool,
) -> PyResult<Drawn<'py>> {
    let architecture = Architecture { bias, ..Architecture::new(dim, layers) }.with(RowMajor);
    let dtype = if float64 { Dtype::F64 } else { Dtype::F32 };
    in_precision!(dtype, initial_in(py, architecture, named(init)?, seed))
}

fn initial_in<T: Number>(
    py: Python<'_>,
    architecture: Architecture<RowMajor>,
    init: Init,
    seed: u64,
) -> PyResult<Drawn<'_>> {
    let (device, dim) = (Cpu::new(1), architecture.dim);
    let drawn = py.detach(|| init::network::<_, T, _>(&device, &architecture, init, seed)).map_err(raised)?;
    let arrays = |matrices: &[Matrix<Cpu, T>], shape: &[usize]| {
        let array = |matrix: &Matrix<Cpu, T>| {
            Ok(shaped(py, matrix.to_column_major(&device).map_err(raised)?, shape)?.into_any())
        };
        matrices.iter().map(array).collect::<PyResult<Vec<_>>>()
    };
    Ok((arrays(&drawn.arrays().weights, &[dim, dim])?, arrays(&drawn.arrays().biases, &[dim])?))
}

/// Numbers as an array, without a copy.
fn shaped<'py, T: Element>(py: Python<'py>, numbers: Vec<T>, shape: &[usize]) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    numbers.into_pyarray(py).reshape(shape.to_vec())
}
