//! Batches of few samples take passes of their own over large weights: the directions are those of the many-sample
//! products.

use relgrad_kernels::backend::{BiasMode, GradientBackend, Relative};
use relgrad_kernels::device::Matrix;
use relgrad_kernels::evaluation::{self, Workload};
use relgrad_kernels::parameters::Gradient;
use relgrad_kernels::step::{InPlaceStep, LogDets};
use relgrad_kernels::{Activation, Architecture, Cpu, Dtype, Error, Init, Method, Scalar, init};

/// On both sides of the least weight, and no multiple of any tile.
const DIMS: [usize; 3] = [255, 256, 389];

fn architecture(dim: usize) -> Architecture {
    let activation = Activation::TanhLinear { alpha: 1.0, beta: 0.1 };
    Architecture { activation, bias: true, ..Architecture::new(dim, 3) }
}

#[test]
fn every_method_passes_its_check_at_few_samples() {
    for dtype in [Dtype::F32, Dtype::F64] {
        for dim in DIMS {
            for batch in [1, 2, 3, 8, 9, 16, 17, 24, 25] {
                for method in [Method::Relative, Method::RelativeInPlace, Method::Transposed, Method::Ordinary] {
                    let architecture = architecture(dim);
                    let init = Init::Orthogonal;
                    let workload = Workload { init, threads: 2, ..Workload::new(method, architecture, batch, dtype) };
                    let check = evaluation::prepare(&workload).unwrap().check().unwrap();
                    assert!(check.passed(), "{method}, D = {dim}, N = {batch}, {dtype}: {check:?}");
                }
            }
        }
    }
}

/// A batch whose samples are all the same has the mean of one sample, whichever way it is computed: 30 samples go
/// through products, one through passes.
fn one_sample_is_many_alike<T: Scalar>(tolerance: f64) {
    let device = Cpu::new(2);
    let architecture = architecture(300);
    let parameters = init::network::<_, T, _>(&device, &architecture, Init::Orthogonal, 1).unwrap();
    let one: Vec<T> = init::batch::<_, T>(&device, 300, 1, 2).unwrap().to_column_major(&device).unwrap();
    for bias_mode in BiasMode::ALL {
        let gradient = |samples: usize| {
            let x = Matrix::from_column_major(&device, &one.repeat(samples), 300, samples, "batch").unwrap();
            let backend = Relative { bias_mode };
            let mut work = backend.workspace(&device, &architecture, samples).unwrap();
            let mut out = Gradient::<Cpu, T>::zeros(&device, &architecture, "gradient").unwrap();
            backend.gradient(&device, &parameters, x.view(), &mut work, &mut out).unwrap();
            let arrays = out.weights.iter().chain(&out.biases);
            arrays.flat_map(|m| m.to_column_major(&device).unwrap()).map(Scalar::widen).collect::<Vec<f64>>()
        };
        let (few, many) = (gradient(1), gradient(30));
        let scale = many.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        for (few, many) in few.iter().zip(&many) {
            assert!((few - many).abs() <= tolerance * scale, "{bias_mode}: {few} and {many}");
        }
    }
}

#[test]
fn one_sample_is_many_samples_that_are_alike() {
    one_sample_is_many_alike::<f32>(1e-5);
    one_sample_is_many_alike::<f64>(1e-13);
}

#[test]
fn a_direction_that_may_overflow_is_an_error_at_few_samples_too() {
    let device = Cpu::new(2);
    let architecture = Architecture::new(300, 1);
    let mut parameters = init::network::<_, f32, _>(&device, &architecture, Init::Orthogonal, 1).unwrap();
    let x = Matrix::from_column_major(&device, &vec![9e18_f32; 300 * 2], 300, 2, "batch").unwrap();
    let step = InPlaceStep { guard: false, ..InPlaceStep::default() };
    let mut work = step.workspace(&device, &architecture, 2).unwrap();
    let mut log_dets = LogDets::new(&device, &parameters, 2).unwrap();
    let before = log_dets.per_layer().to_vec();
    let error = step.step(&device, &mut parameters, x.view(), 1e-6, &mut work, Some(&mut log_dets)).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    assert_eq!(log_dets.per_layer(), before, "no step, no change of the determinant");
}
