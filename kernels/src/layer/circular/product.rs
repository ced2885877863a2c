//! Products at every frequency: c×c matrices K̂(ω) with the c×N values of a batch.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use realfft::num_complex::Complex;

use super::Spectral;

/// Complex multiply-adds below which products stay on the calling thread.
const PARALLEL_WORK: usize = 1 << 14;

/// c channels and m frequencies, and how many threads may share the work.
#[derive(Debug, Clone, Copy)]
pub struct Spectra {
    pub(super) channels: usize,
    pub(super) frequencies: usize,
    pub(super) threads: usize,
}

/// K̂(ω) or its adjoint K̂(ω)ᴴ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Plain,
    Adjoint,
}

impl Spectra {
    /// Complex numbers of one sample.
    pub(super) fn block(&self) -> usize {
        self.channels * self.frequencies
    }

    /// The values of frequency `f`: c×(number of samples).
    pub(super) fn at<'a, T: Spectral>(&self, spectra: &'a [Complex<T>], f: usize) -> MatRef<'a, Complex<T>> {
        let samples = spectra.len() / self.block();
        let start = f * self.channels;
        MatRef::from_column_major_slice_with_stride(&spectra[start..], self.channels, samples, self.block())
    }

    /// The values of frequency `f`, to be written.
    pub(super) fn at_mut<'a, T: Spectral>(&self, spectra: &'a mut [Complex<T>], f: usize) -> MatMut<'a, Complex<T>> {
        let samples = spectra.len() / self.block();
        let start = f * self.channels;
        MatMut::from_column_major_slice_with_stride_mut(&mut spectra[start..], self.channels, samples, self.block())
    }

    /// Columns of a kernel that one thread writes.
    pub(super) fn piece_of_columns(&self) -> usize {
        self.piece(self.channels, self.block() * self.channels)
    }

    /// How many of `items` go to one thread.
    fn piece(&self, items: usize, work: usize) -> usize {
        if self.threads == 1 || work < PARALLEL_WORK { items } else { items.div_ceil(self.threads) }
    }
}

/// out(ω) ← K̂(ω) z(ω), or K̂(ω)ᴴ z(ω), at every frequency.
pub(super) fn apply<T: Spectral>(
    spectra: &Spectra,
    side: Side,
    kernel: &[Complex<T>],
    z: &[Complex<T>],
    out: &mut [Complex<T>],
) {
    let piece = spectra.piece(out.len() / spectra.block(), out.len() * spectra.channels);
    let run = |z: &[Complex<T>], out: &mut [Complex<T>]| {
        for f in 0..spectra.frequencies {
            let (kernel, z, out) = (spectra.at(kernel, f), spectra.at(z, f), spectra.at_mut(out, f));
            let one = Complex::new(T::of(1.0), T::of(0.0));
            match side {
                Side::Plain => matmul(out, Accum::Replace, kernel, z, one, Par::Seq),
                Side::Adjoint => matmul(out, Accum::Replace, kernel.adjoint(), z, one, Par::Seq),
            }
        }
    };
    if piece * spectra.block() >= out.len() {
        return run(z, out);
    }
    let z = z.par_chunks(piece * spectra.block());
    out.par_chunks_mut(piece * spectra.block()).zip(z).for_each(|(out, z)| run(z, out));
}

/// out(ω) ← out(ω) + α left(ω) right(ω)ᴴ at every frequency, c×c.
pub(super) fn add_outer<T: Spectral>(
    spectra: &Spectra,
    alpha: T,
    left: &[Complex<T>],
    right: &[Complex<T>],
    out: &mut [Complex<T>],
) {
    let piece = spectra.piece(spectra.channels, left.len() * spectra.channels);
    let run = |first: usize, out: &mut [Complex<T>]| {
        for f in 0..spectra.frequencies {
            let (left, right) = (spectra.at(left, f), spectra.at(right, f));
            let out = spectra.at_mut(out, f);
            let right = right.subrows(first, out.ncols());
            add_products(alpha, left, right, out);
        }
    };
    if piece >= spectra.channels {
        return run(0, out);
    }
    out.par_chunks_mut(piece * spectra.block()).enumerate().for_each(|(i, out)| run(i * piece, out));
}

/// out ← out + α left rightᴴ. faer adds every term to the destination as it stands, where a sum over many samples would
/// lose digits: a small destination gets them in parts.
fn add_products<T: Spectral>(
    alpha: T,
    left: MatRef<'_, Complex<T>>,
    right: MatRef<'_, Complex<T>>,
    mut out: MatMut<'_, Complex<T>>,
) {
    const PART: usize = 1024;
    const SIDE: usize = 8;
    let one = |alpha: T| Complex::new(alpha, T::of(0.0));
    let (rows, cols, samples) = (out.nrows(), out.ncols(), left.ncols());
    if samples <= PART || rows.max(cols) > SIDE {
        return matmul(out, Accum::Add, left, right.adjoint(), one(alpha), Par::Seq);
    }
    let mut part = [one(T::of(0.0)); SIDE * SIDE];
    let mut total = part;
    for start in (0..samples).step_by(PART) {
        let count = PART.min(samples - start);
        let (left, right) = (left.subcols(start, count), right.subcols(start, count));
        let sums = MatMut::from_column_major_slice_mut(&mut part[..rows * cols], rows, cols);
        matmul(sums, Accum::Replace, left, right.adjoint(), one(T::of(1.0)), Par::Seq);
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    for j in 0..cols {
        for i in 0..rows {
            out[(i, j)] += total[j * rows + i] * alpha;
        }
    }
}
