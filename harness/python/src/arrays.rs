//! NumPy arrays, checked and lent to the kernels without a copy.

use std::ptr::NonNull;

use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::{Cpu, Dtype, Error, Scalar};

/// A precision that NumPy has too.
pub(crate) trait Number: Scalar + Element {}

impl Number for f32 {}
impl Number for f64 {}

/// The exception of a kernel's error, with its text.
pub(crate) fn raised(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::OutOfMemory { .. } => PyMemoryError::new_err(text),
        Error::Singular { .. } => Python::attach(|py| {
            let class = py.import("numpy.linalg").and_then(|module| module.getattr("LinAlgError"));
            class.and_then(|class| class.call1((&text,))).map_or_else(|error| error, PyErr::from_value)
        }),
        _ => PyValueError::new_err(text),
    }
}

fn untyped<'a, 'py>(object: &'a Bound<'py, PyAny>, name: &str) -> PyResult<&'a Bound<'py, PyUntypedArray>> {
    object.cast::<PyUntypedArray>().map_err(|_| {
        let class = object.get_type().name().map_or_else(|_| "another type".into(), |name| name.to_string());
        PyTypeError::new_err(format!("{name} is a {class}: expected a NumPy array"))
    })
}

/// The precision of an array.
pub(crate) fn dtype_of(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Dtype> {
    let (py, dtype) = (object.py(), untyped(object, name)?.dtype());
    if dtype.is_equiv_to(&numpy::dtype::<f32>(py)) {
        Ok(Dtype::F32)
    } else if dtype.is_equiv_to(&numpy::dtype::<f64>(py)) {
        Ok(Dtype::F64)
    } else {
        Err(PyTypeError::new_err(format!("{name} has dtype {dtype}: expected float32 or float64")))
    }
}

/// An array of `T`, C-contiguous. `shape` has the lengths that are known.
fn array<'py, T: Number>(
    object: &Bound<'py, PyAny>,
    name: &str,
    shape: &[Option<usize>],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let any = untyped(object, name)?;
    let Ok(array) = object.cast::<PyArrayDyn<T>>() else {
        let expected = numpy::dtype::<T>(object.py());
        let found = any.dtype();
        return Err(PyTypeError::new_err(format!("{name} has dtype {found}: expected {expected}, as weights[0]")));
    };
    let fits = any.shape().len() == shape.len()
        && any.shape().iter().zip(shape).all(|(found, expected)| expected.is_none_or(|expected| expected == *found));
    if !fits {
        let expected: Vec<_> = shape.iter().map(|length| length.map_or("N".into(), |n| n.to_string())).collect();
        let found: Vec<_> = any.shape().iter().map(usize::to_string).collect();
        return Err(PyValueError::new_err(format!(
            "{name} has shape {}: expected {}",
            tuple(&found),
            tuple(&expected)
        )));
    }
    if !any.is_c_contiguous() || !any.is_aligned() {
        let advice = format!("{name} is not C-contiguous: pass numpy.ascontiguousarray({name})");
        return Err(PyValueError::new_err(advice));
    }
    Ok(array.clone())
}

/// A shape as Python writes it.
fn tuple(lengths: &[String]) -> String {
    if let [length] = lengths { format!("({length},)") } else { format!("({})", lengths.join(", ")) }
}

/// An array that is only read.
pub(crate) fn readable<'py, T: Number>(
    object: &Bound<'py, PyAny>,
    name: &str,
    shape: &[Option<usize>],
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let busy = |_| PyValueError::new_err(format!("{name} is being written to by another call"));
    array(object, name, shape)?.try_into_readonly().map_err(busy)
}

/// An array that is written to, and that shares its memory with no other one of the call.
pub(crate) fn writable<'py, T: Number>(
    object: &Bound<'py, PyAny>,
    name: &str,
    shape: &[Option<usize>],
) -> PyResult<PyReadwriteArrayDyn<'py, T>> {
    array(object, name, shape)?.try_into_readwrite().map_err(|error| match error {
        numpy::BorrowError::NotWriteable => PyValueError::new_err(format!("{name} is read-only")),
        _ => PyValueError::new_err(format!("{name} shares memory with another array of this call, or of another one")),
    })
}

/// What a call may do with arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Keeps an array borrowed.
pub(crate) enum Guard<'py, T: Number> {
    Read(#[expect(dead_code, reason = "held until it is dropped")] PyReadonlyArrayDyn<'py, T>),
    Write(#[expect(dead_code, reason = "held until it is dropped")] PyReadwriteArrayDyn<'py, T>),
}

/// The memory of an array as a column-major matrix of the same lengths in reverse; one column for a vector. The guard
/// must outlive it.
pub(crate) fn lend<'py, T: Number>(
    object: &Bound<'py, PyAny>,
    name: &str,
    shape: &[usize],
    access: Access,
) -> PyResult<(Matrix<Cpu, T>, Guard<'py, T>)> {
    let known: Vec<_> = shape.iter().copied().map(Some).collect();
    let (start, guard) = match access {
        Access::Read => {
            let array = readable(object, name, &known)?;
            (array.data(), Guard::Read(array))
        }
        Access::Write => {
            let array = writable(object, name, &known)?;
            (array.data(), Guard::Write(array))
        }
    };
    let start = NonNull::new(start).unwrap_or(NonNull::dangling());
    let (rows, cols) = (shape[shape.len() - 1], if shape.len() > 1 { shape[0] } else { 1 });
    // SAFETY: the array is aligned, contiguous and of this shape. The guard keeps it, and keeps other calls from
    // writing to it, or from using it where it is written to; a matrix that is only read is borrowed shared.
    Ok((unsafe { Matrix::lent(start, rows, cols) }, guard))
}
