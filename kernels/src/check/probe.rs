//! The derivative of the log-likelihood along one direction a layer, by forward mode.

use nalgebra::{DMatrix, DVector};

use super::{Kind, sketched, tolerance, wide};
use crate::backend::Sketched;
use crate::device::{Device, Matrix, MatrixRef};
use crate::elementwise::reference as scalar;
use crate::error::Result;
use crate::forward::ValuesWorkspace;
use crate::init;
use crate::layer::{Coupling, Extent};
use crate::network::Architecture;
use crate::parameters::{Gradient, Parameters};
use crate::scalar::Scalar;

/// The derivative of the log-likelihood when one layer moves by R, b by r, so that Y moves by R Z + r. R is chosen from
/// the gradient A, a under test so that its inner product with the derivative G, g and its share of the
/// log-determinant, tr(W⁻¹R), are both known. u holds a random number of (½, 3/2) for each row, the same for all rows
/// that share a bias; H = u ⊙ A, h = u ⊙ a.
///
/// | gradient | R, r | Y moves by | tr(W⁻¹R) | inner product |
/// | --- | --- | --- | --- | --- |
/// | ordinary, dense | a cᵀ, γ a; a = W e for a random e, c = Gᵀa, γ = aᵀg | a (Zᵀc + γ)ᵀ | cᵀe | ‖c‖² + γ² |
/// | ordinary, linear | d ⊙ W, u ⊙ g; d = row sums of G ⊙ W | d ⊙ (Y − b) + r | Σ d | Σ d² + ⟨g, r⟩ |
/// | ordinary, not linear | r cᵀ, u ⊙ g; r and c random | [`Coupling::tangent`] | its second number | rᵀA c + ⟨g, r⟩ |
/// | relative | H̄ W̄ᵀW̄, W̄ = \[W, b; 0, 1\] | H U + h cᵀ, U = WᵀY, c = 1 + Yᵀb | ⟨H, W⟩ + ⟨h, b⟩ | ⟨A, H⟩ + ⟨a, h⟩ |
/// | transposed | W WᵀH, W Wᵀh | W Wᵀ(H Z + h 1ᵀ) | ⟨H, W⟩ | ⟨A, H⟩ + ⟨a, h⟩ |
pub(super) struct Probe<'a, D: Device<T>, T: Scalar, C: Coupling<D, T>> {
    device: &'a D,
    parameters: &'a Parameters<D, T, C>,
    /// The probes by which the gradient knows its inverses; then tr(W⁻¹R) is another number.
    sketched: Option<&'a Sketched>,
    /// The gradient as a network, so that its arrays can be multiplied with.
    gradient: &'a Gradient<D, T>,
    x: &'a Matrix<D, T>,
    /// Y_1 … Y_L on the host.
    y: Vec<DMatrix<f64>>,
    values: ValuesWorkspace<D, T, C>,
    /// Of products with the gradient's arrays.
    work: C::Work,
    block: [Matrix<D, T>; 2],
}

/// What a product multiplies with.
#[derive(Clone, Copy)]
enum Multiplied {
    Weight,
    WeightTransposed,
    Gradient,
    GradientTransposed,
}

impl<'a, D: Device<T>, T: Scalar, C: Coupling<D, T>> Probe<'a, D, T, C> {
    pub(super) fn new(
        device: &'a D,
        (parameters, sketched): (&'a Parameters<D, T, C>, Option<&'a Sketched>),
        x: &'a Matrix<D, T>,
        gradient: &'a Gradient<D, T>,
    ) -> Result<Self> {
        let Architecture { dim, layers, bias, coupling, .. } = *parameters.architecture();
        // Without a condition: it changes the scores, and the probe has those of the base.
        let mut values = ValuesWorkspace::new(device, parameters.architecture(), x.cols())?;
        values.forward(device, parameters.network(), x.view().into())?;
        let y = (0..layers).map(|k| wide(device, values.pre_activation(k))).collect::<Result<_>>()?;
        let mut work = coupling.work(device, Extent { dim, layers, batch: x.cols(), bias })?;
        if C::IS_LINEAR {
            coupling.prepare(device, gradient, &mut work)?;
        }
        let block = || Matrix::zeros(device, dim, x.cols(), "probe of the gradient");
        Ok(Self { device, parameters, sketched, gradient, x, y, values, work, block: [block()?, block()?] })
    }

    fn activate(&self, k: usize, y: &DMatrix<f64>) -> DMatrix<f64> {
        let architecture = self.parameters.architecture();
        let sigma = |y| scalar::sigma(architecture.activation, y);
        if architecture.is_nonlinear(k) { y.map(sigma) } else { y.clone() }
    }

    /// The product of one of layer k's matrices with a D×N block.
    fn multiply(&mut self, factor: Multiplied, k: usize, z: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        let (device, coupling) = (self.device, self.parameters.architecture().coupling);
        let mut layer = self.parameters.network().layer(k);
        let [from, to] = &mut self.block;
        let narrow: Vec<T> = z.iter().map(|&z| T::of(z)).collect();
        device.upload(&narrow, from.view_mut().into_slice())?;
        let (from, out) = (from.view(), to.view_mut());
        match factor {
            Multiplied::Weight => coupling.push(device, &layer, from, out, &mut self.values.work)?,
            Multiplied::WeightTransposed => coupling.pull(device, &layer, from, out, &mut self.values.work)?,
            Multiplied::Gradient => {
                layer.weight = self.gradient.weights[k].view();
                coupling.push(device, &layer, from, out, &mut self.work)?;
            }
            Multiplied::GradientTransposed => {
                layer.weight = self.gradient.weights[k].view();
                coupling.pull(device, &layer, from, out, &mut self.work)?;
            }
        }
        wide(device, to.view())
    }

    /// The product of one of layer k's matrices with a vector.
    fn apply(&mut self, factor: Multiplied, k: usize, v: &[f64]) -> Result<DVector<f64>> {
        let mut block = DMatrix::zeros(v.len(), self.x.cols());
        block.column_mut(0).copy_from_slice(v);
        Ok(self.multiply(factor, k, &block)?.column(0).into_owned())
    }

    /// For each number of a bias the inner product of the rows of two weights that it belongs to.
    fn row_products(&self, a: MatrixRef<'_, D, T>, b: MatrixRef<'_, D, T>) -> Result<Vec<f64>> {
        let architecture = self.parameters.architecture();
        let [rows, cols] = architecture.coupling.weight_shape(architecture.dim);
        let len = architecture.coupling.bias_len(architecture.dim);
        // A coupling keeps the rows of one bias side by side.
        let (mut sums, together) = (vec![0.0; len], rows / len);
        for start in (0..cols).step_by(COLUMNS) {
            let count = COLUMNS.min(cols - start);
            let host = |m: MatrixRef<'_, D, T>| self.device.to_host(m.shorten().columns(start, count));
            let (a, b) = (host(a)?, host(b)?);
            for (a, b) in a.chunks_exact(rows).zip(b.chunks_exact(rows)) {
                if together == 1 {
                    sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a.widen() * b.widen());
                    continue;
                }
                for ((sum, a), b) in sums.iter_mut().zip(a.chunks_exact(together)).zip(b.chunks_exact(together)) {
                    *sum += a.iter().zip(b).map(|(a, b)| a.widen() * b.widen()).sum::<f64>();
                }
            }
        }
        Ok(sums)
    }

    /// The product of an array with a vector.
    fn product(&self, array: MatrixRef<'_, D, T>, vector: &[f64]) -> Result<Vec<f64>> {
        let mut sums = vec![0.0; array.rows()];
        for (j, c) in vector.iter().enumerate() {
            let column = self.device.to_host(array.shorten().columns(j, 1))?;
            sums.iter_mut().zip(column).for_each(|(sum, x)| *sum += c * x.widen());
        }
        Ok(sums)
    }

    /// One number a component from one a bias.
    fn expand(&self, bias: &[f64]) -> Result<Vec<f64>> {
        let architecture = self.parameters.architecture();
        let narrow: Vec<T> = bias.iter().map(|&b| T::of(b)).collect();
        let narrow = Matrix::from_column_major(self.device, &narrow, bias.len(), 1, "probe of the gradient")?;
        let mut out = Matrix::zeros(self.device, architecture.dim, 1, "probe of the gradient")?;
        architecture.coupling.expand_bias(self.device, narrow.view(), out.view_mut())?;
        Ok(wide(self.device, out.view())?.as_slice().to_vec())
    }

    /// c = 1 + Y_kᵀ b_k.
    fn weights(&self, k: usize) -> Result<Vec<f64>> {
        let (device, coupling) = (self.device, self.parameters.architecture().coupling);
        let count = self.x.cols() * coupling.weights_per_sample();
        let mut c = Matrix::zeros(device, count, 1, "probe of the gradient")?;
        device.fill(T::of(1.0), c.view_mut())?;
        let layer = self.parameters.network().layer(k);
        coupling.weigh(device, self.values.pre_activation(k), &layer, c.view_mut(), &self.values.work)?;
        Ok(wide(device, c.view())?.as_slice().to_vec())
    }

    pub(super) fn layer(&mut self, kind: Kind, k: usize) -> Result<f64> {
        let device = self.device;
        let coupling = self.parameters.architecture().coupling;
        let (weight, direction) = (self.parameters.weight(k), self.gradient.weights[k].view());
        let len = coupling.bias_len(self.parameters.architecture().dim);
        let u: Vec<f64> = init::uniforms(PROBE_SEED + k as u64, len).into_iter().map(|u| 0.5 + u).collect();
        let bias = |arrays: &[Matrix<D, T>]| -> Result<Vec<f64>> {
            match arrays.get(k) {
                Some(b) => Ok(wide(device, b.view())?.as_slice().to_vec()),
                None => Ok(vec![0.0; len]),
            }
        };
        let (a, b) = (bias(&self.gradient.biases)?, bias(&self.parameters.arrays().biases)?);
        let h: Vec<f64> = a.iter().zip(&u).map(|(a, u)| a * u).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let carried = if k == 0 { wide(device, self.x.view())? } else { self.activate(k - 1, &self.y[k - 1]) };
        let entries = coupling.multiplicity();
        let (own, moved) = (self.row_products(direction, direction)?, self.row_products(direction, weight)?);
        let (mut scale, mut allowed) = (0.0, 0.0);
        let (tangent, share, expected) = match kind {
            Kind::Ordinary if C::IS_DENSE => {
                let random = init::normals(PROBE_SEED + k as u64, a.len());
                let applied = self.apply(Multiplied::Weight, k, &random)?;
                let c = self.apply(Multiplied::GradientTransposed, k, applied.as_slice())?;
                let gamma = dot(applied.as_slice(), &a);
                let tangent = &applied * carried.tr_mul(&c).add_scalar(gamma).transpose();
                let mut share = dot(c.as_slice(), &random);
                if let Some(sketched) = self.sketched {
                    let norm = self.row_products(weight, weight)?.iter().sum::<f64>().sqrt();
                    let vectors = [&applied, &c, &DVector::from_vec(random)];
                    let push = |v: &[f64]| self.apply(Multiplied::Weight, k, v);
                    (share, allowed) = sketched::share(sketched, (k, norm), vectors, push)?;
                }
                (tangent, share, c.norm_squared() + gamma * gamma)
            }
            Kind::Ordinary if !C::IS_LINEAR => {
                let [rows, cols] = coupling.weight_shape(self.parameters.architecture().dim);
                let random = init::normals(PROBE_SEED + k as u64, rows + cols);
                let (r, c) = random.split_at(rows);
                let (mut tangent, share) = coupling.tangent(device, weight, (r, c), &carried)?;
                let moves = self.expand(&h)?;
                tangent.row_iter_mut().zip(&moves).for_each(|(mut row, h)| row.add_scalar_mut(*h));
                // r and c have no reason to be near the gradient: where their product with it happens to be small,
                // rounding must not count more than elsewhere.
                scale = own.iter().sum::<f64>().sqrt();
                (tangent, share, dot(r, &self.product(direction, c)?) + dot(&a, &h))
            }
            Kind::Ordinary => {
                let (d, shift) = (self.expand(&moved)?, self.expand(&b)?);
                let shifted = by_rows(&self.y[k], |i, y| d[i] * (y - shift[i]));
                let r = self.expand(&h)?;
                let share = d.iter().sum::<f64>();
                (by_rows(&shifted, |i, t| t + r[i]), share, dot(&moved, &moved) + dot(&a, &h))
            }
            Kind::Relative => {
                let pulled = self.multiply(Multiplied::WeightTransposed, k, &self.y[k].clone())?;
                let product = self.multiply(Multiplied::Gradient, k, &pulled)?;
                let (rows, h_all) = (self.expand(&u)?, self.expand(&h)?);
                let mut tangent = by_rows(&product, |i, t| rows[i] * t);
                let (weights, per_sample) = (self.weights(k)?, coupling.weights_per_sample());
                for (mut t, c) in tangent.column_iter_mut().zip(weights.chunks_exact(per_sample)) {
                    t.iter_mut().zip(&h_all).enumerate().for_each(|(i, (t, h))| *t += h * c[i % per_sample]);
                }
                let share = entries * (dot(&u, &moved) + dot(&h, &b));
                (tangent, share, entries * (dot(&u, &own) + dot(&a, &h)))
            }
            Kind::Transposed => {
                let product = self.multiply(Multiplied::Gradient, k, &carried)?;
                let (rows, h_all) = (self.expand(&u)?, self.expand(&h)?);
                let tangent = by_rows(&product, |i, t| rows[i] * t + h_all[i]);
                let pulled = self.multiply(Multiplied::WeightTransposed, k, &tangent)?;
                let tangent = self.multiply(Multiplied::Weight, k, &pulled)?;
                (tangent, entries * dot(&u, &moved), entries * (dot(&u, &own) + dot(&a, &h)))
            }
        };
        let derivative = self.forward_derivative(k, tangent)? + share;
        Ok((derivative - expected).abs() / (expected.abs().max(scale) + allowed / tolerance(device.math())))
    }

    /// The derivative of the mean of Lp + L1J when Y_k moves along `tangent`, by forward mode.
    fn forward_derivative(&mut self, k: usize, mut tangent: DMatrix<f64>) -> Result<f64> {
        let Architecture { activation, base, layers, .. } = *self.parameters.architecture();
        let mut sum = 0.0;
        for j in k..layers {
            if j > k {
                tangent = self.multiply(Multiplied::Weight, j, &tangent)?;
            }
            if self.parameters.architecture().is_nonlinear(j) {
                sum += tangent.zip_map(&self.y[j], |t, y| t * scalar::ratio(activation, y)).sum();
                tangent.zip_apply(&self.y[j], |t, y| *t *= scalar::slope(activation, y));
            }
        }
        let latents = self.activate(layers - 1, &self.y[layers - 1]);
        sum += tangent.zip_map(&latents, |t, z| t * scalar::score(base, z)).sum();
        Ok(sum / self.x.cols() as f64)
    }
}

/// Columns of an array that are copied to the host at a time.
const COLUMNS: usize = 64;

/// Any seed that the networks of a study do not use.
const PROBE_SEED: u64 = 0x7072_6f62_6500;

/// f of every entry and its row.
fn by_rows(m: &DMatrix<f64>, f: impl Fn(usize, f64) -> f64) -> DMatrix<f64> {
    DMatrix::from_fn(m.nrows(), m.ncols(), |i, j| f(i, m[(i, j)]))
}
