//! Passes over a weight for few samples, shared out among the threads; see [`super::gemm::few`].

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use faer::{MatMut, MatRef};

use super::gemm::Level;
use super::gemm::few::{self, Pull, Push, WeightUpdate};
use super::product::{Onto, share};
use super::shared::Shared;
use super::team::{self, Length};
use crate::device::{Cpu, PullOuter, Updated};
use crate::scalar::Scalar;

/// A weight of fewer numbers is in a cache so near that products that pack it are as fast.
const LEAST_WEIGHT: usize = 1 << 16;
/// Fewer rows or columns are not those of a weight, nor of its pending updates; their products have ways of their own
/// for long sums.
const LEAST_SIDE: usize = 32;
/// Rows and columns of W in which shares are cut: whole lines of Y, whole blocks of columns.
const ROWS: usize = 64;
const COLUMNS: usize = 16;

/// c ← a b for a weight a, or its transpose, and few columns b. Returns whether it did: not for other products.
pub(super) fn multiply<T: Scalar>(
    threads: usize,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    onto: Onto<'_, T>,
    c: MatMut<'_, T>,
) -> bool {
    let Some(level) = level::<T>(a.nrows() * a.ncols(), b.ncols()) else { return false };
    let is_plain = |m: MatRef<'_, T>| m.row_stride() == 1 && m.col_stride() == m.nrows() as isize;
    let (pushes, pulls) = (is_plain(a), is_plain(a.transpose()));
    // The sums of a bias over many samples are not a weight's.
    let fits = a.ncols().min(a.nrows()) >= LEAST_SIDE
        && matches!(onto, Onto::Overwrite)
        && alpha == T::of(1.0)
        && (pushes || pulls)
        && is_plain(b)
        && is_plain(c.as_ref());
    if !fits {
        return false;
    }
    let length = Length::of(a.nrows() * a.ncols() * b.ncols(), threads);
    if pushes {
        let pass = Push {
            rows: a.nrows(),
            cols: a.ncols(),
            samples: b.ncols(),
            weight: a.as_ptr(),
            z: b.as_ptr(),
            z_stride: a.ncols(),
            y: c.as_ptr_mut(),
        };
        let is_cached = pass.rows * pass.cols * size_of::<T>() <= few::STREAMED_BYTES;
        if threads > 1 && is_cached && push_by_columns(threads, length, level, &pass) {
            return true;
        }
        team::run(threads, length, &|part| {
            let rows = share(pass.rows, part, threads, ROWS)..share(pass.rows, part + 1, threads, ROWS);
            // SAFETY: the views are valid for their shapes, which fit; the parts' rows are disjoint.
            unsafe { few::push(level, &pass, rows) };
        });
        return true;
    }
    let pass = Pull {
        rows: a.ncols(),
        cols: a.nrows(),
        samples: b.ncols(),
        width: b.ncols(),
        weight: a.as_ptr(),
        errors: b.as_ptr(),
        pulled: c.as_ptr_mut(),
        update: None,
    };
    pull(threads, level, &pass);
    true
}

thread_local! {
    /// Sums of the other threads, for the thread that asks for a product.
    static SUMS: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// Y ← W Z with the columns of W shared out as in [`pull`], so that each thread finds in its cache what it has updated
/// there, and the threads' sums added up. Returns whether there was memory for these.
fn push_by_columns<T: Scalar>(threads: usize, length: Length, level: Level, pass: &Push<T>) -> bool {
    let len = pass.rows * pass.samples;
    SUMS.with_borrow_mut(|sums| {
        let numbers = ((threads - 1) * len * size_of::<T>()).div_ceil(size_of::<f64>());
        if sums.try_reserve(numbers.saturating_sub(sums.len())).is_err() {
            return false;
        }
        sums.resize(numbers.max(sums.len()), 0.0);
        // SAFETY: both are valid for their lengths, and nobody else's; numbers of any bits are some.
        let (sums, y) = unsafe {
            let sums = std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast::<T>(), (threads - 1) * len);
            (Shared::new(sums), Shared::new(std::slice::from_raw_parts_mut(pass.y, len)))
        };
        team::run(threads, length, &|part| {
            let cols = share(pass.cols, part, threads, COLUMNS)..share(pass.cols, part + 1, threads, COLUMNS);
            let (weight, z) = (pass.weight.wrapping_add(cols.start * pass.rows), pass.z.wrapping_add(cols.start));
            // SAFETY: each part has a place of its own for its sums.
            let place = unsafe { if part == 0 { y.range(0..len) } else { sums.range((part - 1) * len..part * len) } };
            if cols.is_empty() {
                return place.fill(T::default());
            }
            let mine = Push { cols: cols.len(), weight, z, y: place.as_mut_ptr(), ..*pass };
            // SAFETY: the views are valid for their shapes, which fit.
            unsafe { few::push(level, &mine, 0..pass.rows) };
        });
        team::run(threads, Length::Short, &|part| {
            let range = share(len, part, threads, ROWS)..share(len, part + 1, threads, ROWS);
            // SAFETY: the parts' ranges are disjoint, and sums are no longer written.
            let total = unsafe { y.range(range.clone()) };
            for other in 0..threads - 1 {
                // SAFETY: as above.
                let sums = unsafe { sums.read(other * len + range.start..other * len + range.end) };
                total.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
            }
        });
        true
    })
}

/// As [`Device::pull_outer`](crate::device::Device::pull_outer). `None` where products are faster, and nothing has
/// changed; else whether no row of U was too large.
pub(super) fn pull_outer<T: Scalar>(threads: usize, pass: &mut PullOuter<'_, Cpu, T>) -> Option<bool> {
    let (dim, samples) = pass.left.shape();
    let level = level::<T>(dim * dim, samples)?;
    let (weight, out, beta, past_caches) = match &mut pass.weight {
        Updated::InPlace(weight, beta) => {
            let weight = weight.reborrow().into_slice().as_mut_ptr();
            (weight.cast_const(), weight, *beta, false)
        }
        Updated::Apart(weight, out) => {
            let streams = size_of_val(weight.slice()) > few::STREAMED_BYTES;
            (weight.slice().as_ptr(), out.reborrow().into_slice().as_mut_ptr(), T::of(1.0), streams)
        }
    };
    let left = pass.left.slice().as_ptr();
    let pass = Pull {
        rows: dim,
        cols: dim,
        samples,
        width: pass.errors.cols(),
        weight,
        errors: pass.errors.slice().as_ptr(),
        pulled: pass.pulled.reborrow().into_slice().as_mut_ptr(),
        update: Some(WeightUpdate { left, out, alpha: pass.alpha, beta, most: pass.most, past_caches }),
    };
    Some(pull(threads, level, &pass))
}

/// The instruction set of the passes, where they are faster than products for a weight of so many numbers.
fn level<T: Scalar>(weight: usize, samples: usize) -> Option<Level> {
    if weight < LEAST_WEIGHT {
        return None;
    }
    Level::best().filter(|level| samples <= few::most_samples(*level, weight * size_of::<T>()))
}

fn pull<T: Scalar>(threads: usize, level: Level, pass: &Pull<T>) -> bool {
    let fits = AtomicBool::new(true);
    let length = Length::of(pass.rows * pass.cols * pass.width, threads);
    team::run(threads, length, &|part| {
        let cols = share(pass.cols, part, threads, COLUMNS)..share(pass.cols, part + 1, threads, COLUMNS);
        // SAFETY: the matrices are valid for their shapes, which fit; the parts' columns are disjoint.
        if !unsafe { few::pull(level, pass, cols) } {
            fits.store(false, Ordering::Relaxed);
        }
    });
    fits.load(Ordering::Relaxed)
}
