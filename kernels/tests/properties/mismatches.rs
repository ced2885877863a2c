//! Operands that do not belong together: an error that names the shapes, never a panic.

use relgrad_kernels::device::{Addend, Device, Inversion, Matrix};
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::step::{InPlaceStep, LogDets};
use relgrad_kernels::{Architecture, Cpu, Error, Result};

use crate::support::*;

const DIM: usize = 5;
const BATCH: usize = 4;

fn architecture() -> Architecture {
    Architecture { bias: true, ..Architecture::new(DIM, 3) }
}

fn assert_mismatch<V>(what: &str, result: Result<V>) {
    match result {
        Err(Error::ShapeMismatch { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: accepted"),
    }
}

fn zeros(rows: usize, cols: usize) -> Matrix<Cpu, f64> {
    Matrix::zeros(&Cpu::new(1), rows, cols, "test").unwrap()
}

/// Architectures that differ from the network's in something that a workspace or a gradient has the shape of.
fn others() -> Vec<Architecture> {
    vec![
        Architecture { dim: 4, ..architecture() },
        Architecture { dim: 6, ..architecture() },
        Architecture { dim: 1, ..architecture() },
        Architecture { layers: 1, ..architecture() },
        Architecture { layers: 2, ..architecture() },
        Architecture { layers: 4, ..architecture() },
    ]
}

#[test]
fn a_workspace_of_another_shape_is_refused() {
    let net = Net::<f64>::draw(architecture(), BATCH, 1);
    for way in WAYS {
        let run = |workspace: &Architecture, batch| {
            let mut out = Gradient::zeros(&net.device, &net.architecture(), "gradient").unwrap();
            net.gradient_with(way, workspace, batch, &mut out)
        };
        for other in others() {
            assert_mismatch(&format!("{way:?}, {other:?}"), run(&other, BATCH));
        }
        for batch in [1, BATCH - 1, BATCH + 1, 10 * BATCH] {
            assert_mismatch(&format!("{way:?}, batch of {batch}"), run(&architecture(), batch));
        }
    }
}

/// A workspace without room for biases: an error, or the right result from a backend that needs no such room.
#[test]
fn a_workspace_without_biases_is_refused_or_enough() {
    let without = Architecture { bias: false, ..architecture() };
    let net = Net::<f64>::draw(architecture(), BATCH, 1);
    for way in WAYS {
        let mut out = Gradient::zeros(&net.device, &net.architecture(), "gradient").unwrap();
        match net.gradient_with(way, &without, BATCH, &mut out) {
            Err(Error::ShapeMismatch { .. }) => {}
            Err(other) => panic!("{way:?}: {other}"),
            Ok(()) => assert_eq!(Host::of(&out), net.gradient(way).unwrap(), "{way:?}"),
        }
    }
    // The other way round there is room to spare.
    let net = Net::<f64>::draw(without, BATCH, 1);
    for way in WAYS {
        let mut out = Gradient::zeros(&net.device, &without, "gradient").unwrap();
        match net.gradient_with(way, &architecture(), BATCH, &mut out) {
            Err(Error::ShapeMismatch { .. }) => {}
            Err(other) => panic!("{way:?}: {other}"),
            Ok(()) => assert_eq!(Host::of(&out), net.gradient(way).unwrap(), "{way:?}"),
        }
    }
}

#[test]
fn a_gradient_of_another_shape_is_refused() {
    let net = Net::<f64>::draw(architecture(), BATCH, 1);
    let without = Architecture { bias: false, ..architecture() };
    for way in WAYS {
        for other in others().into_iter().chain([without]) {
            let mut out = Gradient::zeros(&net.device, &other, "gradient").unwrap();
            assert_mismatch(&format!("{way:?}, {other:?}"), net.gradient_with(way, &architecture(), BATCH, &mut out));
        }
        for (rows, cols) in [(0, 0), (DIM, 0), (DIM, DIM - 1), (DIM, DIM + 1), (DIM - 1, DIM), (1, DIM * DIM)] {
            for k in 0..3 {
                let mut out = Gradient::zeros(&net.device, &architecture(), "gradient").unwrap();
                out.weights[k] = zeros(rows, cols);
                let what = format!("{way:?}, gradient {k} of {rows}×{cols}");
                assert_mismatch(&what, net.gradient_with(way, &architecture(), BATCH, &mut out));
            }
        }
        for (rows, cols) in [(0, 1), (DIM - 1, 1), (DIM, 2), (1, DIM)] {
            let mut out = Gradient::zeros(&net.device, &architecture(), "gradient").unwrap();
            out.biases[1] = zeros(rows, cols);
            let what = format!("{way:?}, bias gradient of {rows}×{cols}");
            assert_mismatch(&what, net.gradient_with(way, &architecture(), BATCH, &mut out));
        }
    }
}

#[test]
fn a_batch_of_another_shape_is_refused() {
    for (rows, cols) in [(DIM, 0), (0, 0), (0, BATCH), (DIM - 1, BATCH), (DIM + 1, BATCH), (DIM * BATCH, 1)] {
        let mut net = Net::<f64>::draw(architecture(), BATCH, 1);
        net.x = zeros(rows, cols);
        let what = |operation: &str| format!("{operation}, batch of {rows}×{cols}");
        for way in WAYS {
            let mut out = Gradient::zeros(&net.device, &net.architecture(), "gradient").unwrap();
            let result = net.gradient_with(way, &architecture(), BATCH, &mut out);
            assert_mismatch(&what(&format!("{way:?}")), result);
        }
        let mut evaluator = Evaluator::new(&net.device, &architecture(), BATCH).unwrap();
        let result = evaluator.log_likelihood(&net.device, &net.parameters, net.x.view());
        assert_mismatch(&what("log-likelihood"), result);
        let step = InPlaceStep::default();
        let mut workspace = step.workspace(&net.device, &architecture(), BATCH).unwrap();
        let Net { device, parameters, x } = &mut net;
        let result = step.step(device, parameters, x.view(), 0.1, &mut workspace, None).map(|_| ());
        assert_mismatch(&what("step"), result);
    }
}

#[test]
fn an_evaluator_or_a_step_of_another_shape_is_refused() {
    let mut net = Net::<f64>::draw(architecture(), BATCH, 1);
    let before = net.host();
    for other in others() {
        let mut evaluator = Evaluator::new(&net.device, &other, BATCH).unwrap();
        let result = evaluator.log_likelihood(&net.device, &net.parameters, net.x.view());
        assert_mismatch(&format!("log-likelihood, {other:?}"), result);
        for transposed in [false, true] {
            let step = InPlaceStep { transposed, ..InPlaceStep::default() };
            let mut workspace = step.workspace(&net.device, &other, BATCH).unwrap();
            let Net { device, parameters, x } = &mut net;
            let result = step.step(device, parameters, x.view(), 0.1, &mut workspace, None).map(|_| ());
            assert_mismatch(&format!("step, {other:?}"), result);
        }
    }
    assert_eq!(net.host(), before);
}

/// The log-determinants of another network; the network must be as it was.
#[test]
fn carried_log_determinants_of_another_network_are_refused() {
    for (other, batch) in others().into_iter().map(|other| (other, BATCH)).chain([(architecture(), BATCH + 1)]) {
        let mut net = Net::<f64>::draw(architecture(), BATCH, 1);
        let before = net.host();
        let foreign = Net::<f64>::draw(other, batch, 1);
        let mut carried = LogDets::new(&foreign.device, &foreign.parameters, batch).unwrap();
        let step = InPlaceStep::default();
        let mut workspace = step.workspace(&net.device, &architecture(), BATCH).unwrap();
        let Net { device, parameters, x } = &mut net;
        let result = step.step(device, parameters, x.view(), 0.1, &mut workspace, Some(&mut carried)).map(|_| ());
        assert_mismatch(&format!("log-determinants, {other:?}, batch of {batch}"), result);
        assert_eq!(net.host(), before);
    }
}

#[test]
fn arrays_that_do_not_fit_make_no_network() {
    let arrays = || Arrays::<Cpu, f64>::zeros(&Cpu::new(1), &architecture(), "test").unwrap();
    let spoil: [fn(&mut Arrays<Cpu, f64>); 6] = [
        |arrays| drop(arrays.weights.pop()),
        |arrays| drop(arrays.biases.pop()),
        |arrays| arrays.biases.clear(),
        |arrays| arrays.weights.push(zeros(DIM, DIM)),
        |arrays| arrays.weights[1] = zeros(DIM, DIM + 1),
        |arrays| arrays.biases[2] = zeros(DIM + 1, 1),
    ];
    for spoil in spoil {
        let mut arrays = arrays();
        spoil(&mut arrays);
        assert_mismatch("parameters", Parameters::new(architecture(), arrays));
    }
}

/// The device itself, at shapes that do not fit and at shapes with nothing in them.
#[test]
fn the_device_refuses_shapes_that_do_not_fit() {
    let device = Cpu::new(2);
    let one = [Inversion { log_abs_det: 0.0, condition: 0.0 }];
    let (a, b) = (zeros(3, 4), zeros(5, 6));
    let mut c = zeros(3, 6);
    let product = device.multiply(1.0, a.view().plain(), b.view().plain(), Addend::Zero, c.view_mut());
    assert_mismatch("inner sizes", product);
    let product = device.multiply(1.0, a.view().plain(), b.view().transposed(), Addend::Zero, c.view_mut());
    assert_mismatch("inner sizes", product);
    let product = device.multiply(1.0, a.view().plain(), zeros(4, 5).view().plain(), Addend::Zero, c.view_mut());
    assert_mismatch("destination", product);
    let addend = zeros(6, 3);
    let addend = Addend::Matrix(addend.view());
    let product = device.multiply(1.0, a.view().plain(), zeros(4, 6).view().plain(), addend, c.view_mut());
    assert_mismatch("addend", product);

    let mut work = Device::<f64>::factorization(&device, 3, 1).unwrap();
    let mut invert = |rows: usize, cols: usize, report: usize| {
        let (mut a, mut out) = (zeros(rows, cols), zeros(rows, cols));
        device.invert_transposed(a.view_mut(), out.view_mut(), &mut work, &mut vec![one[0]; report])
    };
    assert_mismatch("not square", invert(3, 4, 1));
    assert_mismatch("two reports for one block", invert(3, 3, 2));
    assert_mismatch("work memory of another size", invert(4, 4, 1));
    assert_mismatch("work memory of another size", invert(2, 2, 1));
    assert_mismatch("not square", device.log_abs_det(zeros(3, 4).view()).map(|_| ()));
}

/// Matrices without rows or columns: whatever comes of them, no panic.
#[test]
fn the_device_survives_empty_matrices() {
    let device = Cpu::new(2);
    let activation = architecture().activation;
    for (rows, cols) in [(0, 0), (0, 3), (3, 0)] {
        let (a, b) = (zeros(rows, cols), zeros(rows, cols));
        let (mut y, mut z) = (zeros(rows, cols), zeros(rows, cols));
        let bias = zeros(rows, 1);
        let mut sums = vec![0.0; cols];
        let _ = device.copy(a.view(), z.view_mut());
        let _ = device.fill(1.0, z.view_mut());
        let _ = device.require_finite("nothing", a.view());
        assert_eq!(device.frobenius_norm(a.view()), Ok(0.0));
        let _ = device.add_bias(bias.view(), y.view_mut());
        let _ = device.bias_activate(activation, Some(bias.view()), y.view_mut(), z.view_mut());
        let _ = device.bias_activate(activation, None, y.view_mut(), z.view_mut());
        let _ = device.backward_error(activation, a.view(), b.view(), z.view_mut());
        let _ = device.output_error(architecture().base, None, a.view(), z.view_mut());
        let _ = device.slope_and_ratio(activation, a.view(), y.view_mut(), z.view_mut());
        let _ = device.log_slope_sums(activation, a.view(), &mut sums);
        let _ = device.log_density_sums(architecture().base, a.view(), &mut sums);
        let mut square = zeros(rows, rows);
        let product = device.multiply(1.0, a.view().plain(), b.view().transposed(), Addend::Zero, square.view_mut());
        assert_eq!(product, Ok(()));
        let _ = device.log_abs_det(square.view());
        let _ = device.add_blocks(1.0, zeros(rows, rows * cols).view(), square.view_mut());
        let (mut blocks, block) = (zeros(rows, rows * cols), zeros(rows, rows));
        let _ = device.scale_rows(a.view(), block.view(), blocks.view_mut());
        let _ = device.scale_rows_in_place(a.view(), blocks.view_mut());
        let other = zeros(rows, rows * cols);
        let _ = device.curvature_adjoint(a.view(), b.view(), other.view(), block.view(), z.view_mut());
        let mut work = Device::<f64>::factorization(&device, rows, cols.max(1)).unwrap();
        let mut report = vec![Inversion { log_abs_det: 0.0, condition: 0.0 }; cols];
        let mut inverse = zeros(rows, rows * cols);
        let _ = device.invert_transposed(blocks.view_mut(), inverse.view_mut(), &mut work, &mut report);
    }
}

/// More threads than there are, or than anything has; only the order of sums may differ, D eps.
#[test]
fn any_number_of_threads_gives_the_same_gradient() {
    let net = |threads| Net::<f64> { device: Cpu::new(threads), ..Net::draw(Architecture::new(150, 2), 30, 1) };
    for way in [Way::Relative(Default::default()), Way::Transposed, Way::Ordinary] {
        let expected = net(1).gradient(way).unwrap();
        for threads in [0, 2, 3, 64, usize::MAX] {
            let error = net(threads).gradient(way).unwrap().error(&expected);
            assert!(error <= 1e-12, "{way:?} on {threads} threads: {error:e}");
        }
    }
}
