//! Small networks of convolutions, every backend behind one function, and the dense network of each.

use nalgebra::DMatrix;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::check::relative_error;
use relgrad_kernels::convolution::{
    self, Arrays, Autodiff, ConvolutionBackend, Evaluator, Gradient, Ordinary, Parameters, Preconditioned, Relative,
    Spectral,
};
use relgrad_kernels::device::Matrix;
use relgrad_kernels::init::{self, Init};
use relgrad_kernels::likelihood::LogLikelihood;
use relgrad_kernels::reference::Reference;
use relgrad_kernels::{Activation, Architecture, Base, Convolution, Cpu, Dtype, Result};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Relative,
    Ordinary,
    Preconditioned,
    Autodiff(Jacobians),
}

/// Kernels and biases, or directions of them, as plain numbers.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) kernels: Vec<Vec<f64>>,
    pub(crate) biases: Vec<Vec<f64>>,
}

impl Host {
    pub(crate) fn of<T: Spectral>(arrays: &Arrays<T>) -> Self {
        let wide = |m: &Matrix<Cpu, T>| wide(m).as_slice().to_vec();
        Self { kernels: arrays.kernels.iter().map(wide).collect(), biases: arrays.biases.iter().map(wide).collect() }
    }

    fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let all = |a: &[Vec<f64>], b: &[Vec<f64>]| {
            a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()).collect()
        };
        Self { kernels: all(&self.kernels, &other.kernels), biases: all(&self.biases, &other.biases) }
    }

    /// self + t · other.
    pub(crate) fn plus(&self, t: f64, other: &Self) -> Self {
        self.zip(other, |a, b| a + t * b)
    }

    pub(crate) fn dot(&self, other: &Self) -> f64 {
        let products = self.zip(other, |a, b| a * b);
        products.kernels.iter().chain(&products.biases).flatten().sum()
    }

    /// Norm-wise per array, worst over the arrays; NaN if anything is.
    pub(crate) fn error(&self, expected: &Self) -> f64 {
        let ours = self.kernels.iter().chain(&self.biases);
        let theirs = expected.kernels.iter().chain(&expected.biases);
        let errors = ours.zip(theirs).map(|(a, b)| relative_error(a.iter().copied(), b.iter().copied()));
        errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
    }
}

pub(crate) fn wide<T: Spectral>(matrix: &Matrix<Cpu, T>) -> DMatrix<f64> {
    let data = matrix.to_column_major(&Cpu::new(1)).unwrap().into_iter().map(|x| x.widen()).collect();
    DMatrix::from_vec(matrix.rows(), matrix.cols(), data)
}

pub(crate) fn narrow<T: Spectral>(rows: usize, data: &[f64]) -> Matrix<Cpu, T> {
    let narrow: Vec<T> = data.iter().map(|&x| T::of(x)).collect();
    Matrix::from_column_major(&Cpu::new(1), &narrow, rows, data.len() / rows, "test").unwrap()
}

/// A network with its batch.
pub(crate) struct Net<T: Spectral> {
    pub(crate) device: Cpu,
    pub(crate) parameters: Parameters<T>,
    pub(crate) x: Matrix<Cpu, T>,
}

impl<T: Spectral> Net<T> {
    /// K̂(ω) is orthogonal up to a part in eight and then half a tap more of identity, so that K̂ᴴK̂ ≠ I and a missing
    /// factor shows.
    pub(crate) fn draw(architecture: Architecture, batch: usize, seed: u64) -> Self {
        let device = Cpu::new(2);
        let drawn: Parameters<f64> = convolution::network(&device, &architecture, Init::Orthogonal, seed).unwrap();
        let mut host = Host::of(drawn.arrays());
        let scales = init::uniforms(seed, host.kernels.len());
        for (kernel, scale) in host.kernels.iter_mut().zip(scales) {
            kernel.iter_mut().for_each(|k| *k *= 0.5 + 1.5 * scale);
        }
        let x = init::batch::<_, f64>(&device, architecture.dim, batch, seed).unwrap();
        Self::from_host(architecture, &host, &wide(&x))
    }

    pub(crate) fn from_host(architecture: Architecture, host: &Host, x: &DMatrix<f64>) -> Self {
        let convolution = architecture.convolution().unwrap();
        let rows = convolution.channels * convolution.taps();
        let arrays = Arrays {
            kernels: host.kernels.iter().map(|k| narrow(rows, k)).collect(),
            biases: host.biases.iter().map(|b| narrow(convolution.channels, b)).collect(),
        };
        let parameters = Parameters::new(architecture, arrays).unwrap();
        Self { device: Cpu::new(2), parameters, x: narrow(x.nrows(), x.as_slice()) }
    }

    pub(crate) fn architecture(&self) -> Architecture {
        *self.parameters.architecture()
    }

    pub(crate) fn convolution(&self) -> Convolution {
        *self.parameters.convolution()
    }

    pub(crate) fn host(&self) -> Host {
        Host::of(self.parameters.arrays())
    }

    pub(crate) fn gradient(&self, way: Way) -> Result<Host> {
        match way {
            Way::Relative => self.run(&Relative),
            Way::Ordinary => self.run(&Ordinary),
            Way::Preconditioned => self.run(&Preconditioned),
            Way::Autodiff(jacobians) => self.run(&Autodiff { jacobians }),
        }
    }

    fn run<B: ConvolutionBackend<T>>(&self, backend: &B) -> Result<Host> {
        let mut workspace = backend.workspace(&self.device, &self.architecture(), self.x.cols())?;
        let mut out = Gradient::zeros(&self.device, &self.architecture(), "gradient")?;
        backend.gradient(&self.device, &self.parameters, self.x.view(), &mut workspace, &mut out)?;
        Ok(Host::of(&out))
    }

    pub(crate) fn log_likelihood(&self) -> Result<LogLikelihood> {
        let mut evaluator = Evaluator::new(&self.device, &self.architecture(), self.x.cols())?;
        evaluator.log_likelihood(&self.device, &self.parameters, self.x.view())
    }

    /// The dense network of the same function, by nalgebra.
    pub(crate) fn reference(&self) -> Reference {
        let dense = convolution::dense_parameters(&self.device, &self.parameters).unwrap();
        Reference::from_parameters(&self.device, &dense).unwrap()
    }
}

/// `f64` or `f32` as the working precision asks.
pub(crate) fn per_dtype<T: Spectral>(f64: f64, f32: f64) -> f64 {
    match T::DTYPE {
        Dtype::F64 => f64,
        Dtype::F32 => f32,
    }
}

/// `cases` cases from a fixed seed.
pub(crate) fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(2020), failure_persistence: None, ..Config::default() }
}

/// Grids of one and of two dimensions: a single point, odd, even and prime lengths, either axis alone.
const GRIDS: [[usize; 2]; 12] =
    [[1, 1], [1, 2], [1, 5], [1, 6], [1, 7], [4, 1], [5, 1], [2, 2], [2, 3], [3, 4], [4, 3], [3, 5]];

/// Any small network of convolutions, with kernels of any size.
pub(crate) fn architectures() -> impl Strategy<Value = Architecture> {
    let activation = prop_oneof![
        (0.05..1.0).prop_map(|alpha| Activation::SmoothLeaky { alpha }),
        (0.3..2.0, 0.05..1.0).prop_map(|(alpha, beta)| Activation::TanhLinear { alpha, beta }),
    ];
    let bases = prop::sample::select(&[Base::Normal, Base::SECH, Base::Logistic][..]);
    let flags = (any::<bool>(), any::<bool>());
    let shape = (1..=3_usize, prop::sample::select(&GRIDS[..]), 0.0..1.0, 0.0..1.0, 0..3_usize);
    (shape, 1..=3_usize, activation, flags, bases).prop_map(
        |((channels, grid, rows, cols, kind), layers, activation, (last_nonlinear, bias), base)| {
            let some = |n: usize, share: f64| 1 + ((n - 1) as f64 * share).round() as usize;
            let kernel = match kind {
                0 => grid,
                1 => [1, 1],
                _ => [some(grid[0], rows), some(grid[1], cols)],
            };
            let convolution = Convolution { channels, grid, kernel };
            Architecture { activation, last_nonlinear, bias, base, ..Architecture::convolutional(convolution, layers) }
        },
    )
}
