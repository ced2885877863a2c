//! The slow, obviously-right f64 reference on nalgebra, for tests and for the check of small cells.
//!
//! Every formula is transcribed from MATH.md with no thought for cost; nothing is shared with the backends but the
//! network definition. It allocates freely and works on the host.

pub mod errata;

use nalgebra::{DMatrix, DVector};

use crate::check::Kind;
use crate::device::{Device, Matrix};
use crate::elementwise::reference as scalar;
use crate::error::{Error, Result};
use crate::layer::{Coupling, Dense};
use crate::likelihood::LogLikelihood;
use crate::network::Architecture;
use crate::parameters::Parameters;
use crate::scalar::Scalar;

/// A network in f64 on the host.
#[derive(Debug, Clone)]
pub struct Reference {
    architecture: Architecture,
    weights: Vec<DMatrix<f64>>,
    biases: Vec<DVector<f64>>,
}

/// A direction in the space of the parameters.
#[derive(Debug, Clone)]
pub struct Direction {
    /// D×D, first layer first.
    pub weights: Vec<DMatrix<f64>>,
    /// D, first layer first; zero where the network has no biases.
    pub biases: Vec<DVector<f64>>,
}

/// One size for each array of a [`Direction`].
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) weights: Vec<f64>,
    pub(crate) biases: Vec<f64>,
}

/// Everything the forward pass of the reference leaves behind.
struct Pass {
    /// Y_1 … Y_L.
    y: Vec<DMatrix<f64>>,
    /// Z_0 … Z_L.
    z: Vec<DMatrix<f64>>,
}

impl Reference {
    /// Copies a network to the host, every weight as the D×D matrix that it stands for, widened to f64.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; those of the device.
    pub fn from_parameters<D: Device<T>, T: Scalar, C: Coupling<D, T>>(
        device: &D,
        parameters: &Parameters<D, T, C>,
    ) -> Result<Self> {
        let Architecture { coupling, dim, .. } = *parameters.architecture();
        let wide =
            |matrix: &Matrix<D, T>| -> Result<_> { Ok(matrix.to_column_major(device)?.into_iter().map(Scalar::widen)) };
        let weight = |w: &Matrix<D, T>| {
            let mut dense = Matrix::zeros(device, dim, dim, "dense weight")?;
            coupling.to_dense(device, w.view(), dense.view_mut())?;
            Ok(DMatrix::from_iterator(dim, dim, wide(&dense)?))
        };
        let bias = |b: &Matrix<D, T>| {
            let mut expanded = Matrix::zeros(device, dim, 1, "bias")?;
            coupling.expand_bias(device, b.view(), expanded.view_mut())?;
            Ok(DVector::from_iterator(dim, wide(&expanded)?))
        };
        Ok(Self {
            architecture: parameters.architecture().with(Dense),
            weights: parameters.arrays().weights.iter().map(weight).collect::<Result<_>>()?,
            biases: parameters.arrays().biases.iter().map(bias).collect::<Result<_>>()?,
        })
    }

    /// W_k.
    pub(crate) fn weight(&self, k: usize) -> &DMatrix<f64> {
        &self.weights[k]
    }

    /// W_k⁻¹.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub(crate) fn inverse(&self, k: usize) -> Result<DMatrix<f64>> {
        self.weights[k].clone().try_inverse().ok_or_else(|| self.singular(k))
    }

    /// b_k, zero without biases.
    fn bias(&self, k: usize) -> DVector<f64> {
        self.biases.get(k).cloned().unwrap_or_else(|| DVector::zeros(self.architecture.dim))
    }

    fn forward(&self, x: &DMatrix<f64>) -> Pass {
        let mut pass = Pass { y: Vec::new(), z: vec![x.clone()] };
        for (k, weight) in self.weights.iter().enumerate() {
            let mut y = weight * &pass.z[k];
            let bias = self.bias(k);
            y.column_iter_mut().for_each(|mut column| column += &bias);
            let z = if self.architecture.is_nonlinear(k) {
                y.map(|y| scalar::sigma(self.architecture.activation, y))
            } else {
                y.clone()
            };
            pass.y.push(y);
            pass.z.push(z);
        }
        pass
    }

    /// The log-likelihood in its parts \[M2\].
    ///
    /// # Errors
    /// [`Error::Singular`] for a weight without a logarithm of its determinant.
    pub fn log_likelihood(&self, x: &DMatrix<f64>) -> Result<LogLikelihood> {
        let Architecture { activation, base, layers, .. } = self.architecture;
        let pass = self.forward(x);
        let column_sums = |m: DMatrix<f64>| m.column_iter().map(|c| c.sum()).collect::<Vec<f64>>();
        let lp = column_sums(pass.z[layers].map(|z| scalar::log_density(base, z)));
        let mut l1j = vec![0.0; x.ncols()];
        for k in (0..layers).filter(|&k| self.architecture.is_nonlinear(k)) {
            let terms = column_sums(pass.y[k].map(|y| scalar::log_slope(activation, y)));
            l1j.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        let l2j_per_layer = (0..layers).map(|k| self.log_abs_det(k)).collect::<Result<_>>()?;
        Ok(LogLikelihood { lp, l1j, l2j_per_layer })
    }

    fn log_abs_det(&self, k: usize) -> Result<f64> {
        let value: f64 = self.weights[k].clone().lu().u().diagonal().iter().map(|u| u.abs().ln()).sum();
        if value.is_finite() { Ok(value) } else { Err(self.singular(k)) }
    }

    fn singular(&self, k: usize) -> Error {
        Error::Singular { matrix: format!("weight of layer {}", k + 1), condition: f64::INFINITY }
    }

    /// δ_1 … δ_L, per sample \[M7\]–\[M8\].
    pub fn errors(&self, x: &DMatrix<f64>) -> Vec<DMatrix<f64>> {
        let Architecture { activation, base, layers, .. } = self.architecture;
        let pass = self.forward(x);
        let mut v = pass.z[layers].map(|z| scalar::score(base, z));
        let mut errors = vec![DMatrix::zeros(0, 0); layers];
        for k in (0..layers).rev() {
            errors[k] = if self.architecture.is_nonlinear(k) {
                let slope = pass.y[k].map(|y| scalar::slope(activation, y));
                v.component_mul(&slope) + pass.y[k].map(|y| scalar::ratio(activation, y))
            } else {
                v
            };
            v = self.weights[k].transpose() * &errors[k];
        }
        errors
    }

    /// G_k, g_k \[M9\].
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn ordinary(&self, x: &DMatrix<f64>) -> Result<Direction> {
        let pass = self.forward(x);
        let samples = x.ncols() as f64;
        let mut direction = Direction { weights: Vec::new(), biases: Vec::new() };
        for (k, delta) in self.errors(x).iter().enumerate() {
            let inverse = self.inverse(k)?;
            direction.weights.push(delta * pass.z[k].transpose() / samples + inverse.transpose());
            direction.biases.push(delta.column_sum() / samples);
        }
        Ok(direction)
    }

    /// The first D rows of Ḡ W̄ᵀ W̄ with W̄ = \[\[W, b\], \[0, 1\]\], Ḡ = \[\[G, g\], \[0, 0\]\], the definition behind
    /// \[M11\] and \[M13\]–\[M14\]; a network without biases perturbs its weights alone.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn relative(&self, x: &DMatrix<f64>) -> Result<Direction> {
        let mut direction = self.ordinary(x)?;
        let dim = self.architecture.dim;
        for (k, w) in self.weights.iter().enumerate() {
            if !self.architecture.bias {
                direction.weights[k] = &direction.weights[k] * w.transpose() * w;
                continue;
            }
            let mut affine = DMatrix::identity(dim + 1, dim + 1);
            affine.view_mut((0, 0), (dim, dim)).copy_from(w);
            affine.view_mut((0, dim), (dim, 1)).copy_from(&self.bias(k));
            let mut gradient = DMatrix::zeros(dim, dim + 1);
            gradient.view_mut((0, 0), (dim, dim)).copy_from(&direction.weights[k]);
            gradient.view_mut((0, dim), (dim, 1)).copy_from(&direction.biases[k]);
            let projected = gradient * affine.transpose() * affine;
            direction.weights[k] = projected.columns(0, dim).into_owned();
            direction.biases[k] = projected.column(dim).into_owned();
        }
        Ok(direction)
    }

    /// W Wᵀ G and W Wᵀ g, \[M12\], \[M15\].
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn transposed(&self, x: &DMatrix<f64>) -> Result<Direction> {
        let mut direction = self.ordinary(x)?;
        for (k, w) in self.weights.iter().enumerate() {
            direction.weights[k] = w * w.transpose() * &direction.weights[k];
            direction.biases[k] = w * w.transpose() * &direction.biases[k];
        }
        Ok(direction)
    }

    /// What cancels in each array of a gradient, by its size: the log-determinant's share of the weights, which is W⁻ᵀ,
    /// W or W, and the mean magnitude of the errors in the biases, with b where it is a share too.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub(crate) fn largest_terms(&self, kind: Kind, x: &DMatrix<f64>) -> Result<Terms> {
        let mut terms = Terms { weights: Vec::new(), biases: Vec::new() };
        for (k, delta) in self.errors(x).iter().enumerate() {
            terms.weights.push(match kind {
                Kind::Ordinary => self.inverse(k)?.amax(),
                Kind::Relative | Kind::Transposed => self.weights[k].amax(),
            });
            let mean = delta.row_iter().map(|row| row.abs().mean()).fold(0.0, f64::max);
            let share = if kind == Kind::Relative { self.bias(k).amax() } else { 0.0 };
            terms.biases.push(mean + share);
        }
        Ok(terms)
    }
}
