//! Every method, in both precisions, against computations that share no code with it.

use relgrad_kernels::agreement::{self, workload};
use relgrad_kernels::evaluation::{Evaluation, Workload, prepare, prepare_in, prepare_on_gpu};
use relgrad_kernels::{
    Architecture, Base, Convolution, Cpu, Cuda, DeviceKind, Dtype, Error, Init, Math, Method, Result,
};

/// Sizes on both sides of the blocks of vectors, tiles and chunks, and of the switch from the reference to the probe.
const DIMS: [usize; 12] = [1, 2, 3, 15, 16, 17, 31, 33, 64, 127, 129, 257];

/// Sizes for a GPU: odd ones around its tiles, and those on either side of the switch from small to panelled LU.
const GPU_DIMS: [usize; 8] = [1, 31, 33, 127, 160, 161, 257, 1000];

fn assert_passes(workload: &Workload) {
    assert_passes_on(prepare, workload);
}

/// The gradient passes its check; so does the one that the device replays from a recording, if it can record.
fn assert_passes_on(prepare: impl Fn(&Workload) -> Result<Box<dyn Evaluation>>, workload: &Workload) {
    let mut evaluation = prepare(workload).unwrap();
    let check = evaluation.check().unwrap();
    assert!(check.passed(), "{workload:?}: {check:?}");
    if evaluation.record().unwrap() {
        let check = evaluation.check().unwrap();
        assert!(check.passed(), "{workload:?}, recorded: {check:?}");
    }
}

#[test]
fn every_method_agrees_at_every_size() {
    for dtype in Dtype::ALL {
        agreement::sizes(&DIMS, dtype).iter().for_each(assert_passes);
    }
}

#[test]
fn every_method_agrees_for_every_architecture() {
    agreement::architectures(Dtype::F64).iter().for_each(assert_passes);
}

#[test]
fn every_method_agrees_where_weights_are_not_orthogonal() {
    agreement::ill_conditioned(&[1, 2, 9, 33, 100, 130, 257]).iter().for_each(assert_passes);
}

/// Circular layers: every method that a kernel has a form for, at sizes for the reference and for the probe.
#[test]
fn every_method_agrees_for_convolutions() {
    let kernels =
        [([1, 6], [1, 6]), ([1, 6], [1, 3]), ([1, 90], [1, 90]), ([9, 10], [3, 4]), ([7, 3], [1, 1]), ([9, 9], [1, 1])];
    for (grid, kernel) in kernels {
        let convolution = Convolution { channels: 2, grid, kernel };
        for (method, bias, dtype) in Method::ALL.into_iter().flat_map(|method| {
            Dtype::ALL.into_iter().flat_map(move |dtype| [(method, false, dtype), (method, true, dtype)])
        }) {
            let architecture = Architecture { bias, ..Architecture::convolutional(convolution, 3) };
            let workload = Workload { architecture, ..workload(method, 1, dtype) };
            match prepare(&workload) {
                Err(Error::ShapeMismatch { .. }) if method.needs_dense() || kernel != grid && kernel != [1, 1] => {}
                _ => assert_passes(&workload),
            }
        }
    }
}

/// bf16 products of f32 numbers, with batches for products and for the passes of few samples. Sizes on both sides of
/// its blocks and of odd depth; the errors are those of bf16, and not of more.
#[test]
#[allow(clippy::disallowed_macros, reason = "a test that is skipped says so")]
fn every_method_agrees_in_bf16() {
    if let Err(error) = Cpu::new(1).with_math(Math::Bf16) {
        assert_eq!(error, Error::NoArithmetic { math: Math::Bf16, requirement: Cpu::OF_BF16 });
        return eprintln!("skipped: {error}");
    }
    // The score of a Laplace density has a step at 0, to either side of which rounding moves a latent.
    let is_smooth = |workload: &Workload| workload.architecture.base != Base::Laplace;
    let mut workloads = agreement::sizes(&DIMS, Dtype::F32);
    workloads.extend(agreement::architectures(Dtype::F32).into_iter().filter(is_smooth));
    for workload in workloads {
        for batch in [10, 33] {
            assert_passes_on(|workload| prepare_in(Math::Bf16, workload), &Workload { batch, ..workload });
        }
    }
    let error = |math| {
        let mut evaluation = prepare_in(math, &Workload { batch: 100, ..workload(Method::Relative, 300, Dtype::F32) });
        evaluation.as_mut().unwrap().check().unwrap().max_rel_err
    };
    let (f32, bf16) = (error(Math::F32), error(Math::Bf16));
    assert!(bf16 > 100.0 * f32 && bf16 > 1e-4, "{bf16:e} in bf16, {f32:e} in f32");
}

/// An arithmetic that the device does not have is refused, and so are layers that it does not reach.
#[test]
fn what_cannot_be_multiplied_so_is_refused() {
    let refused = |result: Result<Box<dyn Evaluation>>| result.err().unwrap().to_string();
    let dense = workload(Method::Relative, 8, Dtype::F32);
    assert_eq!(refused(prepare_in(Math::Tf32, &dense)), "tf32 products require an NVIDIA GPU");
    let convolution = Convolution { channels: 2, grid: [2, 2], kernel: [2, 2] };
    let architecture = Architecture::convolutional(convolution, 2);
    let told = refused(prepare_in(Math::Bf16, &Workload { architecture, ..dense }));
    assert!(told.contains("layers in this arithmetic: expected dense ones"), "{told}");
    let told = Cuda::new(0, Math::Bf16).err().unwrap().to_string();
    assert_eq!(told, "bf16 products require a CPU; on a GPU use tf32");
}

/// The same bodies on a GPU, in each of its arithmetics.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn every_method_agrees_on_a_gpu() {
    for math in Math::ALL.into_iter().filter(|math| math.is_known_to(DeviceKind::Cuda)) {
        let cuda = Cuda::new(0, math).unwrap();
        let on_gpu = |workload: &Workload| prepare_on_gpu(cuda.clone(), workload);
        let mut workloads = agreement::sizes(&GPU_DIMS, math.dtype());
        if math == Math::F64 {
            workloads.extend(agreement::architectures(Dtype::F64));
            workloads.extend(agreement::ill_conditioned(&GPU_DIMS));
        }
        workloads.retain(|workload| !workload.method.needs_cpu());
        workloads.iter().for_each(|workload| assert_passes_on(on_gpu, workload));
    }
}

/// Batches of one, of fewer than a chunk, and with a remainder after the last whole chunk; one thread and several.
#[test]
fn every_method_agrees_for_every_batch_and_thread_count() {
    for method in Method::ALL {
        for (dim, batch) in [(5, 1), (40, 3), (40, 101), (600, 11)] {
            for threads in [1, 2, 3] {
                assert_passes(&Workload { batch, threads, ..workload(method, dim, Dtype::F64) });
            }
        }
    }
}

/// The checks themselves: a gradient that is off by a factor, or in one entry of one array, does not pass.
#[test]
fn a_wrong_gradient_is_noticed() {
    use relgrad_kernels::backend::{GradientBackend, Ordinary, Relative, Transposed};
    use relgrad_kernels::check::{Kind, gradient};
    use relgrad_kernels::parameters::Gradient;
    use relgrad_kernels::{Cpu, init};

    fn broken<B: GradientBackend<Cpu, f64>>(backend: &B, kind: Kind, dim: usize, layer: usize, bias: bool) {
        let device = Cpu::new(1);
        let architecture = Architecture { bias: true, ..Architecture::new(dim, 3) };
        let parameters = init::network(&device, &architecture, Init::Orthogonal, 3).unwrap();
        let x = init::batch(&device, dim, 8, 3).unwrap();
        let mut out = Gradient::zeros(&device, &architecture, "gradient").unwrap();
        let mut workspace = backend.workspace(&device, &architecture, 8).unwrap();
        backend.gradient(&device, &parameters, x.view(), &mut workspace, &mut out).unwrap();
        assert!(gradient(&device, kind, &parameters, &x, &out).unwrap().passed());
        let array = if bias { &mut out.biases[layer] } else { &mut out.weights[layer] };
        let slice = array.view_mut().into_slice();
        slice[slice.len() / 2] += 0.01;
        let check = gradient(&device, kind, &parameters, &x, &out).unwrap();
        assert!(!check.passed(), "{kind:?}, D = {dim}, layer {layer}: {check:?}");
    }

    for dim in [20, 200] {
        for layer in 0..3 {
            for bias in [false, true] {
                broken(&Relative::default(), Kind::Relative, dim, layer, bias);
                broken(&Transposed, Kind::Transposed, dim, layer, bias);
                broken(&Ordinary, Kind::Ordinary, dim, layer, bias);
            }
        }
    }
}
