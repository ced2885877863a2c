//! The Python class `Parameters` as the kernels' network.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use relgrad_kernels::parameters::{Arrays, Parameters};
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Dtype};

use crate::arrays::{Access, Guard, Number, dtype_of, lend, raised};
use crate::row_major::RowMajor;

/// The attributes of `relgrad.Parameters`.
#[derive(FromPyObject)]
pub(crate) struct Network<'py> {
    weights: Vec<Bound<'py, PyAny>>,
    biases: Option<Vec<Bound<'py, PyAny>>>,
    activation: String,
    last_nonlinear: bool,
    base: String,
}

/// The attributes of `relgrad.Gradient`.
#[derive(FromPyObject)]
pub(crate) struct Direction<'py> {
    weights: Vec<Bound<'py, PyAny>>,
    biases: Option<Vec<Bound<'py, PyAny>>>,
}

/// Arrays that share the memory of NumPy's, while the guards live.
type Lent<'py, T> = (Arrays<Cpu, T>, Vec<Guard<'py, T>>);

/// The same as parameters.
type LentParameters<'py, T> = (Parameters<Cpu, T, RowMajor>, Vec<Guard<'py, T>>);

impl<'py> Network<'py> {
    /// The precision, which all arrays of a call have.
    pub(crate) fn dtype(&self) -> PyResult<Dtype> {
        dtype_of(self.first()?, "weights[0]")
    }

    fn first(&self) -> PyResult<&Bound<'py, PyAny>> {
        self.weights.first().ok_or_else(|| PyValueError::new_err("weights is empty: a network has at least one layer"))
    }

    /// The network without its numbers; D is the length of the first weight.
    pub(crate) fn architecture(&self) -> PyResult<Architecture<RowMajor>> {
        let dim = self.first()?.getattr("shape")?.extract::<Vec<usize>>()?.first().copied().unwrap_or(0);
        let activation: Activation = self.activation.parse().map_err(|unknown| raised(Into::into(unknown)))?;
        let base: Base = self.base.parse().map_err(|unknown| raised(Into::into(unknown)))?;
        let architecture = Architecture {
            activation,
            base,
            last_nonlinear: self.last_nonlinear,
            bias: self.biases.is_some(),
            ..Architecture::new(dim, self.weights.len())
        }
        .with(RowMajor);
        architecture.validate().map_err(raised)?;
        Ok(architecture)
    }

    /// The parameters, in the memory of their arrays.
    pub(crate) fn parameters<T: Number>(&self, access: Access) -> PyResult<LentParameters<'py, T>> {
        let architecture = self.architecture()?;
        let (arrays, guards) = arrays("", &self.weights, self.biases.as_deref(), architecture, access)?;
        Ok((Parameters::new(architecture, arrays).map_err(raised)?, guards))
    }
}

impl<'py> Direction<'py> {
    /// The arrays of a direction for such a network, to be written to.
    pub(crate) fn arrays<T: Number>(&self, architecture: Architecture<RowMajor>) -> PyResult<Lent<'py, T>> {
        arrays("out.", &self.weights, self.biases.as_deref(), architecture, Access::Write)
    }
}

fn arrays<'py, T: Number>(
    of: &str,
    weights: &[Bound<'py, PyAny>],
    biases: Option<&[Bound<'py, PyAny>]>,
    architecture: Architecture<RowMajor>,
    access: Access,
) -> PyResult<Lent<'py, T>> {
    let Architecture { dim, layers, bias, .. } = architecture;
    let biases = biases.unwrap_or_default();
    for (name, found, expected) in
        [("weights", weights.len(), layers), ("biases", biases.len(), if bias { layers } else { 0 })]
    {
        if found != expected {
            return Err(PyValueError::new_err(format!("{of}{name} has {found} arrays: expected {expected}")));
        }
    }
    let mut guards = Vec::with_capacity(2 * layers);
    let mut lent = |name: &str, objects: &[Bound<'py, PyAny>], shape: &[usize]| {
        let matrix = |(k, object)| {
            let (matrix, guard) = lend(object, &format!("{of}{name}[{k}]"), shape, access)?;
            guards.push(guard);
            Ok(matrix)
        };
        objects.iter().enumerate().map(matrix).collect::<PyResult<Vec<_>>>()
    };
    let (weights, biases) = (lent("weights", weights, &[dim, dim])?, lent("biases", biases, &[dim])?);
    Ok((Arrays { weights, biases, head: None }, guards))
}
