//! x = g⁻¹(s), and sampling, one c×c solve a frequency.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef};
use realfft::num_complex::Complex;

use super::product::Spectra;
use super::transform::{Transform, zeros};
use super::values::add_constant;
use super::{Parameters, Spectral};
use crate::device::Cpu;
use crate::elementwise;
use crate::error::{Error, Result};
use crate::inversion::draw_latents;
use crate::network::{Architecture, Convolution};

/// The factored network: one LU a frequency and layer, computed once.
pub struct Inverter<T: Spectral> {
    device: Cpu,
    architecture: Architecture,
    convolution: Convolution,
    layers: Vec<FactoredLayer<T>>,
}

struct FactoredLayer<T: Spectral> {
    factors: Vec<faer::linalg::solvers::PartialPivLu<Complex<T>>>,
    /// −b, empty without biases.
    minus_bias: Vec<T>,
}

impl<T: Spectral> Inverter<T> {
    /// Factors K̂(ω) of every layer, O(Lnc³).
    ///
    /// # Errors
    /// [`Error::Singular`] names layer and frequency of a zero pivot, or of one that is not finite.
    pub fn new(device: &Cpu, parameters: &Parameters<T>) -> Result<Self> {
        let convolution = *parameters.convolution();
        let architecture = *parameters.architecture();
        let mut transform = Transform::new(device, &convolution)?;
        let spectra = spectra_of(device, &convolution, &transform);
        let mut spectrum = zeros(spectra.block() * convolution.channels, "spectrum of a kernel")?;
        let layers = (0..architecture.layers)
            .map(|k| {
                transform.kernel(convolution.channels, parameters.kernel(k), &mut spectrum);
                let factors = (0..spectra.frequencies)
                    .map(|f| {
                        factor(spectra.at(&spectrum, f)).ok_or_else(|| {
                            let (row, col) = transform.frequency(f);
                            let matrix = format!("kernel of layer {} at frequency ({row}, {col})", k + 1);
                            Error::Singular { matrix, condition: f64::INFINITY }
                        })
                    })
                    .collect::<Result<_>>()?;
                let bias = parameters.bias(k).unwrap_or_default();
                Ok(FactoredLayer { factors, minus_bias: bias.iter().map(|&b| -b).collect() })
            })
            .collect::<Result<_>>()?;
        Ok(Self { device: *device, architecture, convolution, layers })
    }

    /// Overwrites `s` (D×N column-major, one latent vector per column) by g⁻¹(s) \[M22\].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless the length is a multiple of D; [`Error::NonFinite`] when a result is not finite;
    /// [`Error::OutOfMemory`].
    pub fn invert(&self, s: &mut [T]) -> Result<()> {
        let Architecture { dim, activation, .. } = self.architecture;
        if !s.len().is_multiple_of(dim) {
            return Err(Error::shape("inversion", format!("a multiple of {dim} numbers"), s.len()));
        }
        let mut transform = Transform::new(&self.device, &self.convolution)?;
        let spectra = spectra_of(&self.device, &self.convolution, &transform);
        let mut batch = zeros(spectra.block() * (s.len() / dim), "spectra")?;
        let mut latents = vec![T::of(0.0); s.len()];
        for (k, layer) in self.layers.iter().enumerate().rev() {
            if self.architecture.is_nonlinear(k) {
                latents.copy_from_slice(s);
                elementwise::inverse(activation, &latents, s)?;
            }
            transform.fields(spectra.channels, s, &mut batch);
            if !layer.minus_bias.is_empty() {
                add_constant(&spectra, self.convolution.points(), &layer.minus_bias, &mut batch);
            }
            for (f, factors) in layer.factors.iter().enumerate() {
                factors.solve_in_place(spectra.at_mut(&mut batch, f));
            }
            transform.inverse_fields(spectra.channels, &batch, s);
        }
        if s.iter().all(|x| x.widen().is_finite()) {
            Ok(())
        } else {
            Err(Error::NonFinite { what: "inverse of the network".to_owned() })
        }
    }

    /// `samples` draws from the model, D×N column-major: latents from the base density, then [`Self::invert`].
    ///
    /// # Errors
    /// As [`Self::invert`].
    pub fn sample(&self, samples: usize, seed: u64) -> Result<Vec<T>> {
        let latents = draw_latents(self.architecture.base, self.architecture.dim * samples, seed);
        let mut x: Vec<T> = latents.into_iter().map(T::of).collect();
        self.invert(&mut x)?;
        Ok(x)
    }
}

fn spectra_of<T: Spectral>(device: &Cpu, convolution: &Convolution, transform: &Transform<T>) -> Spectra {
    Spectra { channels: convolution.channels, frequencies: transform.frequencies(), threads: device.threads() }
}

/// The LU of K̂(ω), unless a pivot is zero or not finite.
fn factor<T: Spectral>(matrix: MatRef<'_, Complex<T>>) -> Option<faer::linalg::solvers::PartialPivLu<Complex<T>>> {
    let factors = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)]).partial_piv_lu();
    let upper = factors.U();
    let usable = |i: usize| {
        let pivot = upper[(i, i)].re.widen().hypot(upper[(i, i)].im.widen());
        pivot > 0.0 && pivot.is_finite()
    };
    (0..matrix.nrows()).all(usable).then_some(factors)
}
