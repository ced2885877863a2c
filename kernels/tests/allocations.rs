//! What one evaluation allocates after a warm-up. A binary and a test of its own: the allocator counts for the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use relgrad_kernels::backend::BiasMode;
use relgrad_kernels::bound::bind;
use relgrad_kernels::evaluation::{Workload, prepare};
use relgrad_kernels::optimizer::{Adam, Moments, Preconditioner, Sharpness, equivariant};
use relgrad_kernels::parameters::{Gradient, Parameters};
use relgrad_kernels::{Architecture, Convolution, Cpu, Dense, Dtype, Init, Method, init};

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method hands its arguments to `System` unchanged; counting touches no memory of the caller. The trait's
// other methods go through these.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Evaluations counted together, so that something allocated only now and then shows too.
const EVALUATIONS: usize = 3;

/// Windows of [`EVALUATIONS`]; the first ones are the warm-up.
const WINDOWS: usize = 6;

/// The fewest bytes that [`EVALUATIONS`] evaluations in a row allocate.
///
/// What an evaluation itself allocates shows in every window. What happens once does not: the packing buffer that the
/// matrix product keeps for each thread from its first product on, a queue of rayon that grows.
fn fewest_bytes(workload: &Workload) -> usize {
    let mut evaluation = prepare(workload).unwrap();
    let window = |_| {
        let before = BYTES.load(Ordering::SeqCst);
        for _ in 0..EVALUATIONS {
            evaluation.evaluate().unwrap();
        }
        BYTES.load(Ordering::SeqCst) - before
    };
    (0..WINDOWS).map(window).min().unwrap()
}

/// Grids of either dimension, of even and prime length (whose transforms take scratch of another kind), and 1×1
/// kernels.
fn convolutions(threads: usize) -> Vec<Workload> {
    let of = |method, channels, grid, kernel, batch, dtype| {
        let architecture =
            Architecture { bias: true, ..Architecture::convolutional(Convolution { channels, grid, kernel }, 2) };
        Workload { init: Init::Orthogonal, threads, seed: 1, ..Workload::new(method, architecture, batch, dtype) }
    };
    let mut workloads = vec![
        of(Method::Ordinary, 3, [16, 12], [3, 3], 20, Dtype::F32),
        of(Method::Autodiff, 2, [1, 24], [1, 24], 3, Dtype::F64),
        of(Method::AutodiffStreamed, 2, [4, 4], [2, 2], 3, Dtype::F32),
    ];
    for method in [Method::Relative, Method::Ordinary] {
        for (channels, grid) in [(4, [1, 512]), (2, [1, 509]), (9, [12, 10]), (3, [7, 5])] {
            workloads.push(of(method, channels, grid, grid, 20, Dtype::F32));
            workloads.push(of(method, channels, grid, grid, 20, Dtype::F64));
        }
        workloads.push(of(method, 5, [8, 8], [1, 1], 20, Dtype::F32));
    }
    workloads
}

/// The fewest bytes that an estimate of the sharpness allocates.
fn fewest_bytes_of_estimate(threads: usize) -> usize {
    let device = Cpu::new(threads);
    let architecture = Architecture { bias: true, ..Architecture::new(64, 3) };
    let parameters = init::network::<_, f32, Dense>(&device, &architecture, Init::Orthogonal, 1).unwrap();
    let x = init::batch(&device, 64, 20, 1).unwrap();
    let mut backend = bind(&device, Method::Relative, BiasMode::Exact, &architecture, 20).unwrap();
    let mut scratch = Gradient::zeros(&device, &architecture, "direction").unwrap();
    let mut sharpness = Sharpness::new(&device, &parameters).unwrap();
    let mut direction =
        |at: &Parameters<Cpu, f32>, out: &mut Gradient<Cpu, f32>| backend.gradient(&device, at, x.view(), out);
    let window = |_| {
        let before = BYTES.load(Ordering::SeqCst);
        let plain = &Preconditioner::Identity;
        sharpness.estimate(&device, &parameters, plain, &mut scratch, &mut direction, EVALUATIONS).unwrap();
        BYTES.load(Ordering::SeqCst) - before
    };
    (0..WINDOWS).map(window).min().unwrap()
}

/// The fewest bytes that steps of Adam in relative coordinates and estimates of their sharpness allocate.
fn fewest_bytes_of_equivariant_steps(threads: usize) -> usize {
    let device = Cpu::new(threads);
    let architecture = Architecture { bias: true, ..Architecture::new(64, 3) };
    let mut parameters = init::network::<_, f32, Dense>(&device, &architecture, Init::Orthogonal, 1).unwrap();
    let x = init::batch(&device, 64, 20, 1).unwrap();
    let mut steps = equivariant(&device, &architecture, 20).unwrap();
    let mut moments = Moments::zeros(&device, &architecture).unwrap();
    let mut scratch = Gradient::zeros(&device, &architecture, "direction").unwrap();
    let mut sharpness = Sharpness::new(&device, &parameters).unwrap();
    let window = |_| {
        let before = BYTES.load(Ordering::SeqCst);
        for _ in 0..EVALUATIONS {
            let adam = (&Adam::default(), &mut moments);
            steps.step(&device, &mut parameters, x.view().into(), 1e-3, adam).unwrap();
        }
        let mut direction = |at: &Parameters<Cpu, f32>, out: &mut Gradient<Cpu, f32>| {
            steps.coordinates(&device, at, x.view().into(), out)
        };
        let by = &Preconditioner::Coordinates(Adam::default(), &moments);
        sharpness.estimate(&device, &parameters, by, &mut scratch, &mut direction, EVALUATIONS).unwrap();
        BYTES.load(Ordering::SeqCst) - before
    };
    (0..WINDOWS).map(window).min().unwrap()
}

/// From inside a pool: a job sent in from outside costs rayon memory for its queue.
#[test]
fn an_evaluation_allocates_nothing() {
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for method in Method::ALL {
            for (dim, bias, dtype) in [
                (64, false, Dtype::F32),
                (64, true, Dtype::F32),
                (64, true, Dtype::F64),
                (200, true, Dtype::F32),
                (300, true, Dtype::F64),
            ] {
                let architecture = Architecture { bias, ..Architecture::new(dim, 3) };
                let batch = if dim > 64
                    && matches!(method, Method::Autodiff | Method::AutodiffReverse | Method::AutodiffStreamed)
                {
                    3
                } else {
                    20
                };
                let workload = Workload {
                    init: Init::Orthogonal,
                    threads,
                    seed: 1,
                    ..Workload::new(method, architecture, batch, dtype)
                };
                let bytes = pool.install(|| fewest_bytes(&workload));
                assert_eq!(bytes, 0, "{workload:?}");
            }
        }
        assert_eq!(pool.install(|| fewest_bytes_of_estimate(threads)), 0, "estimate of the sharpness");
        assert_eq!(pool.install(|| fewest_bytes_of_equivariant_steps(threads)), 0, "steps in relative coordinates");
        for workload in convolutions(threads) {
            let bytes = pool.install(|| fewest_bytes(&workload));
            assert_eq!(bytes, 0, "{workload:?}");
        }
    }
}
