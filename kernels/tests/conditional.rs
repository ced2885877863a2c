//! Conditional densities \[M6\]: finite differences, and what must be refused.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::backend::{Autodiff, Ordinary, Relative, Transposed};
use relgrad_kernels::check::relative_error;
use relgrad_kernels::conditional::{self, Conditional, ConditionalBackend, LocationScale, Model, ModelGradient, Pairs};
use relgrad_kernels::device::{Device, Matrix, MatrixMut, MatrixRef};
use relgrad_kernels::init::{self, Init};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Error, Result, Scalar};

/// A conditional network with its batch.
struct Net<T: Scalar> {
    device: Cpu,
    network: Parameters<Cpu, T>,
    density: LocationScale<Cpu, T>,
    x: Matrix<Cpu, T>,
    u: Matrix<Cpu, T>,
}

/// Every array of a model or of its gradient: weights, biases, A, a, B, c.
fn arrays<'a, T: Scalar>(network: &'a Arrays<Cpu, T>, density: &'a LocationScale<Cpu, T>) -> Vec<&'a Matrix<Cpu, T>> {
    let LocationScale { location, location_offset, log_scale, log_scale_offset } = density;
    let density = [location, location_offset, log_scale, log_scale_offset];
    network.weights.iter().chain(&network.biases).chain(density).collect()
}

impl<T: Scalar> Net<T> {
    fn model(&self) -> Model<'_, Cpu, T> {
        Model { network: &self.network, density: &self.density }
    }

    fn pairs(&self) -> Pairs<'_, Cpu, T> {
        Pairs { x: self.x.view(), u: self.u.view() }
    }

    fn gradient<B: ConditionalBackend<Cpu, T>>(&self, backend: B) -> Result<ModelGradient<Cpu, T>> {
        let architecture = self.network.architecture();
        let backend = Conditional { backend };
        let mut workspace = backend.workspace(&self.device, architecture, self.x.cols())?;
        let mut out = ModelGradient {
            network: Gradient::zeros(&self.device, architecture, "gradient")?,
            density: LocationScale::zeros(&self.device, architecture.dim, self.u.rows(), "gradient")?,
        };
        backend.gradient(&self.device, &self.model(), &self.pairs(), &mut workspace, &mut out)?;
        Ok(out)
    }

    fn log_likelihood(&self) -> Result<LogLikelihood> {
        let mut evaluator = Evaluator::new(&self.device, self.network.architecture(), self.x.cols())?;
        conditional::log_likelihood(&self.device, &mut evaluator, &self.model(), &self.pairs())
    }
}

fn wide<T: Scalar>(matrix: &Matrix<Cpu, T>) -> Vec<f64> {
    matrix.to_column_major(&Cpu::new(1)).unwrap().into_iter().map(Scalar::widen).collect()
}

/// A network, and a density of parameters of size 1/4 so that τ stays near 1.
fn draw(architecture: Architecture, conditions: usize, batch: usize, seed: u64) -> Net<f64> {
    let device = Cpu::new(2);
    let dim = architecture.dim;
    let mut normals = init::normals(seed + 1, dim * (2 * conditions + 2)).into_iter().map(|x| 0.25 * x);
    let mut fill = |cols: usize| {
        let data: Vec<f64> = normals.by_ref().take(dim * cols).collect();
        Matrix::from_column_major(&device, &data, dim, cols, "test").unwrap()
    };
    let density = LocationScale {
        location: fill(conditions),
        location_offset: fill(1),
        log_scale: fill(conditions),
        log_scale_offset: fill(1),
    };
    let network = init::network(&device, &architecture, Init::Orthogonal, seed).unwrap();
    let x = init::batch(&device, dim, batch, seed).unwrap();
    let u = init::batch(&device, conditions, batch, seed + 2).unwrap();
    Net { device, network, density, x, u }
}

/// The same network moved by t along a gradient.
fn moved(net: &Net<f64>, t: f64, along: &ModelGradient<Cpu, f64>) -> Net<f64> {
    let plus = |a: &Matrix<Cpu, f64>, b: &Matrix<Cpu, f64>| {
        let data: Vec<f64> = wide(a).iter().zip(wide(b)).map(|(a, b)| a + t * b).collect();
        Matrix::from_column_major(&net.device, &data, a.rows(), a.cols(), "test").unwrap()
    };
    let all = |a: &[Matrix<Cpu, f64>], b: &[Matrix<Cpu, f64>]| a.iter().zip(b).map(|(a, b)| plus(a, b)).collect();
    let (own, step) = (net.network.arrays(), &along.network);
    let arrays = Arrays { weights: all(&own.weights, &step.weights), biases: all(&own.biases, &step.biases) };
    let (a, b) = (&net.density, &along.density);
    let same =
        |m: &Matrix<Cpu, f64>| Matrix::from_column_major(&net.device, &wide(m), m.rows(), m.cols(), "test").unwrap();
    Net {
        device: net.device,
        network: Parameters::new(*net.network.architecture(), arrays).unwrap(),
        density: LocationScale {
            location: plus(&a.location, &b.location),
            location_offset: plus(&a.location_offset, &b.location_offset),
            log_scale: plus(&a.log_scale, &b.log_scale),
            log_scale_offset: plus(&a.log_scale_offset, &b.log_scale_offset),
        },
        x: same(&net.x),
        u: same(&net.u),
    }
}

fn architectures() -> impl Strategy<Value = Architecture> {
    let activation = prop_oneof![
        (0.05..1.0).prop_map(|alpha| Activation::SmoothLeaky { alpha }),
        (0.3..2.0, 0.05..1.0).prop_map(|(alpha, beta)| Activation::TanhLinear { alpha, beta }),
    ];
    let bases = prop::sample::select(&[Base::Normal, Base::SECH, Base::Logistic][..]);
    (1..=6_usize, 1..=3_usize, activation, any::<bool>(), any::<bool>(), bases).prop_map(
        |(dim, layers, activation, last_nonlinear, bias, base)| Architecture {
            activation,
            last_nonlinear,
            bias,
            base,
            ..Architecture::new(dim, layers)
        },
    )
}

proptest! {
    #![proptest_config(Config {
        cases: 48, rng_seed: RngSeed::Fixed(2020), failure_persistence: None, ..Config::default()
    })]

    /// d/dt ℓ(θ + t G) = ‖G‖² for the derivative G, over the network and A, a, B, c together; more samples than one
    /// chunk of autodiff's Jacobians.
    #[test]
    fn ordinary_and_autodiff_are_the_derivatives(
        architecture in architectures(), conditions in 1..4_usize, batch in 1..6_usize, seed: u32,
    ) {
        let net = draw(architecture, conditions, batch, seed.into());
        let autodiff = |jacobians| net.gradient(Autodiff { jacobians }).unwrap();
        for gradient in [net.gradient(Ordinary).unwrap(), autodiff(Jacobians::Batched), autodiff(Jacobians::Streamed)] {
            let norm: f64 =
                arrays(&gradient.network, &gradient.density).into_iter().flat_map(wide).map(|x| x * x).sum();
            let value = |t: f64| moved(&net, t / norm.sqrt().max(1.0), &gradient).log_likelihood().unwrap().mean();
            let central = |h: f64| (value(h) - value(-h)) / (2.0 * h);
            let quotient = (4.0 * central(5e-4) - central(1e-3)) / 3.0 * norm.sqrt().max(1.0);
            prop_assert!((quotient - norm).abs() <= 1e-6 * norm.max(1.0), "{:e} is not {:e}", quotient, norm);
        }
    }

    /// The relative directions of the network and the derivative of the density make a step that ascends.
    #[test]
    fn a_small_step_ascends(architecture in architectures(), batch in 1..6_usize, seed: u32) {
        let net = draw(architecture, 2, batch, seed.into());
        let before = net.log_likelihood().unwrap().mean();
        for step in [net.gradient(Relative::default()).unwrap(), net.gradient(Transposed).unwrap()] {
            let norm: f64 = arrays(&step.network, &step.density).into_iter().flat_map(wide).map(|x| x * x).sum();
            let after = moved(&net, 1e-5 / norm.sqrt().max(1.0), &step).log_likelihood().unwrap().mean();
            prop_assert!(after > before, "{:e}", after - before);
        }
    }

    /// m = 0, τ = 1 is the density without a condition, for the likelihood and for every backend.
    #[test]
    fn a_density_that_ignores_its_condition_is_the_base(
        architecture in architectures(), batch in 1..6_usize, seed: u32,
    ) {
        use relgrad_kernels::backend::GradientBackend;
        let mut net = draw(architecture, 2, batch, seed.into());
        net.density = LocationScale::zeros(&net.device, architecture.dim, 2, "test").unwrap();
        let mut evaluator = Evaluator::new(&net.device, &architecture, batch).unwrap();
        let plain = evaluator.log_likelihood(&net.device, &net.network, net.x.view()).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
        prop_assert!(close(net.log_likelihood().unwrap().mean(), plain.mean()));
        let mut expected = Gradient::zeros(&net.device, &architecture, "gradient").unwrap();
        let mut workspace = Ordinary.workspace(&net.device, &architecture, batch).unwrap();
        Ordinary.gradient(&net.device, &net.network, net.x.view(), &mut workspace, &mut expected).unwrap();
        let ours = net.gradient(Ordinary).unwrap().network;
        for (ours, theirs) in ours.weights.iter().zip(&expected.weights) {
            prop_assert!(relative_error(wide(ours), wide(theirs)) <= 1e-13);
        }
    }
}

/// One affine layer of a normal density: x given u is normal with mean W⁻¹(m(u) − b) and covariance W⁻¹τ²W⁻ᵀ.
#[test]
fn samples_follow_their_condition() {
    let net = draw(Architecture { bias: true, ..Architecture::new(2, 1) }, 1, 1, 4);
    let u: Matrix<Cpu, f64> = Matrix::from_column_major(&net.device, &[1.5; 20_000], 1, 20_000, "test").unwrap();
    let inverter = Inverter::new(&net.device, &net.network).unwrap();
    let x = conditional::sample(&net.device, &inverter, &net.model(), u.view(), 9).unwrap();
    let column = |m: &Matrix<Cpu, f64>| nalgebra::DVector::from_vec(wide(m));
    let density = &net.density;
    let location = column(&density.location) * 1.5 + column(&density.location_offset);
    let scale = (column(&density.log_scale) * 1.5 + column(&density.log_scale_offset)).map(f64::exp);
    let w = nalgebra::DMatrix::from_vec(2, 2, wide(&net.network.arrays().weights[0])).try_inverse().unwrap();
    let mean = &w * (location - column(&net.network.arrays().biases[0]));
    let covariance = &w * nalgebra::DMatrix::from_diagonal(&scale.map(|s| s * s)) * w.transpose();
    let x = nalgebra::DMatrix::from_vec(2, 20_000, x);
    // Standard errors: 1/√20,000 = 0.7 % of a standard deviation, and 1 % of a variance.
    assert!((x.column_mean() - &mean).amax() <= 0.04 * covariance.amax().sqrt());
    let centred = nalgebra::DMatrix::from_fn(2, 20_000, |i, j| x[(i, j)] - mean[i]);
    assert!((&centred * centred.transpose() / 20_000.0 - &covariance).amax() <= 0.05 * covariance.amax());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let net = draw(Architecture::new(3, 2), 2, 4, 1);
    let wrong = |rows: usize, cols: usize| Matrix::<Cpu, f64>::zeros(&net.device, rows, cols, "test").unwrap();
    for u in [wrong(2, 3), wrong(1, 4)] {
        let net = Net { u, ..draw(Architecture::new(3, 2), 2, 4, 1) };
        assert!(matches!(net.gradient(Relative::default()).err(), Some(Error::ShapeMismatch { .. })));
        assert!(matches!(net.log_likelihood(), Err(Error::ShapeMismatch { .. })));
    }
    let mut net = net;
    net.density.log_scale_offset = Matrix::from_column_major(&net.device, &[0.0, f64::NAN, 0.0], 3, 1, "test").unwrap();
    let error = net.gradient(Ordinary).err().unwrap().to_string();
    assert!(error.contains("log-scale"), "{error}");
}

/// The CPU's operation is the division that it stands for, and checks its shapes.
#[test]
fn standardizing_is_a_shift_and_a_division() {
    let device = Cpu::new(2);
    let block = |seed| init::batch::<_, f64>(&device, 3, 5, seed).unwrap();
    let (s, m, t) = (block(1), block(2), block(3));
    let mut rho = block(4);
    device.standardize(s.view(), m.view(), t.view(), rho.view_mut()).unwrap();
    for ((rho, s), (m, t)) in wide(&rho).iter().zip(wide(&s)).zip(wide(&m).iter().zip(wide(&t))) {
        assert!((rho - (s - m) / t.exp()).abs() <= 1e-14 * (1.0 + rho.abs()));
    }
    let mut short = Matrix::zeros(&device, 3, 4, "test").unwrap();
    let out: MatrixMut<'_, Cpu, f64> = short.view_mut();
    let view: MatrixRef<'_, Cpu, f64> = s.view();
    assert!(device.standardize(view, m.view(), t.view(), out).is_err());
}
