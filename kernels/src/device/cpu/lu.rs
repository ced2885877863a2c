//! LU factorisation with partial pivoting, by our products and faer.
//!
//! The columns are cut into blocks. A thread takes the first block that can go on and applies to it whatever panels are
//! factored, in their order; the block whose turn it is becomes the next panel. So the threads meet nowhere: while one
//! factors a panel the others are already at the blocks behind it, a block stays in the caches of its thread, and only
//! panels travel (a left-looking factorisation with dynamic look-ahead; Kurzak and Dongarra, *Implementing linear
//! algebra routines on multi-core processors with pipelining and a look ahead*, 2007). A panel itself is halved
//! (Toledo, *Locality of reference in LU decomposition with partial pivoting*, 1997).

use std::hint::spin_loop;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{panicking, yield_now};

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{MatMut, Par};

use super::factor::{Triangle, half, solve};
use super::product::{self, Onto};
use super::shared::{Shared, SharedMatrix};
use super::team::{self, Length};
use crate::scalar::Scalar;

/// Columns of a panel that faer factors whole.
const LEAF: usize = 48;

/// Columns of a block: few where there are few blocks to share out, many where products gain by depth.
const fn width(dim: usize) -> usize {
    if dim < 1500 { 96 } else { 192 }
}

/// Work memory for one factorisation at a time, O(D).
pub(super) struct LuWork {
    panel: PanelWork,
    progress: Vec<AtomicUsize>,
}

/// Work memory of a panel: its permutation and inverse, as faer tells them and while they are turned into exchanges.
struct PanelWork {
    forward: Vec<usize>,
    backward: Vec<usize>,
    scratch: MemBuffer,
}

impl LuWork {
    pub(super) fn new<T: Scalar>(dim: usize) -> Self {
        let scratch = lu_in_place_scratch::<usize, T>(dim, LEAF.min(dim), Par::Seq, Default::default());
        let panel = PanelWork { forward: vec![0; dim], backward: vec![0; dim], scratch: MemBuffer::new(scratch) };
        Self { panel, progress: (0..dim.div_ceil(width(dim))).map(|_| AtomicUsize::new(0)).collect() }
    }
}

/// PA = LU in place, with partial pivoting, for a square A. Row i was exchanged with row `pivots[i]` ≥ i.
pub(super) fn factorize<T: Scalar>(mut a: MatMut<'_, T>, pivots: &mut [usize], work: &mut LuWork, threads: usize) {
    let dim = a.ncols();
    let (width, parts) = (width(dim), threads.max(1));
    let length = Length::of(dim * dim * dim / 3, parts);
    work.progress.iter_mut().for_each(|progress| *progress.get_mut() = 0);
    let flow = Flow {
        width,
        dim,
        a: SharedMatrix::new(a.rb_mut()),
        pivots: Shared::new(&mut *pivots),
        panel: Mutex::new(&mut work.panel),
        progress: &work.progress,
        ready: AtomicUsize::new(0),
    };
    team::run(parts, length, &|_| flow.run());
    // The rows of a panel are exchanged for those behind it only now, since others were reading it.
    let (blocks, a) = (work.progress.len(), SharedMatrix::new(a));
    team::run(parts, Length::of(dim * dim, parts), &|part| {
        for block in (part..blocks).step_by(parts) {
            let columns = block * width..dim.min((block + 1) * width);
            let end = columns.end;
            // SAFETY: no two blocks have a column in common.
            exchange(unsafe { a.part(0..dim, columns) }, end, &pivots[end..]);
        }
    });
}

/// A factorisation on its way.
struct Flow<'a, T: Scalar> {
    width: usize,
    dim: usize,
    a: SharedMatrix<'a, T>,
    pivots: Shared<'a, usize>,
    panel: Mutex<&'a mut PanelWork>,
    /// How many panels were applied to each block, or [`CLAIMED`].
    progress: &'a [AtomicUsize],
    /// Panels that are factored: nobody changes them any more.
    ready: AtomicUsize,
}

/// Lets the other threads go when one panics, which would not finish what it claimed.
struct Released<'a>(&'a AtomicUsize);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        if panicking() {
            self.0.store(usize::MAX, Ordering::Release);
        }
    }
}

/// The progress of a block that some thread is at, or that is a panel.
const CLAIMED: usize = usize::MAX;

impl<T: Scalar> Flow<'_, T> {
    /// Works until every block is a panel. One thread can do it all, so none must wait for another to begin.
    fn run(&self) {
        let _released = Released(&self.ready);
        let mut idle = 0_u32;
        while self.ready.load(Ordering::Acquire) < self.progress.len() {
            if let Some((block, done)) = self.claim() {
                self.advance(block, done);
                idle = 0;
            } else {
                idle += 1;
                if idle.is_multiple_of(1 << 10) { yield_now() } else { spin_loop() }
            }
        }
    }

    /// The first block that can go on, and its progress.
    fn claim(&self) -> Option<(usize, usize)> {
        let ready = self.ready.load(Ordering::Acquire);
        (ready..self.progress.len()).find_map(|block| {
            let progress = &self.progress[block];
            let done = progress.load(Ordering::Relaxed);
            let goes_on = done < ready || (done == ready && block == ready);
            let claims = || progress.compare_exchange(done, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok();
            (goes_on && claims()).then_some((block, done))
        })
    }

    /// Takes a claimed block as far as it can go.
    fn advance(&self, block: usize, mut done: usize) {
        loop {
            let ready = self.ready.load(Ordering::Acquire);
            if done < ready.min(block) {
                self.apply(done, block);
                done += 1;
            } else if block == ready {
                self.factor(block);
                return self.ready.store(block + 1, Ordering::Release);
            } else {
                return self.progress[block].store(done, Ordering::Release);
            }
        }
    }

    fn columns(&self, block: usize) -> Range<usize> {
        block * self.width..self.dim.min((block + 1) * self.width)
    }

    /// Brings a block to where it would be after the elimination of a panel's columns.
    fn apply(&self, panel: usize, block: usize) {
        let eliminated = self.columns(panel);
        let (top, end) = (eliminated.start, eliminated.end);
        // SAFETY: the block is claimed, and the panel is one that nobody changes any more.
        let (mut columns, pivots, panel) = unsafe {
            let columns = self.a.part(0..self.dim, self.columns(block));
            (columns, self.pivots.read(eliminated.clone()), self.a.read(top..self.dim, eliminated))
        };
        exchange(columns.rb_mut(), top, pivots);
        let (triangle, below) = panel.split_at_row(end - top);
        let (mut upper, lower) = columns.subrows_mut(top, self.dim - top).split_at_row_mut(end - top);
        solve(Triangle::UnitLower, triangle, upper.rb_mut());
        product::multiply(1, T::of(-1.0), below, upper.rb(), Onto::Scaled(T::of(1.0)), lower);
    }

    /// Makes a claimed block to which all panels before it were applied a panel.
    fn factor(&self, block: usize) {
        let columns = self.columns(block);
        let top = columns.start;
        // SAFETY: the block and its pivots are claimed.
        let (panel, pivots) = unsafe { (self.a.part(top..self.dim, columns.clone()), self.pivots.range(columns)) };
        let Ok(mut work) = self.panel.lock() else { unreachable!("a panic ends the factorisation") };
        factorize_panel(panel, pivots, &mut work);
        pivots.iter_mut().for_each(|pivot| *pivot += top);
    }
}

/// PA = LU on the calling thread, for an A of no more columns than rows.
fn factorize_panel<T: Scalar>(mut a: MatMut<'_, T>, pivots: &mut [usize], work: &mut PanelWork) {
    let cols = a.ncols();
    if cols <= LEAF {
        let rows = a.nrows();
        let (forward, backward) = (&mut work.forward[..rows], &mut work.backward[..rows]);
        lu_in_place(a, forward, backward, Par::Seq, MemStack::new(&mut work.scratch), Default::default());
        return exchanges(forward, pivots);
    }
    let half = half(cols, LEAF);
    let (first, second) = pivots[..cols].split_at_mut(half);
    factorize_panel(a.rb_mut().subcols_mut(0, half), first, work);
    let (left, mut right) = a.split_at_col_mut(half);
    exchange(right.rb_mut(), 0, first);
    let (triangle, below) = left.rb().split_at_row(half);
    let (mut upper, mut lower) = right.split_at_row_mut(half);
    solve(Triangle::UnitLower, triangle, upper.rb_mut());
    product::multiply(1, T::of(-1.0), below, upper.rb(), Onto::Scaled(T::of(1.0)), lower.rb_mut());
    factorize_panel(lower, second, work);
    exchange(left.split_at_row_mut(half).1, 0, second);
    second.iter_mut().for_each(|pivot| *pivot += half);
}

/// The exchanges of rows i and pivots\[i\], first to last, that bring row `order[i]` to each place i < pivots.len().
fn exchanges(order: &[usize], pivots: &mut [usize]) {
    for (i, &row) in order.iter().enumerate().take(pivots.len()) {
        // Each earlier exchange at the row's place has moved it on.
        let mut place = row;
        while place < i {
            place = pivots[place];
        }
        pivots[i] = place;
    }
}

/// Exchanges each row from `first` on with its pivot's, first to last.
fn exchange<T: Scalar>(a: MatMut<'_, T>, first: usize, pivots: &[usize]) {
    for column in a.col_iter_mut() {
        let Some(column) = column.try_as_col_major_mut() else { unreachable!("columns are contiguous") };
        let column = column.as_slice_mut();
        for (row, &other) in (first..).zip(pivots) {
            column.swap(row, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;
    use crate::init;

    fn factored<T: Scalar>(a: &Mat<T>, threads: usize) -> (Mat<T>, Vec<usize>) {
        let dim = a.nrows();
        let (mut factors, mut pivots) = (a.clone(), vec![usize::MAX; dim]);
        factorize(factors.as_mut(), &mut pivots, &mut LuWork::new::<T>(dim), threads);
        (factors, pivots)
    }

    /// |PA − LU| ≤ D ε |L||U| holds for every order of the sums; entries of both sizes, threads that must wait.
    fn factors_multiply_to_the_matrix<T: Scalar>() {
        for dim in [1, 2, 47, 48, 49, 95, 96, 97, 191, 193, 400] {
            let numbers = init::uniforms(dim as u64, dim * dim);
            let a = Mat::from_fn(dim, dim, |i, j| T::of(numbers[i + j * dim] - 0.5));
            let (factors, pivots) = factored(&a, 1);
            for threads in [2, 3, 8] {
                let (others, other_pivots) = factored(&a, threads);
                assert!(others == factors && other_pivots == pivots, "{dim}: {threads} threads");
            }
            let mut permuted = a.clone();
            exchange(permuted.as_mut(), 0, &pivots);
            for i in 0..dim {
                assert!(pivots[i] >= i && pivots[i] < dim);
                for j in 0..dim {
                    let (mut sum, mut size) = (0.0, 0.0);
                    for k in 0..=i.min(j) {
                        let l = if k == i { 1.0 } else { factors[(i, k)].widen() };
                        assert!(l.abs() <= 1.0, "{dim}: a pivot is the largest of its column");
                        sum += l * factors[(k, j)].widen();
                        size += (l * factors[(k, j)].widen()).abs();
                    }
                    let error = (permuted[(i, j)].widen() - sum).abs();
                    assert!(error <= dim as f64 * T::EPS * size, "{dim}: {error:e} at {i}, {j} of {size:e}");
                }
            }
        }
    }

    #[test]
    fn factors_multiply_to_the_matrix_in_both_precisions() {
        factors_multiply_to_the_matrix::<f32>();
        factors_multiply_to_the_matrix::<f64>();
    }

    #[test]
    fn a_wide_block_is_the_same_on_every_number_of_threads() {
        let dim = 1501;
        let numbers = init::uniforms(3, dim * dim);
        let a = Mat::from_fn(dim, dim, |i, j| numbers[i + j * dim] as f32 - 0.5);
        assert!(factored(&a, 1) == factored(&a, 3));
    }

    #[test]
    fn a_matrix_without_numbers_ends() {
        let a = Mat::from_fn(200, 200, |i, j| if i == j { f64::NAN } else { 0.0 });
        assert!(factored(&a, 2).0[(199, 199)].is_nan());
        assert_eq!(factored(&Mat::<f64>::zeros(200, 200), 2).1.len(), 200);
    }
}
