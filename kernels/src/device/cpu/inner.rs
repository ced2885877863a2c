//! Inner products of columns, summed in f64 whatever the precision of the columns.

use faer::{MatMut, MatRef};

use super::product::{self, Onto, share};
use super::shared::Shared;
use super::team::{self, Length};
use crate::device::ROWS_WIDENED;
use crate::scalar::Scalar;

/// out ← aᵀb for columns of `rows` numbers; `room` has [`ROWS_WIDENED`] numbers for each column of a and of b.
pub(super) fn products<T: Scalar>(threads: usize, rows: usize, [a, b]: [&[T]; 2], room: &mut [f64], out: &mut [f64]) {
    let (left, right) = (a.len() / rows, b.len() / rows);
    for start in (0..rows).step_by(ROWS_WIDENED) {
        let count = ROWS_WIDENED.min(rows - start);
        let room = &mut room[..count * (left + right)];
        let wide = Shared::new(&mut *room);
        team::run(threads, Length::Short, &|part| {
            let mine = share(left + right, part, threads, 1)..share(left + right, part + 1, threads, 1);
            for column in mine {
                let (of, place) = if column < left { (a, column) } else { (b, column - left) };
                // SAFETY: every column is one part's alone.
                let to = unsafe { wide.range(column * count..(column + 1) * count) };
                to.iter_mut().zip(&of[place * rows + start..]).for_each(|(to, from)| *to = from.widen());
            }
        });
        let (a, b) = room.split_at(count * left);
        let (a, b) =
            (MatRef::from_column_major_slice(a, count, left), MatRef::from_column_major_slice(b, count, right));
        let onto = if start == 0 { Onto::Overwrite } else { Onto::Scaled(1.0) };
        let out = MatMut::from_column_major_slice_mut(&mut *out, left, right);
        product::multiply(threads, 1.0, a.transpose(), b, onto, out);
    }
}
