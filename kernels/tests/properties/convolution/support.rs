//! Small networks of convolutions, every backend behind one function, and the dense network of each.

use nalgebra::DMatrix;
use proptest::prelude::*;
use relgrad_kernels::backend::{BiasMode, GradientBackend, Preconditioned};
use relgrad_kernels::bound::bind;
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::init::{self, Init};
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::layer::{Coupling, Geometry, MaybeGroup, Spectral, Visitor, Window};
use relgrad_kernels::likelihood::{Evaluator, LogLikelihood};
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::reference::Reference;
use relgrad_kernels::{Activation, Architecture, Base, Convolution, CouplingKind, Cpu, Method, Result};

pub(crate) use crate::support::{config, per_dtype, wide};

/// A network of convolutions of some kind.
pub(crate) type Network = Architecture<CouplingKind>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Named(Method),
    Preconditioned,
}

pub(crate) const RELATIVE: Way = Way::Named(Method::Relative);
pub(crate) const ORDINARY: Way = Way::Named(Method::Ordinary);

pub(crate) fn convolutional(convolution: Convolution, layers: usize) -> Network {
    Architecture::convolutional(convolution, layers)
}

/// Kernels and biases, or directions of them, as plain numbers.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) kernels: Vec<Vec<f64>>,
    pub(crate) biases: Vec<Vec<f64>>,
}

impl Host {
    pub(crate) fn of<T: Spectral>(arrays: &Arrays<Cpu, T>) -> Self {
        let wide = |m: &Matrix<Cpu, T>| wide(m).as_slice().to_vec();
        Self { kernels: arrays.weights.iter().map(wide).collect(), biases: arrays.biases.iter().map(wide).collect() }
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

pub(crate) fn narrow<T: Spectral>(rows: usize, data: &[f64]) -> Matrix<Cpu, T> {
    let narrow: Vec<T> = data.iter().map(|&x| T::of(x)).collect();
    Matrix::from_column_major(&Cpu::new(1), &narrow, rows, data.len() / rows, "test").unwrap()
}

pub(crate) fn convolution_of(architecture: Network) -> Convolution {
    match architecture.coupling {
        CouplingKind::Convolution(convolution) => convolution,
        other => panic!("a network of convolutions, not {other:?}"),
    }
}

/// The D×D matrix of a kernel.
pub(crate) fn dense(convolution: Convolution, kernel: &[f64]) -> DMatrix<f64> {
    let device = Cpu::new(1);
    let mut out = Matrix::<Cpu, f64>::zeros(&device, convolution.dim(), convolution.dim(), "test").unwrap();
    let kernel = narrow::<f64>(kernel.len() / convolution.channels, kernel);
    Window::of(convolution).to_dense(&device, kernel.view(), out.view_mut()).unwrap();
    wide(&out)
}

/// The kernel whose taps are the sums, or the means, over the entries of a D×D matrix that they stand in.
pub(crate) fn project(convolution: Convolution, of: &DMatrix<f64>, mean: bool) -> Vec<f64> {
    let device = Cpu::new(1);
    let [rows, cols] = convolution.weight_shape(0);
    let mut out = Matrix::<Cpu, f64>::zeros(&device, rows, cols, "test").unwrap();
    let of = narrow::<f64>(of.nrows(), of.as_slice());
    let kernel = Matrix::<Cpu, f64>::zeros(&device, rows, cols, "test").unwrap();
    Window::of(convolution).sum_entries(&device, kernel.view(), of.view(), out.view_mut()).unwrap();
    let share = if mean { convolution.multiplicity() } else { 1.0 };
    wide(&out).iter().map(|x| x / share).collect()
}

/// A network with its batch.
pub(crate) struct Net<T: Spectral> {
    pub(crate) device: Cpu,
    pub(crate) architecture: Network,
    host: Host,
    pub(crate) x: Matrix<Cpu, T>,
}

/// What is asked of a network whose layers are known at run time only.
macro_rules! ask {
    ($name:ident($net:ident, $parameters:ident, $arguments:pat => $given:ty) -> $out:ty $body:block) => {
        struct $name<'a, T: Spectral>(&'a Net<T>, $given);

        impl<T: Spectral> Visitor<T> for $name<'_, T> {
            type Out = $out;

            fn visit<C: MaybeGroup<Cpu, T>>(self, coupling: C) -> Result<$out> {
                let ($net, $arguments) = (self.0, self.1);
                let $parameters = $net.parameters(coupling)?;
                $body
            }
        }
    };
}

ask!(AskGradient(net, parameters, method => Method) -> Host {
    let (architecture, samples) = (parameters.architecture(), net.x.cols());
    let mut out = Gradient::zeros(&net.device, architecture, "gradient")?;
    let mut bound = bind(&net.device, method, BiasMode::Exact, architecture, samples)?;
    bound.gradient(&net.device, &parameters, net.x.view(), &mut out)?;
    Ok(Host::of(&out))
});

ask!(AskLikelihood(net, parameters, () => ()) -> LogLikelihood {
    let mut evaluator = Evaluator::new(&net.device, parameters.architecture(), net.x.cols())?;
    evaluator.log_likelihood(&net.device, &parameters, net.x.view())
});

ask!(AskLatents(net, parameters, () => ()) -> Vec<T> {
    let mut evaluator = Evaluator::new(&net.device, parameters.architecture(), net.x.cols())?;
    evaluator.data_terms(&net.device, &parameters, net.x.view())?;
    Ok(evaluator.latents().slice().to_vec())
});

ask!(AskInverter(net, parameters, () => ()) -> Inverter<T> { Inverter::new(&net.device, &parameters) });

ask!(AskReference(net, parameters, () => ()) -> Reference { Reference::from_parameters(&net.device, &parameters) });

/// Draws a network.
struct Draw(Network, u64);

impl Visitor<f64> for Draw {
    type Out = Host;

    fn visit<C: MaybeGroup<Cpu, f64>>(self, coupling: C) -> Result<Host> {
        let drawn = init::network(&Cpu::new(2), &self.0.with(coupling), Init::Orthogonal, self.1)?;
        Ok(Host::of(drawn.arrays()))
    }
}

impl<T: Spectral> Net<T> {
    /// K̂(ω) is orthogonal up to a part in eight and then half a tap more of identity, so that K̂ᴴK̂ ≠ I and a missing
    /// factor shows.
    pub(crate) fn draw(architecture: Network, batch: usize, seed: u64) -> Self {
        let mut host = architecture.coupling.visit::<f64, _>(Draw(architecture, seed)).unwrap();
        let scales = init::uniforms(seed, host.kernels.len());
        for (kernel, scale) in host.kernels.iter_mut().zip(scales) {
            kernel.iter_mut().for_each(|k| *k *= 0.5 + 1.5 * scale);
        }
        let x = init::batch::<_, f64>(&Cpu::new(2), architecture.dim, batch, seed).unwrap();
        Self::from_host(architecture, &host, &wide(&x))
    }

    pub(crate) fn from_host(architecture: Network, host: &Host, x: &DMatrix<f64>) -> Self {
        Self { device: Cpu::new(2), architecture, host: host.clone(), x: narrow(x.nrows(), x.as_slice()) }
    }

    pub(crate) fn convolution(&self) -> Convolution {
        convolution_of(self.architecture)
    }

    pub(crate) fn parameters<C: Coupling<Cpu, T>>(&self, coupling: C) -> Result<Parameters<Cpu, T, C>> {
        let convolution = self.convolution();
        let [rows, _] = convolution.weight_shape(0);
        let weights = self.host.kernels.iter().map(|k| narrow(rows, k)).collect();
        let biases = self.host.biases.iter().map(|b| narrow(convolution.channels, b)).collect();
        Parameters::new(self.architecture.with(coupling), Arrays { weights, biases, head: None })
    }

    /// As this precision holds it.
    pub(crate) fn host(&self) -> Host {
        let round = |all: &[Vec<f64>]| all.iter().map(|of| of.iter().map(|&x| T::of(x).widen()).collect()).collect();
        Host { kernels: round(&self.host.kernels), biases: round(&self.host.biases) }
    }

    pub(crate) fn gradient(&self, way: Way) -> Result<Host> {
        match way {
            Way::Named(method) => self.architecture.coupling.visit(AskGradient(self, method)),
            Way::Preconditioned => {
                let parameters = self.parameters(Window::of(self.convolution()))?;
                let mut workspace = Preconditioned.workspace(&self.device, parameters.architecture(), self.x.cols())?;
                let mut out = Gradient::zeros(&self.device, parameters.architecture(), "gradient")?;
                Preconditioned.gradient(&self.device, &parameters, self.x.view(), &mut workspace, &mut out)?;
                Ok(Host::of(&out))
            }
        }
    }

    pub(crate) fn log_likelihood(&self) -> Result<LogLikelihood> {
        self.architecture.coupling.visit(AskLikelihood(self, ()))
    }

    pub(crate) fn latents(&self) -> Result<Vec<T>> {
        self.architecture.coupling.visit(AskLatents(self, ()))
    }

    pub(crate) fn inverter(&self) -> Result<Inverter<T>> {
        self.architecture.coupling.visit(AskInverter(self, ()))
    }

    /// The dense network of the same function, by nalgebra.
    pub(crate) fn reference(&self) -> Reference {
        self.architecture.coupling.visit(AskReference(self, ())).unwrap()
    }
}

/// Grids of one and of two dimensions: a single point, odd, even and prime lengths, either axis alone.
const GRIDS: [[usize; 2]; 12] =
    [[1, 1], [1, 2], [1, 5], [1, 6], [1, 7], [4, 1], [5, 1], [2, 2], [2, 3], [3, 4], [4, 3], [3, 5]];

/// Any small network of convolutions, with kernels of any size.
pub(crate) fn architectures() -> impl Strategy<Value = Network> {
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
            Architecture { activation, last_nonlinear, bias, base, ..convolutional(convolution, layers) }
        },
    )
}
