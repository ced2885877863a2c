//! Studies as tables.

use std::path::PathBuf;

use numpy::IntoPyArray;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use relgrad_reports::baseline;
use relgrad_reports::error::Error;
use relgrad_reports::export::{Field, Frame, Report, records, samples, summary};
use relgrad_reports::study::{Invalid, Study};
use relgrad_reports::summary::Summary;

/// Columns in their order, and what reading had to repair or leave out.
type Columns<'py> = (Vec<(String, Bound<'py, PyAny>)>, Vec<String>);

/// The columns of a table of the sweep in `path`: `samples`, `records` or `summary`.
#[pyfunction]
pub(crate) fn read<'py>(py: Python<'py>, path: PathBuf, table: &str, skip_invalid: bool) -> PyResult<Columns<'py>> {
    let invalid = if skip_invalid { Invalid::Skip } else { Invalid::Refuse };
    let of: fn(&Study) -> Frame = match table {
        "samples" => samples,
        "records" => records,
        "summary" => |study| summary(&Report { study, summary: &Summary::of(study), figures: &[] }),
        _ => return Err(PyValueError::new_err(format!("unknown table `{table}`: samples, records or summary"))),
    };
    let read = || baseline::read_with(&path, invalid).map(|study| (of(&study), study.warnings));
    let (Frame { names, rows }, warnings) = py.detach(read).map_err(raised)?;
    let columns = names.into_iter().enumerate();
    let columns = columns.map(|(at, name)| Ok((name, column(py, rows.iter().map(|row| &row[at]))?)));
    Ok((columns.collect::<PyResult<_>>()?, warnings))
}

fn raised(error: Error) -> PyErr {
    let text = error.to_string();
    if matches!(error, Error::Io(..)) { PyOSError::new_err(text) } else { PyValueError::new_err(text) }
}

/// The values of a column: a list of text, or an array. A number that does not exist is NaN, and makes whole numbers
/// floating-point ones.
fn column<'py, 'a>(py: Python<'py>, fields: impl Iterator<Item = &'a Field> + Clone) -> PyResult<Bound<'py, PyAny>> {
    let number = |field: &Field| match field {
        Field::Number(number) => number.unwrap_or(f64::NAN),
        Field::Whole(number) => number.map_or(f64::NAN, |number| number as f64),
        Field::Text(_) | Field::Flag(_) => f64::NAN,
    };
    Ok(match fields.clone().next() {
        None | Some(Field::Text(_)) => {
            let texts = fields.map(|field| if let Field::Text(text) = field { text.as_deref() } else { None });
            texts.collect::<Vec<_>>().into_pyobject(py)?.into_any()
        }
        Some(Field::Flag(_)) => {
            let flags: Vec<bool> = fields.map(|field| *field == Field::Flag(true)).collect();
            flags.into_pyarray(py).into_any()
        }
        Some(Field::Number(_)) => fields.map(number).collect::<Vec<_>>().into_pyarray(py).into_any(),
        Some(Field::Whole(_)) => {
            let whole = |field: &Field| if let Field::Whole(number) = field { *number } else { None };
            let Some(all) = fields.clone().map(whole).collect::<Option<Vec<u64>>>() else {
                return Ok(fields.map(number).collect::<Vec<_>>().into_pyarray(py).into_any());
            };
            match all.iter().map(|&number| i64::try_from(number)).collect::<Result<Vec<_>, _>>() {
                Ok(signed) => signed.into_pyarray(py).into_any(),
                Err(_) => all.into_pyarray(py).into_any(),
            }
        }
    })
}
