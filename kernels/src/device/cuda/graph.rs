//! Work recorded as a CUDA graph: asked for again in one call, without the host's cost of every kernel.

use std::rc::Rc;

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};

use super::{Cuda, Shared, refused};
use crate::device::Replay;
use crate::error::Result;

const OPERATION: &str = "recording a graph";

/// A recorded graph, which keeps the device alive that its kernels belong to.
struct Recording {
    graph: CudaGraph,
    shared: Rc<Shared>,
}

impl Replay for Recording {
    fn replay(&self) -> Result<()> {
        self.shared.queue.expect_checks();
        self.graph.launch().map_err(refused("replaying a graph"))
    }
}

/// Records `work` instead of doing it; `None` when it cannot be recorded, for instance because it waits on its way.
pub(super) fn record(device: &Cuda, work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Box<dyn Replay>>> {
    let shared = &device.shared;
    let stream = shared.queue.stream();
    // Other threads of this process may do what they like meanwhile; this one must not wait or allocate.
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(refused(OPERATION))?;
    let done = work();
    // Whatever came of the work, the stream must leave its recording.
    let graph = stream.end_capture(CUgraphInstantiate_flags(0));
    match (done, graph) {
        (Ok(()), Ok(Some(graph))) => {
            graph.upload().map_err(refused(OPERATION))?;
            Ok(Some(Box::new(Recording { graph, shared: Rc::clone(shared) })))
        }
        // Work that waits breaks the recording; it is then asked for call by call.
        _ => {
            // The error that the broken recording left behind is not of later work.
            let _ = shared.context.check_err();
            Ok(None)
        }
    }
}
