//! Singular kernels, numbers that are not finite, and operands that don't belong together: errors, never a panic.

use nalgebra::DMatrix;
use relgrad_kernels::backend::{GradientBackend, Ordinary};
use relgrad_kernels::layer::{EveryTap, Geometry, Window};
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::{Architecture, Convolution, CouplingKind, Cpu, Dense, Error, Method};

use super::support::*;

/// K = (1, 1) on an even grid: K̂ vanishes at the highest frequency.
fn singular() -> Net<f64> {
    let convolution = Convolution { channels: 1, grid: [1, 6], kernel: [1, 2] };
    let architecture = convolutional(convolution, 1);
    let host = Host { kernels: vec![vec![1.0, 1.0]], biases: Vec::new() };
    Net::from_host(architecture, &host, &DMatrix::from_element(6, 2, 0.5))
}

#[test]
fn a_singular_kernel_is_named_with_its_frequency() {
    let net = singular();
    let complaints = [
        net.log_likelihood().unwrap_err(),
        net.gradient(ORDINARY).unwrap_err(),
        net.gradient(Way::Preconditioned).unwrap_err(),
        net.inverter().err().unwrap(),
    ];
    for error in complaints {
        let text = error.to_string();
        assert!(text.contains("kernel of layer 1 at frequency (0, 3) is singular"), "{text}");
    }
    assert!(matches!(net.gradient(Way::Named(Method::Autodiff)), Err(Error::Singular { .. })));
}

#[test]
fn the_relative_gradient_needs_no_invertible_kernel() {
    let architecture = convolutional(Convolution::full(1, [1, 6]), 1);
    let host = Host { kernels: vec![vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0]], biases: Vec::new() };
    let net = Net::<f64>::from_host(architecture, &host, &DMatrix::from_element(6, 2, 0.5));
    let direction = net.gradient(RELATIVE).unwrap();
    assert!(direction.kernels[0].iter().all(|x| x.is_finite()));
    assert!(net.gradient(ORDINARY).is_err());
}

#[test]
fn numbers_that_are_not_finite_are_told() {
    let architecture = convolutional(Convolution::full(2, [2, 3]), 2);
    for bad in [f64::NAN, f64::INFINITY] {
        let mut net = Net::<f64>::draw(architecture, 2, 1);
        let mut host = net.host();
        host.kernels[0][3] = bad;
        let broken = Net::<f64>::from_host(architecture, &host, &wide(&net.x));
        net.x = narrow(12, &[bad; 24]);
        for net in [broken, net] {
            for way in [RELATIVE, ORDINARY, Way::Named(Method::AutodiffStreamed)] {
                let error = net.gradient(way).unwrap_err();
                assert!(matches!(error, Error::NonFinite { .. }), "{way:?}: {error}");
            }
            assert!(net.log_likelihood().is_err());
        }
    }
}

#[test]
fn shapes_are_checked() {
    let of = |convolution, dim| Architecture::new(dim, 1).with(CouplingKind::Convolution(convolution));
    let full = Convolution::full(2, [1, 4]);
    let invalid = [
        of(full, 9),
        of(Convolution { channels: 0, ..full }, 0),
        of(Convolution { kernel: [1, 5], ..full }, 8),
        of(Convolution { kernel: [1, 0], ..full }, 8),
        of(Convolution { grid: [0, 4], ..full }, 0),
        Architecture { layers: 0, ..of(full, 8) },
    ];
    let device = Cpu::new(1);
    for architecture in invalid {
        assert!(Arrays::<Cpu, f64>::zeros(&device, &architecture, "test").is_err(), "{architecture:?}");
        let window = architecture.with(Window::of(convolution_of(architecture)));
        let workspace = GradientBackend::<_, f64, _>::workspace(&Ordinary, &device, &window, 1);
        assert!(workspace.is_err(), "{architecture:?}");
    }
    // Dense arrays are not kernels, kernels are no dense network, and a window is not every tap.
    let arrays = |architecture: &Network| Arrays::<Cpu, f64>::zeros(&device, architecture, "test").unwrap();
    let (dense, kernels) = (of(full, 8).with(CouplingKind::Dense), of(full, 8));
    assert!(Parameters::new(kernels.with(EveryTap::of(full)), arrays(&dense)).is_err());
    assert!(Parameters::new(kernels.with(Dense), arrays(&kernels)).is_err());
    assert!(EveryTap::of(Convolution { kernel: [1, 3], ..full }).validate(8).is_err());
}

#[test]
fn a_workspace_of_another_shape_is_refused() {
    let architecture = convolutional(Convolution::full(2, [1, 4]), 2);
    let other = convolutional(Convolution::full(1, [1, 8]), 2);
    let net = Net::<f64>::draw(architecture, 3, 1);
    let typed = |of: Network| of.with(Window::of(convolution_of(of)));
    let parameters = net.parameters(Window::of(net.convolution())).unwrap();
    let run = |workspace: Network, batch: usize, out: Network| {
        let mut workspace = Ordinary.workspace(&net.device, &typed(workspace), batch).unwrap();
        let mut out = Gradient::zeros(&net.device, &out, "gradient").unwrap();
        Ordinary.gradient(&net.device, &parameters, net.x.view(), &mut workspace, &mut out)
    };
    assert!(run(architecture, 3, architecture).is_ok());
    for outcome in [run(other, 3, architecture), run(architecture, 2, architecture), run(architecture, 3, other)] {
        assert!(matches!(outcome, Err(Error::ShapeMismatch { .. })), "{outcome:?}");
    }
}
