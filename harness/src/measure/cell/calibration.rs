//! Kernels whose speed says how fast the machine is at this moment: what a cell's time is divided by.
//!
//! A matrix product of the cell's shape, and a copy of one weight. They are the yardstick, so they use nothing of
//! `relgrad-kernels` that does work: a faster product kernel of ours must show as a faster gradient. The product is
//! faer's, whose version is pinned in Cargo.lock; a baseline is measured anew when that changes.

use std::hint::black_box;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;
use relgrad_kernels::{Result, Scalar};
use relgrad_reports::record::Cell;
use relgrad_vocabulary::Kernel;

use super::child::Timed;
use crate::measure::workload::with_dtype;

/// The calibration kernel that `cell.method` names.
pub(super) fn prepare(cell: &Cell) -> Result<Timed> {
    let kernel = Kernel::try_from(cell.method)?;
    Ok(with_dtype!(cell.point.dtype, T => match kernel {
        Kernel::Gemm => gemm::<T>(cell),
        Kernel::Copy => copy::<T>(cell),
    }))
}

/// Y ← W X, with W (D×D) and X (D×N): the product that every layer of every method makes, by faer.
fn gemm<T: Scalar>(cell: &Cell) -> Timed {
    let parallelism = if cell.point.threads > 1 { Par::rayon(cell.point.threads) } else { Par::Seq };
    let w = Mat::from_fn(cell.point.dim, cell.point.dim, number::<T>);
    let x = Mat::from_fn(cell.point.dim, cell.point.batch, number::<T>);
    let mut y = Mat::<T>::zeros(cell.point.dim, cell.point.batch);
    Box::new(move || {
        matmul(y.as_mut(), Accum::Replace, w.as_ref(), x.as_ref(), T::of(1.0), parallelism);
        black_box(&mut y);
        Ok(())
    })
}

/// B ← A, both D×D, each thread a stretch of its own.
fn copy<T: Scalar>(cell: &Cell) -> Timed {
    let length = cell.point.dim * cell.point.dim;
    let source: Vec<T> = (0..length).map(|i| number(i, 0)).collect();
    let mut destination = vec![T::of(0.0); length];
    let stretch = length.div_ceil(cell.point.threads.max(1)).max(1);
    Box::new(move || {
        let pairs = destination.par_chunks_mut(stretch).zip(source.par_chunks(stretch));
        pairs.for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&mut destination);
        Ok(())
    })
}

/// Numbers between −1 and 1 without a pattern that a product could profit from.
fn number<T: Scalar>(row: usize, column: usize) -> T {
    let mixed = (row * 7919 + column * 104_729 + 1) % 2003;
    T::of(mixed as f64 / 1001.0 - 1.0)
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::{Dtype, Method};
    use relgrad_reports::record::Point;
    use relgrad_vocabulary::Subject;

    use super::*;
    use crate::measure::plan::testing;

    fn cell(method: impl Into<Subject>, dtype: Dtype, threads: usize) -> Cell {
        let cell = testing::planned(Method::Relative, 20, 0).cell;
        Cell { method: method.into(), point: Point { dtype, threads, batch: 7, ..cell.point }, round: 0 }
    }

    #[test]
    fn both_kernels_run_in_both_precisions_on_one_thread_and_two() {
        for method in Kernel::ALL {
            for (dtype, threads) in [(Dtype::F32, 1), (Dtype::F64, 2)] {
                let mut kernel = prepare(&cell(method, dtype, threads)).expect("a kernel");
                assert!(kernel().is_ok() && kernel().is_ok(), "{method} {dtype}");
            }
        }
        assert!(prepare(&cell(Method::Relative, Dtype::F32, 1)).is_err());
    }
}
