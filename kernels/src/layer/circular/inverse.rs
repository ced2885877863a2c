//! The inverses of K̂ at every frequency \[M26\].

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::linalg::lu::partial_pivoting::inverse::{inverse, inverse_scratch};
use faer::{MatMut, MatRef, Par};
use rayon::prelude::*;
use realfft::num_complex::Complex;

use super::Spectral;
use super::product::Spectra;
use super::transform::zeros;
use crate::device::Inversion;
use crate::error::Result;

/// K̂(ω)⁻¹ at every frequency, frequency by frequency.
pub struct Inverses<T: Spectral> {
    spectra: Spectra,
    inverses: Vec<Complex<T>>,
    lanes: Vec<Lane<T>>,
}

pub struct Lane<T> {
    /// The factors, c×c.
    factors: Vec<Complex<T>>,
    forward: Vec<usize>,
    backward: Vec<usize>,
    scratch: MemBuffer,
    row_sums: Vec<f64>,
    /// The worst frequency of this lane, with its condition.
    worst: (usize, f64),
}

impl<T: Spectral> Lane<T> {
    fn new(channels: usize) -> Result<Self> {
        let c = channels;
        let scratch = lu_in_place_scratch::<usize, Complex<T>>(c, c, Par::Seq, Default::default())
            .or(inverse_scratch::<usize, Complex<T>>(c, Par::Seq));
        Ok(Self {
            factors: zeros(c.saturating_mul(c), "LU factors")?,
            forward: vec![0; c],
            backward: vec![0; c],
            scratch: MemBuffer::new(scratch),
            row_sums: vec![0.0; c],
            worst: (0, 0.0),
        })
    }
}

/// out ← A⁻¹; returns Skeel's condition number ‖|A⁻¹||A|‖_∞, infinite after a zero pivot.
pub(super) fn invert<T: Spectral>(lane: &mut Lane<T>, a: MatRef<'_, Complex<T>>, out: &mut [Complex<T>]) -> f64 {
    let c = a.nrows();
    lane.row_sums.fill(0.0);
    for (column, factors) in a.col_iter().zip(lane.factors.chunks_exact_mut(c)) {
        for (i, (x, factor)) in column.iter().zip(factors).enumerate() {
            *factor = *x;
            lane.row_sums[i] += magnitude(*x);
        }
    }
    let mut factors = MatMut::from_column_major_slice_mut(&mut lane.factors, c, c);
    let stack = MemStack::new(&mut lane.scratch);
    let (_, permutation) =
        lu_in_place(factors.as_mut(), &mut lane.forward, &mut lane.backward, Par::Seq, stack, Default::default());
    if (0..c).any(|i| magnitude(factors[(i, i)]) == 0.0) {
        return f64::INFINITY;
    }
    let stack = MemStack::new(&mut lane.scratch);
    let target = MatMut::from_column_major_slice_mut(out, c, c);
    inverse(target, factors.as_ref(), factors.as_ref(), permutation, Par::Seq, stack);
    let inverse = MatRef::from_column_major_slice(out, c, c);
    let row = |i: usize| (0..c).map(|j| magnitude(inverse[(i, j)]) * lane.row_sums[j]).sum::<f64>();
    // A NaN must not lose against the maximum.
    (0..c).map(row).fold(0.0, |worst, row| if row > worst || row.is_nan() { row } else { worst })
}

fn magnitude<T: Spectral>(x: Complex<T>) -> f64 {
    x.re.widen().hypot(x.im.widen())
}

impl<T: Spectral> Inverses<T> {
    pub(super) fn new(spectra: Spectra) -> Result<Self> {
        let lanes = (0..spectra.threads).map(|_| Lane::new(spectra.channels)).collect::<Result<_>>()?;
        let numbers = spectra.block().saturating_mul(spectra.channels);
        Ok(Self { spectra, inverses: zeros(numbers, "inverses of the kernels")?, lanes })
    }

    /// Inverts a kernel's spectrum; the error is the worst frequency and its condition, where no digit can be trusted.
    pub(super) fn write(&mut self, kernel: &[Complex<T>]) -> Result<(), (usize, f64)> {
        let Self { spectra, inverses, lanes } = self;
        let square = spectra.channels * spectra.channels;
        let piece = spectra.frequencies.div_ceil(lanes.len());
        let run = |start: usize, lane: &mut Lane<T>, inverses: &mut [Complex<T>]| {
            lane.worst = (start, 0.0);
            for (f, inverse) in inverses.chunks_exact_mut(square).enumerate() {
                let condition = T::invert(lane, spectra.at(kernel, start + f), inverse);
                if condition > lane.worst.1 || condition.is_nan() {
                    lane.worst = (start + f, condition);
                }
            }
        };
        let pieces = inverses.par_chunks_mut(piece * square).enumerate();
        lanes.par_iter_mut().zip(pieces).for_each(|(lane, (i, inverses))| run(i * piece, lane, inverses));
        let worse = |a: (usize, f64), b: (usize, f64)| if b.1 > a.1 || b.1.is_nan() { b } else { a };
        let worst = lanes.iter().map(|lane| lane.worst).fold((0, 0.0), worse);
        let singular = Inversion { log_abs_det: 0.0, condition: worst.1 }.is_singular::<T>(spectra.channels);
        if singular { Err(worst) } else { Ok(()) }
    }

    /// out(ω) ← factor K̂(ω)^{-H}.
    pub(super) fn scatter(&self, factor: T, out: &mut [Complex<T>]) {
        let (c, spectra) = (self.spectra.channels, &self.spectra);
        let piece = spectra.piece_of_columns();
        let run = |first: usize, out: &mut [Complex<T>]| {
            for (f, inverse) in self.inverses.chunks_exact(c * c).enumerate() {
                let mut out = spectra.at_mut(out, f);
                for i in 0..out.ncols() {
                    for o in 0..c {
                        // Column i of the adjoint is the conjugate of row i of the inverse.
                        out[(o, i)] = inverse[o * c + first + i].conj().scale(factor);
                    }
                }
            }
        };
        out.par_chunks_mut(piece * spectra.block()).enumerate().for_each(|(i, out)| run(i * piece, out));
    }
}
