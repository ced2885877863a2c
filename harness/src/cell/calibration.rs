//! Kernels whose speed says how fast the machine is at this moment: what a cell's time is divided by.
//!
//! A matrix product of the cell's shape through the same engine, and a copy of one weight. Neither depends on anything
//! that a change of a gradient backend could touch.

use relgrad_kernels::device::{Addend, Device, Factor, Matrix};
use relgrad_kernels::{Cpu, Dtype, Error, Result, Scalar, init};
use relgrad_reports::method::{CALIBRATIONS, COPY, GEMM};
use relgrad_reports::record::Cell;

/// Something to time: allocates nothing and waits for its result.
pub(crate) type Timed = Box<dyn FnMut() -> Result<()>>;

/// The calibration kernel that `cell.method` names.
///
/// # Errors
/// When it names none, and without memory for its matrices.
pub(crate) fn prepare(cell: &Cell) -> Result<Timed> {
    match cell.dtype.parse()? {
        Dtype::F32 => of::<f32>(cell),
        Dtype::F64 => of::<f64>(cell),
    }
}

fn of<T: Scalar>(cell: &Cell) -> Result<Timed> {
    match cell.method.as_str() {
        GEMM => gemm::<T>(cell),
        COPY => copy::<T>(cell),
        other => Err(Error::Unknown {
            kind: "calibration kernel",
            name: other.to_string(),
            expected: CALIBRATIONS.join(", "),
        }),
    }
}

/// Y ← W X, with W (D×D) and X (D×N): the product that every layer of every method makes.
fn gemm<T: Scalar>(cell: &Cell) -> Result<Timed> {
    let device = Cpu::new(cell.threads);
    let w: Matrix<Cpu, T> = init::batch(&device, cell.dim, cell.dim, cell.seed)?;
    let x: Matrix<Cpu, T> = init::batch(&device, cell.dim, cell.batch, cell.seed)?;
    let mut y = Matrix::zeros(&device, cell.dim, cell.batch, "calibration product")?;
    Ok(Box::new(move || {
        let factor = |matrix| Factor { matrix, transposed: false };
        device.multiply(T::of(1.0), factor(w.view()), factor(x.view()), Addend::Zero, y.view_mut())?;
        <Cpu as Device<T>>::synchronize(&device)
    }))
}

/// B ← A, both D×D.
fn copy<T: Scalar>(cell: &Cell) -> Result<Timed> {
    let device = Cpu::new(cell.threads);
    let source: Matrix<Cpu, T> = init::batch(&device, cell.dim, cell.dim, cell.seed)?;
    let mut destination = Matrix::zeros(&device, cell.dim, cell.dim, "calibration copy")?;
    Ok(Box::new(move || {
        device.copy(source.view(), destination.view_mut())?;
        <Cpu as Device<T>>::synchronize(&device)
    }))
}
