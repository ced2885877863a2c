//! What a rank takes, against its bound [M90], and what a step allocates. A binary and a test of its own: the allocator
//! counts for the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use relgrad_kernels::ranks::{ColumnBlock, ColumnWorkspace, Threads, Transport, cost_of_columns, on_threads};
use relgrad_kernels::step::InPlaceStep;
use relgrad_kernels::{Architecture, Cpu, Dtype, Init, init};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method hands its arguments to `System` unchanged; counting touches no memory of the caller. The trait's
// other methods go through these.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        TAKEN.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory of a rank over its bound, at most.
const MOST: f64 = 1.05;

#[test]
fn a_rank_takes_its_bound_and_a_step_allocates_nothing() {
    let device = Cpu::new(1);
    // The pool of threads that draws weights takes its memory once.
    ColumnBlock::<Cpu, f32>::draw(&device, &Architecture::new(8, 1), (Init::Orthogonal, 0), (1, 0)).unwrap();
    for (dim, samples, layers) in [(129, 20, 2), (200, 100, 1), (301, 10, 3)] {
        let architecture = Architecture { bias: true, ..Architecture::new(dim, layers) };
        for ranks in [1, 2, 3, 4, 7] {
            for stored in [false, true] {
                let before = LIVE.load(Ordering::SeqCst);
                let place = (ranks, 0);
                let block =
                    ColumnBlock::<Cpu, f32>::draw(&device, &architecture, (Init::Orthogonal, 0), place).unwrap();
                let work = ColumnWorkspace::new(&device, &block, samples).unwrap();
                let gradient = stored.then(|| block.zero_gradient(&device).unwrap());
                let taken = (LIVE.load(Ordering::SeqCst) - before) as f64;
                let bound = cost_of_columns(&architecture, (samples, ranks), Dtype::F32, stored).unwrap().min_bytes;
                assert!(taken >= bound && taken <= MOST * bound, "D = {dim}, {ranks} ranks: {taken} of {bound}");
                drop((block, work, gradient));
            }
        }
        let taken = on_threads(3, |transport: &mut Threads<'_, f32>| {
            let place = (3, transport.rank());
            let mut block = ColumnBlock::draw(&device, &architecture, (Init::Orthogonal, 0), place)?;
            let mut work = ColumnWorkspace::new(&device, &block, samples)?;
            let rows = block.rows_of(&device, init::batch(&device, dim, samples, 0)?.view())?;
            let rule = InPlaceStep::default();
            let mut fewest = usize::MAX;
            for _ in 0..8 {
                transport.barrier()?;
                let before = TAKEN.load(Ordering::SeqCst);
                transport.barrier()?;
                for _ in 0..3 {
                    work.step(&device, &mut block, rows.view(), (&rule, 0.01), transport, None)?;
                }
                transport.barrier()?;
                fewest = fewest.min(TAKEN.load(Ordering::SeqCst) - before);
            }
            Ok(fewest)
        });
        assert_eq!(taken.unwrap(), [0, 0, 0], "bytes that three steps allocate at D = {dim}");
    }
}
