//! x = g⁻¹(s), and sampling from the model \[M22\]–\[M23\].

use faer::perm::PermRef;
use faer::{Mat, MatMut, MatRef};

use crate::device::{Device, Matrix, MatrixRef};
use crate::elementwise;
use crate::error::{Error, Result};
use crate::init;
use crate::layer::{Coupling, Dense};
use crate::network::{Architecture, Base};
use crate::output::Head;
use crate::parameters::Parameters;
use crate::scalar::Scalar;

/// The factors of a layer's W, on the host.
pub trait Solve<T>: Send + Sync {
    /// y ← W⁻¹ y for every column of D numbers.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn solve(&self, y: &mut [T]) -> Result<()>;
}

/// The factored network: the factors of every layer, computed once, on the host.
pub struct Inverter<T: Scalar> {
    architecture: Architecture,
    layers: Vec<FactoredLayer<T>>,
}

struct FactoredLayer<T: Scalar> {
    factors: Box<dyn Solve<T>>,
    /// b, D numbers.
    bias: Option<Vec<T>>,
}

impl<T: Scalar> Inverter<T> {
    /// Copies the parameters to the host and factors every weight, O(LD³) for dense ones.
    ///
    /// # Errors
    /// [`Error::Singular`] names a layer whose weight has a zero pivot or is not finite.
    pub fn new<D: Device<T>, C: Coupling<D, T>>(device: &D, parameters: &Parameters<D, T, C>) -> Result<Self> {
        let Architecture { dim, coupling, layers, .. } = *parameters.architecture();
        let factored = |k| {
            let layer = parameters.network().layer(k);
            let expand = |bias| {
                let mut expanded = Matrix::zeros(device, dim, 1, "bias")?;
                coupling.expand_bias(device, bias, expanded.view_mut())?;
                expanded.to_column_major(device)
            };
            let factors = coupling.factor(device, dim, &layer)?;
            Ok(FactoredLayer { factors, bias: layer.bias.map(expand).transpose()? })
        };
        let layers = (0..layers).map(factored).collect::<Result<_>>()?;
        Ok(Self { architecture: parameters.architecture().with(Dense), layers })
    }

    /// Overwrites `s` (D×N column-major, one latent vector per column) by g⁻¹(s).
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless the length is a multiple of D; [`Error::NonFinite`] when a result is not finite.
    pub fn invert(&self, s: &mut [T]) -> Result<()> {
        let dim = self.architecture.dim;
        if !s.len().is_multiple_of(dim) {
            return Err(Error::shape("inversion", format!("a multiple of {dim} numbers"), s.len()));
        }
        let mut latents = vec![T::default(); s.len()];
        for (k, layer) in self.layers.iter().enumerate().rev() {
            if self.architecture.is_nonlinear(k) {
                latents.copy_from_slice(s);
                elementwise::inverse(self.architecture.activation, &latents, s)?;
            }
            if let Some(bias) = &layer.bias {
                for column in s.chunks_exact_mut(dim) {
                    column.iter_mut().zip(bias).for_each(|(y, &b)| *y -= b);
                }
            }
            layer.factors.solve(s)?;
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

    /// One draw of x for each column of `u` (d×N), D×N column-major: s = m(u) + τ(u)ρ with ρ from the base density,
    /// then g⁻¹(s).
    ///
    /// # Errors
    /// As [`Self::invert`]; [`Error::ShapeMismatch`] for a density without a condition; [`Error::NonFinite`] when m(u)
    /// or log τ(u) is not finite.
    pub fn sample_given<D: Device<T>, C>(
        &self,
        device: &D,
        parameters: &Parameters<D, T, C>,
        u: MatrixRef<'_, D, T>,
        seed: u64,
    ) -> Result<Vec<T>> {
        let Architecture { dim, base, .. } = self.architecture;
        let mut x = locate(device, parameters, draw_latents(base, dim * u.cols(), seed), Some(u))?;
        self.invert(&mut x)?;
        Ok(x)
    }
}

/// The outputs s = m(u) + τ(u)ρ of ρ (D×N) and u (d×N); s = ρ for a density without a condition. Both column-major,
/// one sample a column, on the host.
///
/// # Errors
/// [`Error::ShapeMismatch`] unless the columns are as many and there is a u exactly where the density has a condition;
/// [`Error::NonFinite`] when m(u) or log τ(u) is not finite.
pub fn locate<D: Device<T>, T: Scalar, C>(
    device: &D,
    parameters: &Parameters<D, T, C>,
    rho: Vec<f64>,
    u: Option<MatrixRef<'_, D, T>>,
) -> Result<Vec<T>> {
    let dim = parameters.architecture().dim;
    let samples = rho.len() / dim;
    if u.as_ref().is_some_and(|u| u.cols() != samples) || !rho.len().is_multiple_of(dim) {
        return Err(Error::shape("outputs of draws", format!("{dim} numbers for each u"), rho.len()));
    }
    let mut head = Head::new(device, parameters.architecture(), samples)?;
    head.prepare(device, parameters.arrays().head.as_ref(), u)?;
    head.locate(device, rho)
}

/// The LU of a D×D matrix.
pub(crate) struct DenseFactors<T: Scalar> {
    factors: Mat<T>,
    forward: Vec<usize>,
    backward: Vec<usize>,
}

impl<T: Scalar> DenseFactors<T> {
    pub(crate) fn new(k: usize, dim: usize, weight: &[T]) -> Result<Self> {
        let mut factors = MatRef::from_column_major_slice(weight, dim, dim).to_owned();
        let (mut forward, mut backward) = (vec![0; dim], vec![0; dim]);
        T::lu(factors.as_mut(), &mut forward, &mut backward);
        let usable = |i| factors[(i, i)].widen() != 0.0 && factors[(i, i)].widen().is_finite();
        if !(0..dim).all(usable) {
            let matrix = format!("weight of layer {}", k + 1);
            return Err(Error::Singular { matrix, condition: f64::INFINITY });
        }
        Ok(Self { factors, forward, backward })
    }
}

impl<T: Scalar> Solve<T> for DenseFactors<T> {
    fn solve(&self, y: &mut [T]) -> Result<()> {
        let dim = self.factors.nrows();
        let columns = y.len() / dim;
        let order = PermRef::new_checked(&self.forward, &self.backward, dim);
        T::solve_lu(self.factors.as_ref(), order, MatMut::from_column_major_slice_mut(y, dim, columns));
        Ok(())
    }
}

/// `count` independent draws from the base density (MATH.md §3).
pub fn draw_latents(base: Base, count: usize, seed: u64) -> Vec<f64> {
    use std::f64::consts::FRAC_PI_2;
    let from_uniforms =
        |quantile: &dyn Fn(f64) -> f64| init::uniforms(seed, count).into_iter().map(quantile).collect::<Vec<f64>>();
    match base {
        Base::Normal => init::normals(seed, count),
        Base::Sech { c } => from_uniforms(&|u| libm::log(libm::tan(FRAC_PI_2 * u)) / c),
        Base::Logistic => from_uniforms(&|u| libm::log(u) - libm::log1p(-u)),
        Base::Laplace => from_uniforms(&|u| {
            let centred = u - 0.5;
            (-libm::log1p(-2.0 * centred.abs())).copysign(centred)
        }),
    }
}
