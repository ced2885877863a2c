//! Real fields on the grid to half spectra and back.
//!
//! A spectrum of a batch holds, sample by sample and frequency by frequency, the c channels side by side: the values of
//! one frequency are a c×N matrix with unit row stride ([`super::product`]). A kernel is a batch of c samples, its
//! response to an impulse in each channel, so that the same layout makes K̂(ω) a c×c matrix.

use rayon::prelude::*;
use realfft::num_complex::Complex;

use super::Spectral;
use super::once::Plans;
use crate::device::Cpu;
use crate::error::{Error, Result};
use crate::layer::Convolution;

/// Plans for one grid, and the work memory of every thread.
pub(super) struct Transform<T: Spectral> {
    grid: Grid<T>,
    lanes: Vec<Lane<T>>,
    /// Where each tap of the kernel lies on the grid.
    taps: Vec<usize>,
}

/// Numbers below which a transform stays on the calling thread.
const PARALLEL_ELEMENTS: usize = 1 << 14;

struct Grid<T: Spectral> {
    /// Rows and columns; a 1-D grid lies along its row, whichever axis it was given.
    rows: usize,
    cols: usize,
    plans: Plans<T>,
}

struct Lane<T: Spectral> {
    /// n real numbers.
    field: Vec<T>,
    /// The half spectrum of every row.
    rows: Vec<Complex<T>>,
    /// The same, one column of frequencies after the other.
    turned: Vec<Complex<T>>,
    scratch: Vec<Complex<T>>,
}

/// `len` zeros, resident from now on.
pub(super) fn zeros<T: Spectral>(len: usize, what: &str) -> Result<Vec<Complex<T>>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| Error::OutOfMemory {
        bytes: len as u128 * size_of::<Complex<T>>() as u128,
        what: what.to_owned(),
    })?;
    zeros.resize(len, Complex::new(T::of(0.0), T::of(0.0)));
    Ok(zeros)
}

impl<T: Spectral> Transform<T> {
    /// Plans, and work memory for as many threads as the device has.
    pub(super) fn new(device: &Cpu, convolution: &Convolution) -> Result<Self> {
        let grid = Grid::new(convolution.grid);
        let lanes = (0..device.threads()).map(|_| Lane::new(&grid)).collect::<Result<_>>()?;
        Ok(Self { grid, lanes, taps: convolution.tap_positions().collect() })
    }

    /// Frequencies that stand for all: m = n₁(⌊n₂/2⌋ + 1).
    pub(super) fn frequencies(&self) -> usize {
        self.grid.rows * self.grid.half()
    }

    /// How many of the n frequencies the `f`-th stands for: its conjugate is not stored, unless it is its own row's
    /// first or (for an even length) middle one.
    pub(super) fn multiplicity(&self, f: usize) -> f64 {
        let col = f / self.grid.rows;
        if col == 0 || 2 * col == self.grid.cols { 1.0 } else { 2.0 }
    }

    /// The `f`-th frequency as indices along the axes, for messages.
    pub(super) fn frequency(&self, f: usize) -> (usize, usize) {
        (f % self.grid.rows, f / self.grid.rows)
    }

    /// The spectra of a batch of fields, each of `channels` grids.
    pub(super) fn fields(&mut self, channels: usize, fields: &[T], spectra: &mut [Complex<T>]) {
        self.run_forward(channels, fields, false, spectra);
    }

    /// K̂ of a kernel of as many columns as channels.
    pub(super) fn kernel(&mut self, channels: usize, kernel: &[T], spectrum: &mut [Complex<T>]) {
        self.run_forward(channels, kernel, true, spectrum);
    }

    fn run_forward(&mut self, channels: usize, source: &[T], kernel: bool, spectra: &mut [Complex<T>]) {
        let Self { grid, lanes, taps } = self;
        let taps = kernel.then_some(taps.as_slice());
        let (row, block) = (taps.map_or(grid.points(), <[usize]>::len), grid.rows * grid.half() * channels);
        let sample = |lane: &mut Lane<T>, source: &[T], spectrum: &mut [Complex<T>]| {
            for (channel, values) in source.chunks_exact(row).enumerate() {
                lane.load(values, taps);
                grid.forward(lane);
                let turned = lane.turned.iter();
                spectrum[channel..].iter_mut().step_by(channels).zip(turned).for_each(|(to, &from)| *to = from);
            }
        };
        let samples = spectra.len() / block;
        let piece = piece(samples, lanes.len(), source.len());
        let run = |lane: &mut Lane<T>, source: &[T], spectra: &mut [Complex<T>]| {
            for (source, spectrum) in source.chunks_exact(row * channels).zip(spectra.chunks_exact_mut(block)) {
                sample(lane, source, spectrum);
            }
        };
        if piece >= samples {
            return run(&mut lanes[0], source, spectra);
        }
        let sources = source.par_chunks(piece * row * channels);
        let spectra = spectra.par_chunks_mut(piece * block);
        lanes.par_iter_mut().zip(sources).zip(spectra).for_each(|((lane, s), t)| run(lane, s, t));
    }

    /// The fields of a batch of spectra, which must be those of real ones.
    pub(super) fn inverse_fields(&mut self, channels: usize, spectra: &[Complex<T>], fields: &mut [T]) {
        self.run_inverse(channels, spectra, false, fields);
    }

    /// The taps of a spectrum of as many columns as channels; what lies outside the support is dropped.
    pub(super) fn inverse_kernel(&mut self, channels: usize, spectrum: &[Complex<T>], kernel: &mut [T]) {
        self.run_inverse(channels, spectrum, true, kernel);
    }

    fn run_inverse(&mut self, channels: usize, spectra: &[Complex<T>], kernel: bool, target: &mut [T]) {
        let Self { grid, lanes, taps } = self;
        let taps = kernel.then_some(taps.as_slice());
        let (row, block) = (taps.map_or(grid.points(), <[usize]>::len), grid.rows * grid.half() * channels);
        let sample = |lane: &mut Lane<T>, spectrum: &[Complex<T>], target: &mut [T]| {
            for (channel, values) in target.chunks_exact_mut(row).enumerate() {
                let strided = spectrum[channel..].iter().step_by(channels);
                lane.turned.iter_mut().zip(strided).for_each(|(to, &from)| *to = from);
                grid.inverse(lane);
                lane.store(values, taps, grid.points());
            }
        };
        let samples = spectra.len() / block;
        let piece = piece(samples, lanes.len(), spectra.len());
        let run = |lane: &mut Lane<T>, spectra: &[Complex<T>], target: &mut [T]| {
            for (spectrum, target) in spectra.chunks_exact(block).zip(target.chunks_exact_mut(row * channels)) {
                sample(lane, spectrum, target);
            }
        };
        if piece >= samples {
            return run(&mut lanes[0], spectra, target);
        }
        let spectra = spectra.par_chunks(piece * block);
        let targets = target.par_chunks_mut(piece * row * channels);
        lanes.par_iter_mut().zip(spectra).zip(targets).for_each(|((lane, s), t)| run(lane, s, t));
    }
}

/// Samples that one thread transforms.
fn piece(samples: usize, lanes: usize, numbers: usize) -> usize {
    if numbers < PARALLEL_ELEMENTS { samples } else { samples.div_ceil(lanes) }
}

impl<T: Spectral> Grid<T> {
    fn new([rows, cols]: [usize; 2]) -> Self {
        let (rows, cols) = if cols == 1 { (1, rows) } else { (rows, cols) };
        Self { rows, cols, plans: T::plans(rows, cols) }
    }

    fn points(&self) -> usize {
        self.rows * self.cols
    }

    /// Stored frequencies of one row.
    fn half(&self) -> usize {
        self.cols / 2 + 1
    }

    /// `turned` ← the half spectrum of `field`, which is spent.
    fn forward(&self, lane: &mut Lane<T>) {
        let half = self.half();
        let rows = lane.field.chunks_exact_mut(self.cols).zip(lane.rows.chunks_exact_mut(half));
        for (field, row) in rows {
            let done = self.plans.forward.process_with_scratch(field, row, &mut lane.scratch);
            debug_assert!(done.is_ok(), "the lane's buffers are those of the plan");
        }
        turn(&lane.rows, half, &mut lane.turned);
        if let Some([forward, _]) = &self.plans.across {
            forward.process_with_scratch(&mut lane.turned, &mut lane.scratch);
        }
    }

    /// `field` ← n times the field of the half spectrum `turned`, which is spent.
    fn inverse(&self, lane: &mut Lane<T>) {
        let half = self.half();
        if let Some([_, inverse]) = &self.plans.across {
            inverse.process_with_scratch(&mut lane.turned, &mut lane.scratch);
        }
        turn(&lane.turned, self.rows, &mut lane.rows);
        let zero = T::of(0.0);
        let rows = lane.field.chunks_exact_mut(self.cols).zip(lane.rows.chunks_exact_mut(half));
        for (field, row) in rows {
            // Real by symmetry, but for rounding, which the transform would complain of.
            row[0].im = zero;
            if self.cols.is_multiple_of(2) {
                row[half - 1].im = zero;
            }
            let done = self.plans.inverse.process_with_scratch(row, field, &mut lane.scratch);
            debug_assert!(done.is_ok(), "the lane's buffers are those of the plan");
        }
    }
}

/// `to` ← the transpose of `from`, whose rows have `cols` numbers.
fn turn<C: Copy>(from: &[C], cols: usize, to: &mut [C]) {
    let rows = from.len() / cols;
    if rows == 1 || cols == 1 {
        return to.copy_from_slice(from);
    }
    for (col, to) in to.chunks_exact_mut(rows).enumerate() {
        from[col..].iter().step_by(cols).zip(to).for_each(|(&from, to)| *to = from);
    }
}

impl<T: Spectral> Lane<T> {
    fn new(grid: &Grid<T>) -> Result<Self> {
        let frequencies = grid.rows * grid.half();
        let plans = &grid.plans;
        let across = plans
            .across
            .as_ref()
            .map_or(0, |plans| plans.iter().map(|plan| plan.get_inplace_scratch_len()).max().unwrap_or(0));
        let scratch = plans.forward.get_scratch_len().max(plans.inverse.get_scratch_len()).max(across);
        let what = "transform";
        let mut field = Vec::new();
        field.try_reserve_exact(grid.points()).map_err(|_| Error::OutOfMemory {
            bytes: grid.points() as u128 * size_of::<T>() as u128,
            what: what.to_owned(),
        })?;
        field.resize(grid.points(), T::of(0.0));
        let block = || zeros(frequencies, what);
        Ok(Self { field, rows: block()?, turned: block()?, scratch: zeros(scratch, what)? })
    }

    /// `field` ← the values, on the whole grid or at the taps of a kernel.
    fn load(&mut self, values: &[T], taps: Option<&[usize]>) {
        match taps {
            None => self.field.copy_from_slice(values),
            Some(taps) => {
                self.field.fill(T::of(0.0));
                taps.iter().zip(values).for_each(|(&at, &value)| self.field[at] = value);
            }
        }
    }

    /// The values ← `field`/n, on the whole grid or at the taps of a kernel.
    fn store(&self, values: &mut [T], taps: Option<&[usize]>, points: usize) {
        let scale = T::of(1.0 / points as f64);
        match taps {
            None => values.iter_mut().zip(&self.field).for_each(|(value, &x)| *value = x * scale),
            Some(taps) => {
                taps.iter().zip(values).for_each(|(&at, value)| *value = self.field[at] * scale);
            }
        }
    }
}
