//! The operations of the CPU device, one at a time, at the shapes that a gradient gives them, and one gradient of every
//! method: f32, batches of 100.
//!
//! Throughput is in floating-point operations for what is bound by arithmetic (a multiply-add counts 2) and in numbers
//! of the result for elementwise work. `RELGRAD_BENCH_LARGE=1` adds D = 5000.

#![allow(missing_docs, reason = "criterion_group! makes a public function without documentation")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use relgrad_kernels::device::{Addend, Device, Inversion, Matrix};
use relgrad_kernels::evaluation::{Workload, prepare};
use relgrad_kernels::{Activation, Architecture, Cpu, Dtype, Init, Math, Method, cost, init};

type Block = Matrix<Cpu, f32>;

/// Samples in a batch, as in the paper.
const BATCH: usize = 100;

/// Numbers in a panel of D×D blocks: about what autodiff works on at a time.
const PANEL: usize = 1 << 21;

const ACTIVATION: Activation = Activation::SmoothLeaky { alpha: 0.3 };

#[allow(clippy::disallowed_methods, reason = "the benches of criterion have no arguments of their own")]
fn dims() -> Vec<usize> {
    let mut dims = vec![10, 100, 1000];
    if std::env::var_os("RELGRAD_BENCH_LARGE").is_some() {
        dims.push(5000);
    }
    dims
}

fn device() -> Cpu {
    Cpu::new(thread::available_parallelism().map_or(1, Into::into))
}

/// Seeded standard normals.
fn normals(rows: usize, cols: usize, seed: u64) -> Block {
    init::batch(&device(), rows, cols, seed).expect("memory for the benchmark")
}

fn zeros(rows: usize, cols: usize) -> Block {
    Matrix::zeros(&device(), rows, cols, "benchmark").expect("memory for the benchmark")
}

/// A D×D orthogonal weight.
fn weight(dim: usize) -> Block {
    let network = init::network(&device(), &Architecture::new(dim, 1), Init::Orthogonal, 1);
    let mut network = network.expect("memory for the benchmark");
    std::mem::replace(&mut network.arrays_mut().weights[0], zeros(0, 0))
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group
}

/// Times `work` at a D; `elements` are those of the throughput.
fn time(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, dim: usize, elements: usize, mut work: impl FnMut()) {
    group.throughput(Throughput::Elements(elements as u64));
    group.bench_function(BenchmarkId::new(name, dim), |bencher| bencher.iter(&mut work));
}

/// The three products of the relative gradient, in f32 and, where this CPU has it, in bf16.
fn products(criterion: &mut Criterion) {
    let mut group = group(criterion, "product");
    products_on(&mut group, &device(), "");
    if let Ok(device) = device().with_math(Math::Bf16) {
        products_on(&mut group, &device, ", bf16");
    }
}

/// W Z, Wᵀ\[Y | δ\], and δUᵀ onto each kind of addend.
fn products_on(group: &mut BenchmarkGroup<'_, WallTime>, device: &Cpu, math: &str) {
    for dim in dims() {
        let (w, z, pair) = (weight(dim), normals(dim, BATCH, 2), normals(dim, 2 * BATCH, 3));
        let (mut y, mut out, mut pulled) = (zeros(dim, BATCH), zeros(dim, dim), zeros(dim, 2 * BATCH));
        let flops = 2 * BATCH * dim * dim;
        time(group, &format!("forward{math}"), dim, flops, || {
            let (w, z) = (w.view().plain(), z.view().plain());
            device.multiply(1.0, black_box(w), z, Addend::Zero, y.view_mut()).unwrap();
        });
        for name in ["outer onto zero", "outer onto itself", "outer onto weight"] {
            time(group, &format!("{name}{math}"), dim, flops, || {
                let addend = match name {
                    "outer onto zero" => Addend::Zero,
                    "outer onto itself" => Addend::Scaled(0.5),
                    _ => Addend::Matrix(w.view()),
                };
                let delta = pair.view().columns(0, BATCH).plain();
                let u = pair.view().columns(BATCH, BATCH).transposed();
                device.multiply(0.01, black_box(delta), u, addend, out.view_mut()).unwrap();
            });
        }
        time(group, &format!("pull back two blocks{math}"), dim, 2 * flops, || {
            let (w, pair) = (w.view().transposed(), pair.view().plain());
            device.multiply(1.0, black_box(w), pair, Addend::Zero, pulled.view_mut()).unwrap();
        });
    }
}

/// The two elementwise passes of a nonlinear layer.
fn elementwise(criterion: &mut Criterion) {
    let device = device();
    let mut group = group(criterion, "elementwise");
    for dim in dims() {
        let (bias, v) = (zeros(dim, 1), normals(dim, BATCH, 4));
        let (mut y, mut out) = (normals(dim, BATCH, 5), zeros(dim, BATCH));
        time(&mut group, "bias_activate", dim, dim * BATCH, || {
            let bias = Some(black_box(bias.view()));
            device.bias_activate(ACTIVATION, bias, y.view_mut(), out.view_mut()).unwrap();
        });
        time(&mut group, "backward_error", dim, dim * BATCH, || {
            device.backward_error(ACTIVATION, black_box(v.view()), y.view(), out.view_mut()).unwrap();
        });
    }
}

/// W^{-T} of one weight; the copy that restores the overwritten factor is in the time, O(D²) beside O(D³).
fn inverse(criterion: &mut Criterion) {
    let device = device();
    let mut group = group(criterion, "inverse");
    for dim in dims() {
        let w = weight(dim);
        let (mut factors, mut out) = (zeros(dim, dim), zeros(dim, dim));
        let mut work = Device::<f32>::factorization(&device, dim, 1).unwrap();
        let mut report = [Inversion { log_abs_det: 0.0, condition: 0.0 }];
        time(&mut group, "invert_transposed", dim, 2 * dim * dim * dim, || {
            device.copy(black_box(w.view()), factors.view_mut()).unwrap();
            device.invert_transposed(factors.view_mut(), out.view_mut(), &mut work, &mut report).unwrap();
        });
    }
}

/// Work on panels of Jacobians, D×D blocks side by side; throughput in numbers of the panel.
fn panels(criterion: &mut Criterion) {
    let device = device();
    let mut group = group(criterion, "panel");
    for dim in dims() {
        let count = (PANEL / (dim * dim)).clamp(1, BATCH);
        let (w, a, b) = (weight(dim), normals(dim, dim * count, 6), normals(dim, dim * count, 7));
        let (slope, ratio) = (normals(dim, count, 8), normals(dim, count, 9));
        let (mut panel, mut adjoint, mut sum) = (zeros(dim, dim * count), zeros(dim, count), zeros(dim, dim));
        let numbers = dim * dim * count;
        time(&mut group, "scale_rows", dim, numbers, || {
            device.scale_rows(black_box(slope.view()), w.view(), panel.view_mut()).unwrap();
        });
        time(&mut group, "curvature_adjoint", dim, numbers, || {
            let (slope, ratio) = (black_box(slope.view()), ratio.view());
            // The destination is an addend too: from zero each time, or repeated scaling would end in denormals.
            device.fill(0.0, adjoint.view_mut()).unwrap();
            device.curvature_adjoint(slope, ratio, a.view(), b.view(), adjoint.view_mut()).unwrap();
        });
        time(&mut group, "add_blocks", dim, numbers, || {
            device.add_blocks(1e-3, black_box(a.view()), sum.view_mut()).unwrap();
        });
    }
}

/// One gradient of every method, two layers; throughput in floating-point operations of the cost model. Autodiff stops
/// at D = 100, where a gradient already takes as long as the others' at D = 1000.
fn gradients(criterion: &mut Criterion) {
    let mut group = group(criterion, "gradient");
    group.sample_size(10);
    for method in Method::ALL {
        let largest = if matches!(method, Method::Autodiff | Method::AutodiffStreamed) { 100 } else { 1000 };
        for dim in [10, 100, 1000].into_iter().filter(|&dim| dim <= largest) {
            let (architecture, init) = (Architecture::new(dim, 2), Init::Orthogonal);
            let (batch, dtype, threads, seed) = (BATCH, Dtype::F32, device().threads(), 1);
            let flops = cost(method, &architecture, BATCH, dtype).expect("a model of dense layers").flops;
            let workload = Workload { init, threads, seed, ..Workload::new(method, architecture, batch, dtype) };
            let mut evaluation = prepare(&workload).expect("memory for the benchmark");
            time(&mut group, method.name(), dim, flops as usize, || {
                evaluation.evaluate().expect("a finite gradient");
            });
        }
    }
}

/// Threads at a small D, on the machine as it is and next to a busy program on every core but one: two threads should
/// cost little more than one there.
/// Few samples at a D whose weights are larger than the second cache; throughput is that of the least traffic.
fn few_samples(criterion: &mut Criterion) {
    let mut group = group(criterion, "few-samples");
    group.sample_size(10);
    for method in [Method::Relative, Method::RelativeInPlace] {
        for batch in [1, 4, 10, 16, 32] {
            let (architecture, init) = (Architecture::new(1000, 2), Init::Orthogonal);
            let (dtype, threads, seed) = (Dtype::F32, device().threads(), 1);
            let bytes = cost(method, &architecture, batch, dtype).expect("a model of dense layers").min_traffic_bytes;
            let workload = Workload { init, threads, seed, ..Workload::new(method, architecture, batch, dtype) };
            let mut evaluation = prepare(&workload).expect("memory for the benchmark");
            time(&mut group, method.name(), batch, bytes as usize, || {
                evaluation.evaluate().expect("a finite gradient");
            });
        }
    }
}

fn neighbours(criterion: &mut Criterion) {
    for busy in [false, true] {
        let mut group = group(criterion, if busy { "next-to-busy" } else { "undisturbed" });
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 1..if busy { device().threads() } else { 1 } {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        black_box(());
                    }
                });
            }
            for (dim, threads) in [10, 50, 100, 200].into_iter().flat_map(|dim| [(dim, 1), (dim, device().threads())]) {
                let (method, dtype) = (Method::Relative, Dtype::F32);
                let (architecture, init) = (Architecture::new(dim, 2), Init::Orthogonal);
                let workload = Workload { init, threads, seed: 1, ..Workload::new(method, architecture, BATCH, dtype) };
                let mut evaluation = prepare(&workload).expect("memory for the benchmark");
                let name = format!("relative, threads {threads}");
                time(&mut group, &name, dim, 1, || evaluation.evaluate().expect("a finite gradient"));
            }
            ended.store(true, Ordering::Relaxed);
        });
    }
}

criterion_group!(operations, products, elementwise, inverse, panels, gradients, few_samples, neighbours);
criterion_main!(operations);
