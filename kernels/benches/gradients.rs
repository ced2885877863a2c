//! One gradient of every method: f32, batches of 100, two layers; throughput in floating-point operations of the cost
//! model. Autodiff stops at D = 100, where a gradient already takes as long as the others' at D = 1000.

#![allow(missing_docs, reason = "criterion_group! makes a public function without documentation")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use relgrad_kernels::evaluation::{Workload, prepare};
use relgrad_kernels::{Architecture, Dtype, Init, Method, cost};

/// Samples in a batch, as in the paper.
const BATCH: usize = 100;

fn largest_dim(method: Method) -> usize {
    match method {
        Method::Autodiff | Method::AutodiffStreamed => 100,
        Method::Relative | Method::Transposed | Method::Ordinary | Method::RelativeInPlace => 1000,
    }
}

fn gradients(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gradient");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for method in Method::ALL {
        for dim in [10, 100, 1000].into_iter().filter(|&dim| dim <= largest_dim(method)) {
            let workload = Workload {
                method,
                architecture: Architecture::new(dim, 2).into(),
                init: Init::Orthogonal,
                batch: BATCH,
                dtype: Dtype::F32,
                threads: std::thread::available_parallelism().map_or(1, Into::into),
                seed: 1,
            };
            let mut evaluation = prepare(&workload).expect("memory for the benchmark");
            let flops = cost(method, &workload.architecture, BATCH, Dtype::F32).expect("a model of dense layers").flops;
            group.throughput(Throughput::Elements(flops as u64));
            group.bench_function(BenchmarkId::new(method.name(), dim), |bencher| {
                bencher.iter(|| evaluation.evaluate().expect("a finite gradient"));
            });
        }
    }
}

criterion_group!(benches, gradients);
criterion_main!(benches);
