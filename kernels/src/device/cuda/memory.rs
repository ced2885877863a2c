//! Device memory with its books, and host memory that kernels write to.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::refused;
use crate::error::{Error, Result};

/// How much device memory there is and how much of it buffers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes in buffers now.
    pub live_bytes: u64,
    /// Bytes in buffers at most, since [`super::Cuda::reset_peak`].
    pub peak_bytes: u64,
    /// Bytes that the driver says are free, on the whole device.
    pub free_bytes: u64,
    /// Bytes of the device.
    pub total_bytes: u64,
}

/// Bytes taken and given back.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    live: AtomicU64,
    peak: AtomicU64,
}

impl Ledger {
    fn take(&self, bytes: u64) {
        let live = self.live.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(live, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.live.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn reset_peak(&self) {
        self.peak.store(self.live.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// (live, peak)
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.live.load(Ordering::Relaxed), self.peak.load(Ordering::Relaxed))
    }
}

/// The memory of one device.
#[derive(Debug)]
pub(super) struct Heap {
    context: Arc<CudaContext>,
    pub(super) ledger: Ledger,
}

impl Heap {
    pub(super) fn new(context: Arc<CudaContext>) -> Self {
        Self { context, ledger: Ledger::default() }
    }

    pub(super) fn usage(&self) -> Result<MemoryUse> {
        let (free, total) = self.context.mem_get_info().map_err(refused("reading the free memory"))?;
        let (live_bytes, peak_bytes) = self.ledger.bytes();
        Ok(MemoryUse { live_bytes, peak_bytes, free_bytes: free as u64, total_bytes: total as u64 })
    }
}

/// Owned device memory for `len` numbers, on 256-byte boundaries.
#[derive(Debug)]
pub struct Buffer<T> {
    address: u64,
    len: usize,
    memory: Arc<Heap>,
    numbers: PhantomData<T>,
}

impl<T: Copy> Buffer<T> {
    /// Memory with undefined contents.
    pub(super) fn new(memory: &Arc<Heap>, len: usize, what: &str) -> Result<Self> {
        let out_of_memory =
            || Error::OutOfMemory { bytes: len as u128 * size_of::<T>() as u128, what: what.to_owned() };
        let buffer = |address| Self { address, len, memory: Arc::clone(memory), numbers: PhantomData };
        if len == 0 {
            return Ok(buffer(0));
        }
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(out_of_memory)?;
        memory.context.bind_to_thread().map_err(refused("an allocation"))?;
        // SAFETY: cuMemAlloc only writes the address of the new block; `bytes` is not 0.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|error| match error {
            DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) => out_of_memory(),
            other => refused("an allocation")(other),
        })?;
        memory.ledger.take(bytes as u64);
        Ok(buffer(address))
    }
}

impl<T: Send + Sync> Block for Buffer<T> {
    fn address(&self) -> u64 {
        self.address
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.address == 0 {
            return;
        }
        let context = &self.memory.context;
        context.record_err(context.bind_to_thread());
        // SAFETY: the address came from cuMemAlloc and is freed once, here. cuMemFree waits for work that uses it.
        context.record_err(unsafe { result::free_sync(self.address) });
        self.memory.ledger.give_back((self.len * size_of::<T>()) as u64);
    }
}

/// Memory of a device that something owns.
pub trait Block: Send + Sync {
    /// Where it begins.
    fn address(&self) -> u64;

    /// How many numbers it has.
    fn len(&self) -> usize;
}

/// A range of a buffer, borrowed as `B` says.
#[derive(Debug)]
pub struct Span<T, B> {
    address: u64,
    len: usize,
    borrow: PhantomData<(T, B)>,
}

/// A shared range of a buffer.
pub(super) type Slice<'a, T> = Span<T, &'a [T]>;
/// An exclusive range of a buffer.
pub(super) type SliceMut<'a, T> = Span<T, &'a mut [T]>;

impl<T> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slice<'_, T> {}

impl<T, B> Span<T, B> {
    /// All of a buffer; the caller says how it is borrowed.
    pub(super) fn of(buffer: &impl Block) -> Self {
        Self { address: buffer.address(), len: buffer.len(), borrow: PhantomData }
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The `len` numbers from `start` on; the caller says how they are borrowed.
    pub(super) fn part<C>(&self, start: usize, len: usize) -> Span<T, C> {
        assert!(start <= self.len && len <= self.len - start, "{len} numbers from {start} on of {}", self.len);
        Span { address: offset::<T>(self.address, start), len, borrow: PhantomData }
    }

    /// The numbers before `mid` and from there on, borrowed as these are.
    pub(super) fn split(self, mid: usize) -> (Self, Self) {
        (self.part(0, mid), self.part(mid, self.len - mid))
    }
}

/// The address `count` numbers further on.
fn offset<T>(address: u64, count: usize) -> u64 {
    address + (count * size_of::<T>()) as u64
}

/// Page-locked host memory that kernels write to directly, so that an answer needs no copy: it is there once the host
/// has waited for the stream.
#[derive(Debug)]
pub(super) struct Pinned<T> {
    host: *mut T,
    address: u64,
    len: usize,
    memory: Arc<Heap>,
}

// SAFETY: the block is owned, and T is plain data.
unsafe impl<T: Copy + Send> Send for Pinned<T> {}

impl<T: Copy + Default> Pinned<T> {
    /// `len` ≥ 1 default values.
    pub(super) fn new(memory: &Arc<Heap>, len: usize) -> Result<Self> {
        let bytes = len.max(1) * size_of::<T>();
        let failed = refused("taking page-locked memory");
        memory.context.bind_to_thread().map_err(&failed)?;
        let flags = sys::CU_MEMHOSTALLOC_DEVICEMAP | sys::CU_MEMHOSTALLOC_PORTABLE;
        // SAFETY: cuMemHostAlloc only writes the address of the new block.
        let host = unsafe { result::malloc_host(bytes, flags) }.map_err(&failed)?.cast::<T>();
        let mut pinned = Self { host, address: 0, len: len.max(1), memory: Arc::clone(memory) };
        // SAFETY: `host` was just allocated as mapped memory; the call only writes the device's address of it.
        let status = unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut pinned.address, host.cast::<c_void>(), 0) };
        status.result().map_err(&failed)?;
        (0..pinned.len).for_each(|i| pinned.set(i, T::default()));
        Ok(pinned)
    }

    /// The device's address of element `i`.
    pub(super) fn address(&self, i: usize) -> u64 {
        assert!(i < self.len, "element {i} of {}", self.len);
        offset::<T>(self.address, i)
    }

    /// What the device wrote; the caller has waited for it.
    pub(super) fn get(&self, i: usize) -> T {
        assert!(i < self.len, "element {i} of {}", self.len);
        // SAFETY: the index is within the block, whose elements were initialised; the device writes whole elements.
        unsafe { self.host.add(i).read_volatile() }
    }

    pub(super) fn set(&mut self, i: usize, value: T) {
        assert!(i < self.len, "element {i} of {}", self.len);
        // SAFETY: the index is within the block that this owns.
        unsafe { self.host.add(i).write_volatile(value) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        let context = &self.memory.context;
        context.record_err(context.bind_to_thread());
        // SAFETY: the block came from cuMemHostAlloc and is freed once, here. A kernel that still writes to it would be
        // of a stream that the owner has not waited for; cuMemFreeHost waits for the device.
        context.record_err(unsafe { result::free_host(self.host.cast()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_remembers_the_highest_sum() {
        let ledger = Ledger::default();
        ledger.take(100);
        ledger.take(50);
        ledger.give_back(100);
        ledger.take(20);
        assert_eq!(ledger.bytes(), (70, 150));
        ledger.reset_peak();
        assert_eq!(ledger.bytes(), (70, 70));
        ledger.take(1);
        assert_eq!(ledger.bytes(), (71, 71));
    }

    #[test]
    fn slices_split_at_numbers_not_bytes() {
        fn split<T>(len: usize, mid: usize) -> [(u64, usize); 2] {
            let whole = Slice::<T> { address: 1000, len, borrow: PhantomData };
            let (head, tail) = whole.split(mid);
            [(head.address(), head.len()), (tail.address(), tail.len())]
        }
        assert_eq!(split::<f64>(10, 3), [(1000, 3), (1024, 7)]);
        assert_eq!(split::<f64>(10, 10), [(1000, 10), (1080, 0)]);
        assert_eq!(split::<f32>(10, 4), [(1000, 4), (1016, 6)]);
    }
}
