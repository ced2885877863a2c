//! x = g⁻¹(s), and sampling from the model \[M22\]–\[M23\].

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::{factor, solve};
use faer::perm::PermRef;
use faer::{Conj, Mat, MatRef, Par};

use crate::device::Device;
use crate::elementwise;
use crate::error::{Error, Result};
use crate::init;
use crate::network::{Architecture, Base};
use crate::parameters::Parameters;
use crate::scalar::Scalar;

/// The factored network: one LU per layer, computed once, on the host.
pub struct Inverter<T: Scalar> {
    architecture: Architecture,
    layers: Vec<FactoredLayer<T>>,
}

struct FactoredLayer<T: Scalar> {
    factors: Mat<T>,
    forward: Vec<usize>,
    backward: Vec<usize>,
    bias: Option<Vec<T>>,
}

impl<T: Scalar> Inverter<T> {
    /// Copies the parameters to the host and factors every weight, O(LD³).
    ///
    /// # Errors
    /// [`Error::Singular`] names a layer whose weight has a zero pivot or is not finite.
    pub fn new<D: Device<T>>(device: &D, parameters: &Parameters<D, T>) -> Result<Self> {
        let architecture = *parameters.architecture();
        let arrays = parameters.arrays();
        let layers = (0..architecture.layers)
            .map(|k| {
                let weight = arrays.weights[k].to_column_major(device)?;
                let bias = arrays.biases.get(k).map(|bias| bias.to_column_major(device)).transpose()?;
                FactoredLayer::new(architecture.dim, k, &weight, bias)
            })
            .collect::<Result<_>>()?;
        Ok(Self { architecture, layers })
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
            layer.solve(dim, s);
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

impl<T: Scalar> FactoredLayer<T> {
    fn new(dim: usize, k: usize, weight: &[T], bias: Option<Vec<T>>) -> Result<Self> {
        let mut factors = MatRef::from_column_major_slice(weight, dim, dim).to_owned();
        let (mut forward, mut backward) = (vec![0; dim], vec![0; dim]);
        let par = faer::get_global_parallelism();
        let mut scratch = MemBuffer::new(factor::lu_in_place_scratch::<usize, T>(dim, dim, par, Default::default()));
        factor::lu_in_place(
            factors.as_mut(),
            &mut forward,
            &mut backward,
            par,
            MemStack::new(&mut scratch),
            Default::default(),
        );
        let usable = |i| factors[(i, i)].widen() != 0.0 && factors[(i, i)].widen().is_finite();
        if !(0..dim).all(usable) {
            let matrix = format!("weight of layer {}", k + 1);
            return Err(Error::Singular { matrix, condition: f64::INFINITY });
        }
        Ok(Self { factors, forward, backward, bias })
    }

    /// y ← W⁻¹(y − b) for every column.
    fn solve(&self, dim: usize, y: &mut [T]) {
        if let Some(bias) = &self.bias {
            for column in y.chunks_exact_mut(dim) {
                column.iter_mut().zip(bias).for_each(|(y, &b)| *y -= b);
            }
        }
        let columns = y.len() / dim;
        let mut scratch = MemBuffer::new(solve::solve_in_place_scratch::<usize, T>(dim, columns, Par::Seq));
        solve::solve_in_place_with_conj(
            self.factors.as_ref(),
            self.factors.as_ref(),
            PermRef::new_checked(&self.forward, &self.backward, dim),
            Conj::No,
            faer::MatMut::from_column_major_slice_mut(y, dim, columns),
            Par::Seq,
            MemStack::new(&mut scratch),
        );
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
