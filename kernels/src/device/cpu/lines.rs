//! Rows and columns of a matrix, each with a number of its own, shared out among the threads.

use super::product::share;
use super::shared::Shared;
use super::team::{self, Length};
use crate::device::Lines;
use crate::scalar::Scalar;

/// As [`crate::device::Device::scale_lines`].
pub(super) fn scale<T: Scalar>(threads: usize, lines: Lines, rows: usize, by: &[T], a: &mut [T]) {
    let (cols, shared) = (a.len() / rows, Shared::new(a));
    team::run(threads.max(1), Length::Short, &|part| {
        for j in share(cols, part, threads.max(1), 1)..share(cols, part + 1, threads.max(1), 1) {
            // SAFETY: every column is one part's alone.
            let column = unsafe { shared.range(j * rows..(j + 1) * rows) };
            match lines {
                Lines::RowsOver => column.iter_mut().zip(by).for_each(|(a, &by)| *a /= by),
                Lines::ColumnsTimes => column.iter_mut().for_each(|a| *a *= by[j]),
                Lines::ColumnsOver => column.iter_mut().for_each(|a| *a /= by[j]),
            }
        }
    });
}

/// As [`crate::device::Device::column_norms`].
pub(super) fn norms<T: Scalar>(threads: usize, rows: usize, a: &[T], out: &mut [f64]) {
    let (cols, shared) = (out.len(), Shared::new(out));
    team::run(threads.max(1), Length::Short, &|part| {
        let mine = share(cols, part, threads.max(1), 1)..share(cols, part + 1, threads.max(1), 1);
        // SAFETY: every column has one part.
        let out = unsafe { shared.range(mine.clone()) };
        for (j, norm) in mine.zip(out) {
            *norm = T::frobenius(1, &a[j * rows..(j + 1) * rows]);
        }
    });
}
