//! The ordinary gradient \[M26\]: back-propagation, and the inverse of K̂ at every frequency.

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::linalg::lu::partial_pivoting::inverse::{inverse, inverse_scratch};
use faer::{MatMut, MatRef, Par};
use rayon::prelude::*;
use realfft::num_complex::Complex;

use super::pointwise::{Pixels, Scale};
use super::product::Spectra;
use super::transform::zeros;
use super::values::Values;
use super::{ConvolutionBackend, Gradient, Parameters, Spectral};
use crate::backend::Ordinary as Dense;
use crate::device::{Cpu, Inversion, MatrixRef};
use crate::error::{Error, Result};
use crate::network::Architecture;

/// gK\[τ\] = (1/N) Σ_n Σ_p δ_n\[:,p\] z_n\[:,p−τ\]ᵀ + n·IDFT\[K̂^{-H}\](τ) for the taps of any support,
/// gb = (1/N) Σ Σ δ \[M26\]. 1×1 kernels take [`crate::backend::Ordinary`] with the pixels as samples, one LU in all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ordinary;

/// Work memory of either kind of kernel.
pub enum Workspace<T: Spectral> {
    /// Any support.
    Spectral(Box<SpectralWorkspace<T>>),
    /// One tap.
    Pointwise(Box<Pixels<T, Dense>>),
}

/// Work memory of the inverses at every frequency.
pub struct SpectralWorkspace<T: Spectral> {
    pub(super) values: Values<T>,
    /// ĝK.
    pub(super) direction: Vec<Complex<T>>,
    inverses: Inverses<T>,
}

impl<T: Spectral> ConvolutionBackend<T> for Ordinary {
    type Workspace = Workspace<T>;

    fn workspace(&self, device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Workspace<T>> {
        architecture.validate()?;
        Ok(if architecture.convolution()?.is_pointwise() {
            Workspace::Pointwise(Box::new(Pixels::new(device, Dense, architecture, batch)?))
        } else {
            Workspace::Spectral(Box::new(SpectralWorkspace::new(device, architecture, batch)?))
        })
    }

    fn gradient(
        &self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
        workspace: &mut Workspace<T>,
        out: &mut Gradient<T>,
    ) -> Result<()> {
        out.require_fit(parameters.architecture())?;
        match workspace {
            Workspace::Pointwise(pixels) => pixels.gradient(device, parameters, x, Scale::Derivative, out),
            Workspace::Spectral(work) => work.gradient(device, parameters, x, out),
        }
    }
}

impl<T: Spectral> SpectralWorkspace<T> {
    pub(super) fn new(device: &Cpu, architecture: &Architecture, batch: usize) -> Result<Self> {
        let values = Values::new(device, architecture, batch)?;
        let direction = zeros(values.kernels[0].len(), "spectrum of a gradient")?;
        let inverses = Inverses::new(values.spectra)?;
        Ok(Self { values, direction, inverses })
    }

    pub(super) fn gradient(
        &mut self,
        device: &Cpu,
        parameters: &Parameters<T>,
        x: MatrixRef<'_, Cpu, T>,
        out: &mut Gradient<T>,
    ) -> Result<()> {
        let architecture = *parameters.architecture();
        self.values.forward(device, parameters, x)?;
        for k in (0..architecture.layers).rev() {
            self.values.write_error(device, &architecture, k)?;
            self.layer(device, &architecture, k, x, out)?;
        }
        Ok(())
    }

    /// gK_k and gb_k from the spectrum of δ_k, and V_k for the layer below.
    fn layer(
        &mut self,
        device: &Cpu,
        architecture: &Architecture,
        k: usize,
        x: MatrixRef<'_, Cpu, T>,
        out: &mut Gradient<T>,
    ) -> Result<()> {
        let Self { values, direction, inverses } = self;
        let channels = values.convolution.channels;
        let points = values.convolution.points() as f64;
        let mean = T::of(1.0 / values.batch as f64);
        if k > 0 {
            values.activate(device, architecture, k - 1)?;
            let z = values.carried.view().slice();
            values.transform.fields(channels, z, &mut values.work[1]);
            values.pull(k);
        } else {
            values.transform.fields(channels, x.slice(), &mut values.work[1]);
        }
        inverses.write(&values.kernels[k]).map_err(|(f, condition)| {
            let (row, col) = values.transform.frequency(f);
            let matrix = format!("kernel of layer {} at frequency ({row}, {col})", k + 1);
            Error::Singular { matrix, condition }
        })?;
        inverses.scatter(T::of(points), direction);
        let [delta, z, _] = &values.work;
        values.spectra.add_outer(mean, delta, z, direction);
        values.transform.inverse_kernel(channels, direction, out.kernels[k].view_mut().into_slice());
        if let Some(bias) = out.biases.get_mut(k) {
            // In f64: one after the other, many samples would lose digits.
            for (channel, bias) in bias.view_mut().into_slice().iter_mut().enumerate() {
                let samples = delta.chunks_exact(values.spectra.block());
                *bias = T::of(samples.map(|delta| delta[channel].re.widen()).sum::<f64>() * mean.widen());
            }
        }
        Ok(())
    }
}

/// K̂(ω)⁻¹ at every frequency, frequency by frequency.
struct Inverses<T: Spectral> {
    spectra: Spectra,
    inverses: Vec<Complex<T>>,
    lanes: Vec<Lane<T>>,
}

struct Lane<T: Spectral> {
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

    /// out ← A⁻¹; returns Skeel's condition number ‖|A⁻¹||A|‖_∞, infinite after a zero pivot.
    fn invert(&mut self, a: MatRef<'_, Complex<T>>, out: &mut [Complex<T>]) -> f64 {
        let c = a.nrows();
        self.row_sums.fill(0.0);
        for (column, factors) in a.col_iter().zip(self.factors.chunks_exact_mut(c)) {
            for (i, (x, factor)) in column.iter().zip(factors).enumerate() {
                *factor = *x;
                self.row_sums[i] += magnitude(*x);
            }
        }
        let mut factors = MatMut::from_column_major_slice_mut(&mut self.factors, c, c);
        let stack = MemStack::new(&mut self.scratch);
        let (_, permutation) =
            lu_in_place(factors.as_mut(), &mut self.forward, &mut self.backward, Par::Seq, stack, Default::default());
        if (0..c).any(|i| magnitude(factors[(i, i)]) == 0.0) {
            return f64::INFINITY;
        }
        let stack = MemStack::new(&mut self.scratch);
        let target = MatMut::from_column_major_slice_mut(out, c, c);
        inverse(target, factors.as_ref(), factors.as_ref(), permutation, Par::Seq, stack);
        let inverse = MatRef::from_column_major_slice(out, c, c);
        let row = |i: usize| (0..c).map(|j| magnitude(inverse[(i, j)]) * self.row_sums[j]).sum::<f64>();
        // A NaN must not lose against the maximum.
        (0..c).map(row).fold(0.0, |worst, row| if row > worst || row.is_nan() { row } else { worst })
    }
}

fn magnitude<T: Spectral>(x: Complex<T>) -> f64 {
    x.re.widen().hypot(x.im.widen())
}

impl<T: Spectral> Inverses<T> {
    fn new(spectra: Spectra) -> Result<Self> {
        let lanes = (0..spectra.threads).map(|_| Lane::new(spectra.channels)).collect::<Result<_>>()?;
        let numbers = spectra.block().saturating_mul(spectra.channels);
        Ok(Self { spectra, inverses: zeros(numbers, "inverses of the kernels")?, lanes })
    }

    /// Inverts a kernel's spectrum; the error is the worst frequency and its condition, where no digit can be trusted.
    fn write(&mut self, kernel: &[Complex<T>]) -> Result<(), (usize, f64)> {
        let Self { spectra, inverses, lanes } = self;
        let square = spectra.channels * spectra.channels;
        let piece = spectra.frequencies.div_ceil(lanes.len());
        let run = |start: usize, lane: &mut Lane<T>, inverses: &mut [Complex<T>]| {
            lane.worst = (start, 0.0);
            for (f, inverse) in inverses.chunks_exact_mut(square).enumerate() {
                let condition = lane.invert(spectra.at(kernel, start + f), inverse);
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
    fn scatter(&self, factor: T, out: &mut [Complex<T>]) {
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
