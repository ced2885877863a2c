//! The stream that all work goes through, the modules that hold the kernels, and what is told only after waiting.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaStream, result};
use cudarc::nvrtc::Ptx;

use super::launch::{Kernel, Launched, Launcher, PARTIAL_SUMS};
use super::memory::{Block, Buffer, Heap, Pinned};
use super::operations::{ANSWERS, Answers};
use super::probe::{self, ElapsedTime};
use super::{refused, source};
use crate::error::{Error, Result};
use crate::scalar::Dtype;

/// Names of matrices that a deferred check can tell apart; further ones share the last.
const CHECKS: usize = 16;

/// A stream with its events, and small memory that every operation may use: work on a stream is in order.
pub(super) struct Queue {
    begin: CudaEvent,
    end: CudaEvent,
    elapsed: ElapsedTime,
    flags: RefCell<Pinned<u32>>,
    /// What each flag stands for, as far as it is in use.
    checked: RefCell<Vec<String>>,
    /// Whether a check was asked for since the flags were last read.
    pending: Cell<bool>,
    answers: Pinned<f64>,
    partial_sums: Buffer<f64>,
    stream: Arc<CudaStream>,
}

impl Queue {
    pub(super) fn new(context: &Arc<CudaContext>, memory: &Arc<Heap>) -> Result<Self> {
        let failed = refused("starting a stream");
        // SAFETY: with one stream there is nothing to order by events.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(&failed)?;
        let event = || context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(&failed);
        Ok(Self {
            begin: event()?,
            end: event()?,
            elapsed: probe::elapsed_time()?,
            flags: RefCell::new(Pinned::new(memory, CHECKS)?),
            checked: RefCell::new(Vec::with_capacity(CHECKS)),
            pending: Cell::new(false),
            answers: Pinned::new(memory, ANSWERS)?,
            partial_sums: Buffer::new(memory, PARTIAL_SUMS as usize, "partial sums")?,
            stream,
        })
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(super) fn begin_span(&self) -> Result<()> {
        self.begin.record(&self.stream).map_err(refused("recording an event"))
    }

    pub(super) fn span_seconds(&self) -> Result<f64> {
        let failed = refused("reading events");
        let mut milliseconds = 0.0_f32;
        // SAFETY: both events live as long as the queue, and the call only writes one f32. Events that were not both
        // recorded, or that were not waited for, are its status, not undefined.
        let status = unsafe { (self.elapsed)(&raw mut milliseconds, self.begin.cu_event(), self.end.cu_event()) };
        status.result().map_err(failed)?;
        Ok(f64::from(milliseconds) / 1e3)
    }

    /// Expects answers of checks that a recording will ask for.
    pub(super) fn expect_checks(&self) {
        self.pending.set(true);
    }
}

impl Answers for Queue {
    /// The same words have the same flag, so that a gradient asked for again allocates nothing.
    fn flag(&self, what: &str) -> u64 {
        self.pending.set(true);
        let mut checked = self.checked.borrow_mut();
        let known = checked.iter().position(|known| known == what);
        let slot = known.unwrap_or_else(|| {
            let used = checked.len();
            if used < CHECKS {
                checked.push(if used + 1 < CHECKS { what } else { "a matrix" }.to_owned());
            }
            checked.len() - 1
        });
        self.flags.borrow().address(slot)
    }

    fn partial_sums(&self) -> u64 {
        self.partial_sums.address()
    }

    fn address(&self) -> u64 {
        self.answers.address(0)
    }

    fn get(&self, i: usize) -> f64 {
        self.answers.get(i)
    }

    /// Marks the end of a span too.
    ///
    /// # Errors
    /// [`Error::NonFinite`] of the first check that failed; [`Error::Device`] for work that went wrong.
    fn wait(&self) -> Result<()> {
        let failed = refused("waiting for the GPU");
        self.end.record(&self.stream).map_err(&failed)?;
        self.end.synchronize().map_err(&failed)?;
        if !self.pending.replace(false) {
            return Ok(());
        }
        let checked = self.checked.borrow();
        let mut flags = self.flags.borrow_mut();
        let mut found = None;
        for (i, what) in checked.iter().enumerate() {
            if flags.get(i) != 0 {
                flags.set(i, 0);
                found = found.or(Some(what));
            }
        }
        found.map_or(Ok(()), |what| Err(Error::NonFinite { what: what.clone() }))
    }
}

/// The kernels in one precision, as machine code of this GPU.
pub(super) struct Module {
    functions: Vec<CudaFunction>,
}

impl Module {
    /// Compiles and loads all kernels: about a second, once.
    pub(super) fn load(context: &Arc<CudaContext>, dtype: Dtype) -> Result<Self> {
        let failed = refused("loading the kernels");
        let (major, minor) = context.compute_capability().map_err(&failed)?;
        let code = source::compile(dtype, &format!("sm_{major}{minor}"))?;
        let module = context.load_module(Ptx::from_binary(code)).map_err(&failed)?;
        let function = |kernel: &Kernel| module.load_function(kernel.name()).map_err(&failed);
        Ok(Self { functions: Kernel::ALL.iter().map(function).collect::<Result<_>>()? })
    }
}

/// Kernels of one precision on the stream.
#[derive(Clone, Copy)]
pub(super) struct Lane<'a> {
    pub(super) queue: &'a Queue,
    pub(super) module: &'a Module,
}

impl Launcher for Lane<'_> {
    unsafe fn launch(
        &self,
        kernel: Kernel,
        Launched { grid, block }: Launched,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let function = self.module.functions[kernel as usize].cu_function();
        let stream = self.queue.stream.cu_stream();
        // SAFETY: the function belongs to a loaded module, the stream is alive, and the caller vouches for the
        // arguments, which the driver copies before it returns.
        unsafe { result::launch_kernel(function, grid, block, 0, stream, arguments) }.map_err(refused(kernel.name()))
    }
}
