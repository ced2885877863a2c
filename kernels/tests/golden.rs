//! The committed golden vectors, through every backend, in f64 and f32.
//!
//! How to compare, and the tolerances, are those of the files: norm-wise per array, worst over the layers.

use std::path::Path;

use relgrad_kernels::backend::autodiff::Jacobians;
use relgrad_kernels::backend::{Autodiff, BiasMode, GradientBackend, Ordinary, Relative, Transposed};
use relgrad_kernels::check::relative_error;
use relgrad_kernels::device::Matrix;
use relgrad_kernels::inversion::Inverter;
use relgrad_kernels::likelihood::Evaluator;
use relgrad_kernels::parameters::{Arrays, Gradient, Parameters};
use relgrad_kernels::{Activation, Architecture, Base, Cpu, Dtype, Scalar};
use serde_json::Value;

struct Golden<T: Scalar> {
    id: String,
    file: Value,
    device: Cpu,
    parameters: Parameters<Cpu, T>,
    x: Matrix<Cpu, T>,
}

/// A row-major array of the file as column-major numbers of a D×N matrix.
fn column_major(array: &Value) -> (usize, usize, Vec<f64>) {
    let shape: Vec<usize> =
        array["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let data: Vec<f64> = array["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let (rows, cols) = (shape[0], shape.get(1).copied().unwrap_or(1));
    let transposed = (0..rows * cols).map(|i| data[(i % rows) * cols + i / rows]).collect();
    (rows, cols, transposed)
}

fn matrix<T: Scalar>(device: &Cpu, array: &Value) -> Matrix<Cpu, T> {
    let (rows, cols, data) = column_major(array);
    let data: Vec<T> = data.into_iter().map(T::of).collect();
    Matrix::from_column_major(device, &data, rows, cols, "golden array").unwrap()
}

impl<T: Scalar> Golden<T> {
    fn read(path: &Path) -> Option<Self> {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let config = &file["config"];
        if file["kind"] != "dense" || !config["conditional"].is_null() {
            return None;
        }
        let number = |value: &Value| value.as_f64().unwrap();
        let sigma = &config["nonlinearity"];
        let activation = match sigma["name"].as_str().unwrap() {
            "s_L" => Activation::SmoothLeaky { alpha: number(&sigma["alpha"]) },
            _ => Activation::TanhLinear { alpha: number(&sigma["alpha"]), beta: number(&sigma["beta"]) },
        };
        let architecture = Architecture {
            activation,
            last_nonlinear: config["last_nonlinear"].as_bool().unwrap(),
            bias: config["bias"].as_bool().unwrap(),
            base: config["base"].as_str().unwrap().parse::<Base>().unwrap(),
            ..Architecture::new(
                config["D"].as_u64().unwrap() as usize,
                config["L"].as_u64().unwrap() as usize,
            )
        };
        let device = Cpu::new(2);
        let list = |value: &Value| {
            value
                .as_array()
                .into_iter()
                .flatten()
                .map(|a| matrix(&device, a))
                .collect::<Vec<Matrix<Cpu, T>>>()
        };
        let arrays = Arrays { weights: list(&file["inputs"]["W"]), biases: list(&file["inputs"]["b"]) };
        let parameters = Parameters::new(architecture, arrays).unwrap();
        let x = matrix(&device, &file["inputs"]["X"]);
        Some(Self { id: file["id"].as_str().unwrap().to_owned(), file, device, parameters, x })
    }

    /// The tolerance of a group; `None` where this precision cannot be expected to work.
    fn tolerance(&self, group: &str, autodiff: bool) -> Option<f64> {
        let tol = &self.file["tol"];
        let of = |key: &str| tol[key][group].as_f64();
        match (T::DTYPE, autodiff) {
            (Dtype::F64, false) => of("f64"),
            (Dtype::F64, true) => of("f64_autodiff"),
            (Dtype::F32, false) => of("f32"),
            // The file has none: what conditioning costs autodiff in f64 it costs in f32 too.
            (Dtype::F32, true) => {
                let loss = (of("f64_autodiff")? / of("f64")?).max(1.0);
                of("f32").map(|tol| tol * loss).filter(|&tol| tol < 1.0)
            }
        }
    }

    fn assert_close(&self, what: &str, group: &str, autodiff: bool, ours: &[f64], theirs: &[f64]) {
        assert_eq!(ours.len(), theirs.len(), "{} {what}", self.id);
        let Some(tolerance) = self.tolerance(group, autodiff) else { return };
        let error = relative_error(ours.iter().copied(), theirs.iter().copied());
        assert!(error <= tolerance, "{} {} {what}: {error:.1e} > {tolerance:.0e}", self.id, T::DTYPE);
    }

    fn assert_gradient(&self, what: &str, autodiff: bool, gradient: &Gradient<Cpu, T>, adjust: Adjust) {
        let (group, bias_from) = match adjust {
            Adjust::None(group) => (group, group),
            Adjust::LessBias => ("relative", "relative"),
            Adjust::Plain => ("relative", "ordinary"),
        };
        for (k, weight) in gradient.weights.iter().enumerate() {
            // ΔW of the plain mode is G WᵀW, which the file has only for networks without biases.
            if matches!(adjust, Adjust::Plain) && !gradient.biases.is_empty() {
                continue;
            }
            let (.., theirs) = column_major(&self.file["outputs"][group]["dW"][k]);
            self.assert_close(
                &format!("{what} dW[{k}]"),
                group,
                autodiff,
                &wide(&self.device, weight),
                &theirs,
            );
        }
        for (k, bias) in gradient.biases.iter().enumerate() {
            let (.., mut theirs) = column_major(&self.file["outputs"][bias_from]["db"][k]);
            if matches!(adjust, Adjust::LessBias) {
                let (.., b) = column_major(&self.file["inputs"]["b"][k]);
                theirs.iter_mut().zip(b).for_each(|(t, b)| *t -= b);
            }
            self.assert_close(
                &format!("{what} db[{k}]"),
                bias_from,
                autodiff,
                &wide(&self.device, bias),
                &theirs,
            );
        }
    }

    fn gradient<B: GradientBackend<Cpu, T>>(
        &self,
        backend: &B,
    ) -> Result<Gradient<Cpu, T>, relgrad_kernels::Error> {
        let architecture = self.parameters.architecture();
        let mut out = Gradient::zeros(&self.device, architecture, "gradient")?;
        let mut workspace = backend.workspace(&self.device, architecture, self.x.cols())?;
        backend.gradient(&self.device, &self.parameters, self.x.view(), &mut workspace, &mut out)?;
        Ok(out)
    }

    fn check_gradients(&self) {
        let relative = |bias_mode| self.gradient(&Relative { bias_mode }).unwrap();
        self.assert_gradient("relative", false, &relative(BiasMode::Exact), Adjust::None("relative"));
        self.assert_gradient("relative paper", false, &relative(BiasMode::Paper), Adjust::LessBias);
        self.assert_gradient("relative plain", false, &relative(BiasMode::Plain), Adjust::Plain);
        let transposed = self.gradient(&Transposed).unwrap();
        self.assert_gradient("transposed", false, &transposed, Adjust::None("transposed"));
        self.assert_inverting("ordinary", false, self.gradient(&Ordinary));
        for jacobians in [Jacobians::Batched, Jacobians::Streamed] {
            self.assert_inverting("autodiff", true, self.gradient(&Autodiff { jacobians }));
        }
    }

    /// A gradient that needs an inverse: where the file expects nothing of this precision, an error is right too.
    fn assert_inverting(
        &self,
        what: &str,
        autodiff: bool,
        gradient: Result<Gradient<Cpu, T>, relgrad_kernels::Error>,
    ) {
        match gradient {
            Ok(gradient) => self.assert_gradient(what, autodiff, &gradient, Adjust::None("ordinary")),
            Err(error) => assert!(self.tolerance("ordinary", autodiff).is_none(), "{}: {error}", self.id),
        }
    }

    fn check_likelihood_and_inverse(&self) {
        let outputs = &self.file["outputs"];
        let architecture = *self.parameters.architecture();
        let mut evaluator = Evaluator::new(&self.device, &architecture, self.x.cols()).unwrap();
        let likelihood = evaluator.log_likelihood(&self.device, &self.parameters, self.x.view()).unwrap();
        let expected = |name: &str| column_major(&outputs["loglik"][name]).2;
        self.assert_close("loglik", "loglik", false, &likelihood.per_sample(), &expected("per_sample"));
        self.assert_close("Lp", "parts", false, &likelihood.lp, &expected("Lp"));
        self.assert_close("L1J", "parts", false, &likelihood.l1j, &expected("L1J"));
        self.assert_close("L2J", "parts", false, &likelihood.l2j_per_layer, &expected("L2J_per_layer"));
        let mean = outputs["loglik"]["mean"].as_f64().unwrap();
        self.assert_close("mean", "loglik", false, &[likelihood.mean()], &[mean]);
        let Some(tolerance) = self.tolerance("inverse", false) else { return };
        let inverter = Inverter::new(&self.device, &self.parameters).unwrap();
        let (.., s) = column_major(&outputs["inverse"]["S"]);
        let mut x: Vec<T> = s.into_iter().map(T::of).collect();
        inverter.invert(&mut x).unwrap();
        let x: Vec<f64> = x.into_iter().map(Scalar::widen).collect();
        let error = relative_error(x, column_major(&outputs["inverse"]["X"]).2);
        assert!(error <= tolerance, "{} inverse: {error:.1e} > {tolerance:.0e}", self.id);
    }
}

/// How the expected gradient follows from the file.
#[derive(Clone, Copy)]
enum Adjust {
    None(&'static str),
    LessBias,
    Plain,
}

fn wide<T: Scalar>(device: &Cpu, matrix: &Matrix<Cpu, T>) -> Vec<f64> {
    matrix.to_column_major(device).unwrap().into_iter().map(Scalar::widen).collect()
}

fn run<T: Scalar>() -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let cases: Vec<Golden<T>> = paths.iter().filter_map(|path| Golden::read(path)).collect();
    for golden in &cases {
        golden.check_gradients();
        golden.check_likelihood_and_inverse();
    }
    cases.len()
}

#[test]
fn f64_agrees_with_every_committed_file() {
    assert_eq!(run::<f64>(), 19);
}

#[test]
fn f32_agrees_with_every_committed_file() {
    assert_eq!(run::<f32>(), 19);
}
