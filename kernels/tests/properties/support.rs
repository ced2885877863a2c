//! Networks to test on, every method behind one function, and host copies of what it computes.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use relgrad_kernels::backend::autodiff::{Jacobians, Mode};
use relgrad_kernels::backend::{Autodiff, BiasMode, GradientBackend, Ordinary, Relative, Transposed};
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::init::{self, Init};
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Dtype, Result, Scalar};

/// A backend with its options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Relative(BiasMode),
    Transposed,
    Ordinary,
    Autodiff(Jacobians),
    /// The same by reverse mode.
    Pulled(Jacobians),
}

/// Every backend with every option.
pub(crate) const WAYS: [Way; 9] = [
    Way::Relative(BiasMode::Exact),
    Way::Relative(BiasMode::Paper),
    Way::Relative(BiasMode::Plain),
    Way::Transposed,
    Way::Ordinary,
    Way::Autodiff(Jacobians::Batched),
    Way::Autodiff(Jacobians::Streamed),
    Way::Pulled(Jacobians::Batched),
    Way::Pulled(Jacobians::Streamed),
];

/// A direction, or parameters, on the host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Host {
    pub(crate) weights: Vec<DMatrix<f64>>,
    pub(crate) biases: Vec<DVector<f64>>,
}

impl Host {
    pub(crate) fn of<T: Scalar>(arrays: &Arrays<Cpu, T>) -> Self {
        let weights = arrays.weights.iter().map(wide).collect();
        Self { weights, biases: arrays.biases.iter().map(|b| wide(b).column(0).into_owned()).collect() }
    }

    /// self + t · other.
    pub(crate) fn plus(&self, t: f64, other: &Self) -> Self {
        let weights = self.weights.iter().zip(&other.weights).map(|(a, b)| a + b * t).collect();
        let biases = self.biases.iter().zip(&other.biases).map(|(a, b)| a + b * t).collect();
        Self { weights, biases }
    }

    pub(crate) fn dot(&self, other: &Self) -> f64 {
        let weights = self.weights.iter().zip(&other.weights).map(|(a, b)| a.dot(b)).sum::<f64>();
        weights + self.biases.iter().zip(&other.biases).map(|(a, b)| a.dot(b)).sum::<f64>()
    }

    /// Norm-wise per array, worst over the arrays; NaN if anything is.
    pub(crate) fn error(&self, expected: &Self) -> f64 {
        let weights = self.weights.iter().zip(&expected.weights);
        let weights = weights.map(|(a, b)| relative_error(a.iter().copied(), b.iter().copied()));
        let biases = self.biases.iter().zip(&expected.biases);
        let biases = biases.map(|(a, b)| relative_error(a.iter().copied(), b.iter().copied()));
        weights.chain(biases).fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
    }
}

pub(crate) fn wide<T: Scalar>(matrix: &Matrix<Cpu, T>) -> DMatrix<f64> {
    let data = matrix.to_column_major(&Cpu::new(1)).unwrap().into_iter().map(Scalar::widen).collect();
    DMatrix::from_vec(matrix.rows(), matrix.cols(), data)
}

pub(crate) fn matrix<T: Scalar>(data: &DMatrix<f64>) -> Matrix<Cpu, T> {
    let narrow: Vec<T> = data.iter().map(|&x| T::of(x)).collect();
    Matrix::from_column_major(&Cpu::new(1), &narrow, data.nrows(), data.ncols(), "test").unwrap()
}

/// A network with its batch.
pub(crate) struct Net<T: Scalar> {
    pub(crate) device: Cpu,
    pub(crate) parameters: Parameters<Cpu, T>,
    pub(crate) x: Matrix<Cpu, T>,
}

impl<T: Scalar> Net<T> {
    /// Weights of condition at most 4 that are not orthogonal: where W Wᵀ = I, every gradient is the same and a missing
    /// factor W does not show.
    pub(crate) fn draw(architecture: Architecture, batch: usize, seed: u64) -> Self {
        let device = Cpu::new(2);
        let orthogonal = |seed| init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, seed).unwrap();
        let (left, right) = (Host::of(orthogonal(seed).arrays()), Host::of(orthogonal(seed + 1).arrays()));
        let scales = init::uniforms(seed, architecture.dim * architecture.layers);
        let weights = left.weights.iter().zip(&right.weights).zip(scales.chunks(architecture.dim));
        let weights = weights.map(|((left, right), scales)| {
            let scales = DVector::from_iterator(scales.len(), scales.iter().map(|u| 0.5 + 1.5 * u));
            left * DMatrix::from_diagonal(&scales) * right
        });
        let host = Host { weights: weights.collect(), biases: left.biases };
        let x = wide(&init::batch::<_, f64>(&device, architecture.dim, batch, seed).unwrap());
        Self::from_host(architecture, &host, &x)
    }

    pub(crate) fn from_host(architecture: Architecture, host: &Host, x: &DMatrix<f64>) -> Self {
        let weights = host.weights.iter().map(matrix).collect();
        let biases = host.biases.iter().map(|b| matrix(&DMatrix::from_column_slice(b.len(), 1, b.as_slice())));
        let arrays = Arrays { weights, biases: biases.collect(), head: None };
        let parameters = Parameters::new(architecture, arrays).unwrap();
        Self { device: Cpu::new(2), parameters, x: matrix(x) }
    }

    pub(crate) fn architecture(&self) -> Architecture {
        *self.parameters.architecture()
    }

    pub(crate) fn host(&self) -> Host {
        Host::of(self.parameters.arrays())
    }

    /// The direction of a backend, with a workspace of the right size.
    pub(crate) fn gradient(&self, way: Way) -> Result<Host> {
        let mut out = Gradient::zeros(&self.device, &self.architecture(), "gradient")?;
        self.gradient_with(way, &self.architecture(), self.x.cols(), &mut out)?;
        Ok(Host::of(&out))
    }

    /// The direction, with a workspace for whatever the caller says and into whatever it gives.
    pub(crate) fn gradient_with(
        &self,
        way: Way,
        workspace: &Architecture,
        batch: usize,
        out: &mut Gradient<Cpu, T>,
    ) -> Result<()> {
        match way {
            Way::Relative(bias_mode) => self.run(&Relative { bias_mode }, workspace, batch, out),
            Way::Transposed => self.run(&Transposed, workspace, batch, out),
            Way::Ordinary => self.run(&Ordinary, workspace, batch, out),
            Way::Autodiff(jacobians) => self.run(&Autodiff { mode: Mode::Forward, jacobians }, workspace, batch, out),
            Way::Pulled(jacobians) => self.run(&Autodiff { mode: Mode::Reverse, jacobians }, workspace, batch, out),
        }
    }

    fn run<B: GradientBackend<Cpu, T>>(
        &self,
        backend: &B,
        architecture: &Architecture,
        batch: usize,
        out: &mut Gradient<Cpu, T>,
    ) -> Result<()> {
        let mut workspace = backend.workspace(&self.device, architecture, batch)?;
        backend.gradient(&self.device, &self.parameters, self.x.view(), &mut workspace, out)
    }

    pub(crate) fn log_likelihood(&self) -> Result<LogLikelihood> {
        let mut evaluator = Evaluator::new(&self.device, &self.architecture(), self.x.cols())?;
        evaluator.log_likelihood(&self.device, &self.parameters, self.x.view())
    }
}

/// `f64` or `f32` as the working precision asks.
pub(crate) fn per_dtype<T: Scalar>(f64: f64, f32: f64) -> f64 {
    match T::DTYPE {
        Dtype::F64 => f64,
        Dtype::F32 => f32,
    }
}

/// `cases` cases from a fixed seed.
pub(crate) fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(2020), failure_persistence: None, ..Config::default() }
}

pub(crate) const BASES: [Base; 5] = [Base::Normal, Base::SECH, Base::Sech { c: 1.0 }, Base::Logistic, Base::Laplace];

/// Any valid architecture of a small size.
pub(crate) fn architectures() -> impl Strategy<Value = Architecture> {
    let activation = prop_oneof![
        (0.05..1.0).prop_map(|alpha| Activation::SmoothLeaky { alpha }),
        Just(Activation::SmoothLeaky { alpha: 1.0 }),
        (0.3..2.0, 0.05..1.0).prop_map(|(alpha, beta)| Activation::TanhLinear { alpha, beta }),
    ];
    (1..=9_usize, 1..=4_usize, activation, any::<bool>(), any::<bool>(), prop::sample::select(&BASES[..])).prop_map(
        |(dim, layers, activation, last_nonlinear, bias, base)| Architecture {
            activation,
            last_nonlinear,
            bias,
            base,
            ..Architecture::new(dim, layers)
        },
    )
}
