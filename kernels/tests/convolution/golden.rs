//! The committed golden file of a network of convolutions.

use std::path::Path;

use nalgebra::DMatrix;
use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::check::relative_error;
use relgrad_kernels::convolution::{Evaluator, Spectral};
use relgrad_kernels::{Activation, Architecture, Convolution};
use serde_json::Value;

use crate::support::*;

fn numbers(array: &Value) -> Vec<f64> {
    array["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// A row-major D×N array.
fn matrix(array: &Value) -> DMatrix<f64> {
    let size = |axis: usize| array["shape"][axis].as_u64().unwrap() as usize;
    DMatrix::from_row_slice(size(0), size(1), &numbers(array))
}

/// K as (out, in, τ) to columns by input channel, and biases.
fn host(kernels: &Value, biases: &Value, convolution: &Convolution) -> Host {
    let (c, n) = (convolution.channels, convolution.points());
    let kernel = |array: &Value| {
        let data = numbers(array);
        (0..c * c * n).map(|at| data[((at / n % c) * c + at / n / c) * n + at % n]).collect()
    };
    let list = |value: &Value| value.as_array().unwrap().clone();
    Host {
        kernels: list(kernels).iter().map(kernel).collect(),
        biases: list(biases).iter().map(numbers).collect(),
    }
}

/// The file has tolerances for f64 only; f32 is 1e-5 at best, by the rule that made the others.
fn agrees<T: Spectral>() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/p28_conv1d.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (config, inputs, outputs) = (&file["config"], &file["inputs"], &file["outputs"]);
    let grid = [0, 1].map(|axis| config["conv"]["grid"][axis].as_u64().unwrap() as usize);
    let convolution = Convolution::full(config["conv"]["channels"].as_u64().unwrap() as usize, grid);
    let architecture = Architecture {
        activation: Activation::SmoothLeaky { alpha: config["nonlinearity"]["alpha"].as_f64().unwrap() },
        bias: true,
        ..Architecture::convolutional(convolution, config["L"].as_u64().unwrap() as usize)
    };
    let net = Net::<T>::from_host(
        architecture,
        &host(&inputs["K"], &inputs["b"], &convolution),
        &matrix(&inputs["X"]),
    );
    let tolerance = |group: &str| per_dtype::<T>(file["tol"]["f64"][group].as_f64().unwrap(), 2e-5);
    let likelihood = net.log_likelihood().unwrap();
    let close = |what: &str, group: &str, ours: &[f64], theirs: &[f64]| {
        assert_eq!(ours.len(), theirs.len(), "{what}");
        let error = relative_error(ours.iter().copied(), theirs.iter().copied());
        assert!(error <= tolerance(group), "{what} in {}: {error:e}", T::DTYPE);
    };
    let loglik = &outputs["loglik"];
    close("ℓ", "loglik", &likelihood.per_sample(), &numbers(&loglik["per_sample"]));
    close("Lp", "parts", &likelihood.lp, &numbers(&loglik["Lp"]));
    close("L1J", "parts", &likelihood.l1j, &numbers(&loglik["L1J"]));
    close("L2J", "parts", &likelihood.l2j_per_layer, &numbers(&loglik["L2J_per_layer"]));

    let mut evaluator = Evaluator::new(&net.device, &architecture, net.x.cols()).unwrap();
    let errors = evaluator.backward_errors(&net.device, &net.parameters, net.x.view()).unwrap();
    for (ours, theirs) in errors.iter().zip(outputs["delta"].as_array().unwrap()) {
        let ours: Vec<f64> = ours.iter().map(|x| x.widen()).collect();
        close("δ", "delta", &ours, matrix(theirs).as_slice());
    }
    let autodiff = [Jacobians::Batched, Jacobians::Streamed].map(Way::Autodiff);
    for (way, group) in [(Way::Relative, "relative"), (Way::Ordinary, "ordinary")]
        .into_iter()
        .chain(autodiff.map(|way| (way, "ordinary")))
    {
        let expected = host(&outputs[group]["dK"], &outputs[group]["db"], &convolution);
        let error = net.gradient(way).unwrap().error(&expected);
        assert!(error <= tolerance(group), "{way:?} in {}: {error:e}", T::DTYPE);
    }
}

#[test]
fn f64_agrees_with_the_committed_file() {
    agrees::<f64>();
}

#[test]
fn f32_agrees_with_the_committed_file() {
    agrees::<f32>();
}
