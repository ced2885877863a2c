//! Conditional densities \[M6\]: finite differences, and what must be refused.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::{Device, Matrix, MatrixMut, MatrixRef};
use relgrad_kernels::init::{self, Init};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Arrays, Batch, Gradient, LocationScale, Parameters};
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Error, Method, Result, Scalar};

/// A conditional network with its batch.
struct Net<T: Scalar> {
    device: Cpu,
    network: Parameters<Cpu, T>,
    x: Matrix<Cpu, T>,
    u: Matrix<Cpu, T>,
}

impl<T: Scalar> Net<T> {
    fn batch(&self) -> Batch<'_, Cpu, T> {
        Batch { x: self.x.view(), u: Some(self.u.view()) }
    }

    fn gradient(&self, method: Method) -> Result<Gradient<Cpu, T>> {
        let architecture = self.network.architecture();
        let mut out = Gradient::zeros(&self.device, architecture, "gradient")?;
        let mut bound = bind(&self.device, method, BiasMode::Exact, architecture, self.x.cols())?;
        bound.gradient(&self.device, &self.network, self.batch(), &mut out)?;
        Ok(out)
    }

    fn log_likelihood(&self) -> Result<LogLikelihood> {
        let mut evaluator = Evaluator::new(&self.device, self.network.architecture(), self.x.cols())?;
        evaluator.log_likelihood(&self.device, &self.network, self.batch())
    }

    fn density(&self) -> &LocationScale<Cpu, T> {
        self.network.arrays().head.as_ref().unwrap()
    }
}

fn norm_squared(arrays: &Arrays<Cpu, f64>) -> f64 {
    arrays.iter().flat_map(wide).map(|x| x * x).sum()
}

fn wide<T: Scalar>(matrix: &Matrix<Cpu, T>) -> Vec<f64> {
    matrix.to_column_major(&Cpu::new(1)).unwrap().into_iter().map(Scalar::widen).collect()
}

/// A network, and a density of parameters of size 1/4 so that τ stays near 1.
fn draw(architecture: Architecture, conditions: usize, batch: usize, seed: u64) -> Net<f64> {
    let device = Cpu::new(2);
    let (dim, architecture) = (architecture.dim, Architecture { conditions, ..architecture });
    let mut normals = init::normals(seed + 1, dim * (2 * conditions + 2)).into_iter().map(|x| 0.25 * x);
    let mut network = init::network(&device, &architecture, Init::Orthogonal, seed).unwrap();
    for matrix in network.arrays_mut().head.as_mut().unwrap().matrices_mut() {
        matrix.view_mut().into_slice().iter_mut().zip(&mut normals).for_each(|(to, from)| *to = from);
    }
    let x = init::batch(&device, dim, batch, seed).unwrap();
    let u = init::batch(&device, conditions, batch, seed + 2).unwrap();
    Net { device, network, x, u }
}

/// The same network moved by t along a gradient.
fn moved(net: &Net<f64>, t: f64, along: &Gradient<Cpu, f64>) -> Net<f64> {
    let copy =
        |m: &Matrix<Cpu, f64>| Matrix::from_column_major(&net.device, &wide(m), m.rows(), m.cols(), "test").unwrap();
    let mut arrays = Arrays::zeros(&net.device, net.network.architecture(), "test").unwrap();
    for ((to, from), step) in arrays.iter_mut().zip(net.network.arrays().iter()).zip(along.iter()) {
        let sums = wide(from).into_iter().zip(wide(step)).map(|(a, b)| a + t * b);
        to.view_mut().into_slice().iter_mut().zip(sums).for_each(|(to, sum)| *to = sum);
    }
    let network = Parameters::new(*net.network.architecture(), arrays).unwrap();
    Net { device: net.device, network, x: copy(&net.x), u: copy(&net.u) }
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
        for method in [Method::Ordinary, Method::Autodiff, Method::AutodiffStreamed] {
            let gradient = net.gradient(method).unwrap();
            let norm = norm_squared(&gradient);
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
        for method in [Method::Relative, Method::Transposed] {
            let step = net.gradient(method).unwrap();
            let norm = norm_squared(&step);
            let after = moved(&net, 1e-5 / norm.sqrt().max(1.0), &step).log_likelihood().unwrap().mean();
            prop_assert!(after > before, "{:e}", after - before);
        }
    }

    /// m = 0, τ = 1 is the density without a condition, for the likelihood and for every backend.
    #[test]
    fn a_density_that_ignores_its_condition_is_the_base(
        architecture in architectures(), batch in 1..6_usize, seed: u32,
    ) {
        let device = Cpu::new(2);
        let conditional = Architecture { conditions: 2, ..architecture };
        let network = init::network(&device, &conditional, Init::Orthogonal, seed.into()).unwrap();
        let plain = init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, seed.into()).unwrap();
        let net = Net { network, ..draw(architecture, 2, batch, seed.into()) };
        let mut evaluator = Evaluator::new(&device, &architecture, batch).unwrap();
        let likelihood = evaluator.log_likelihood(&device, &plain, net.x.view()).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
        prop_assert!(close(net.log_likelihood().unwrap().mean(), likelihood.mean()));
        for method in Method::ALL.into_iter().filter(|method| !method.keeps_state() && !method.has_own_layers()) {
            let mut expected = Gradient::zeros(&device, &architecture, "gradient").unwrap();
            let mut bound = bind(&device, method, BiasMode::Exact, &architecture, batch).unwrap();
            bound.gradient(&device, &plain, net.x.view(), &mut expected).unwrap();
            let ours = net.gradient(method).unwrap();
            for (ours, theirs) in ours.iter().zip(expected.iter()) {
                prop_assert!(relative_error(wide(ours), wide(theirs)) <= 1e-12, "{}", method);
            }
        }
    }

    /// A step in place goes along the stored direction, the density's share included.
    #[test]
    fn a_step_in_place_moves_the_density_too(architecture in architectures(), batch in 1..6_usize, seed: u32) {
        let mut net = draw(architecture, 2, batch, seed.into());
        let expected = moved(&net, 0.01, &net.gradient(Method::Relative).unwrap());
        let step = InPlaceStep { guard: false, ..InPlaceStep::default() };
        let mut workspace = step.workspace(&net.device, net.network.architecture(), batch).unwrap();
        let batch = Batch { x: net.x.view(), u: Some(net.u.view()) };
        step.step(&net.device, &mut net.network, batch, 0.01, &mut workspace, None).unwrap();
        for (ours, theirs) in net.network.arrays().iter().zip(expected.network.arrays().iter()) {
            prop_assert!(relative_error(wide(ours), wide(theirs)) <= 1e-12);
        }
    }
}

/// One affine layer of a normal density: x given u is normal with mean W⁻¹(m(u) − b) and covariance W⁻¹τ²W⁻ᵀ.
#[test]
fn samples_follow_their_condition() {
    let net = draw(Architecture { bias: true, ..Architecture::new(2, 1) }, 1, 1, 4);
    let u: Matrix<Cpu, f64> = Matrix::from_column_major(&net.device, &[1.5; 20_000], 1, 20_000, "test").unwrap();
    let inverter = Inverter::new(&net.device, &net.network).unwrap();
    let x = inverter.sample_given(&net.device, &net.network, u.view(), 9).unwrap();
    let column = |m: &Matrix<Cpu, f64>| nalgebra::DVector::from_vec(wide(m));
    let density = net.density();
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
    let mut net = draw(Architecture::new(3, 2), 2, 4, 1);
    let wrong = |rows: usize, cols: usize| Matrix::<Cpu, f64>::zeros(&net.device, rows, cols, "test").unwrap();
    for u in [wrong(2, 3), wrong(1, 4), wrong(2, 5)] {
        let net = Net { u, ..draw(Architecture::new(3, 2), 2, 4, 1) };
        for method in Method::ALL.into_iter().filter(|method| !method.keeps_state()) {
            let error = net.gradient(method).err();
            assert!(matches!(error, Some(Error::ShapeMismatch { .. })), "{method}: {error:?}");
        }
        assert!(matches!(net.log_likelihood(), Err(Error::ShapeMismatch { .. })));
    }
    // A density with a condition asks for one, and one without has no use for it.
    let mut evaluator = Evaluator::new(&net.device, net.network.architecture(), 4).unwrap();
    let error = evaluator.data_terms(&net.device, &net.network, net.x.view()).unwrap_err().to_string();
    assert!(error.contains("a condition u for every sample"), "{error}");
    let plain = init::network::<_, f64, _>(&net.device, &Architecture::new(3, 2), Init::Orthogonal, 1).unwrap();
    let mut evaluator = Evaluator::new(&net.device, plain.architecture(), 4).unwrap();
    assert!(evaluator.data_terms(&net.device, &plain, net.batch()).is_err());

    let offset = Matrix::from_column_major(&net.device, &[0.0, f64::NAN, 0.0], 3, 1, "test").unwrap();
    net.network.arrays_mut().head.as_mut().unwrap().log_scale_offset = offset;
    let error = net.gradient(Method::Ordinary).err().unwrap().to_string();
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
