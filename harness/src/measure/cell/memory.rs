//! Resident memory of this process: its high-water mark, and its course over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use relgrad_reports::record::MemoryPoint;

use crate::machine::linux;

const MAX_POINTS: usize = 500;
/// First interval between two readings; it doubles whenever the trace is full.
const SHORTEST_INTERVAL: Duration = Duration::from_micros(20);

/// Sets the high-water mark back to what is resident now. `false` where the system does not allow it: the mark then
/// covers the start of the process too, which is small.
pub(crate) fn reset_high_water() -> bool {
    linux::reset_high_water()
}

/// Asks the system to end this process before any other when memory runs out: the cell is then a failed record, and the
/// sweep and its neighbours live on. Where the system has no such request, nothing happens.
pub(crate) fn be_first_to_go() {
    linux::be_first_to_go();
}

/// Most bytes that were resident; `None` where the system does not say.
pub(crate) fn high_water() -> Option<u64> {
    system::high_water()
}

/// Bytes that are resident now; `None` where the system does not say.
pub(crate) fn resident() -> Option<u64> {
    system::meter()?()
}

#[cfg(target_os = "linux")]
mod system {
    pub(super) use crate::machine::linux::resident_meter as meter;

    pub(super) fn high_water() -> Option<u64> {
        crate::machine::linux::status_bytes("VmHWM:")
    }
}

/// The calls of macOS. Its high-water mark cannot be set back.
#[cfg(target_os = "macos")]
mod system {
    pub(super) fn high_water() -> Option<u64> {
        // SAFETY: rusage is plain data that may be zero, and getrusage writes to it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) == 0).then_some(usage)
        };
        // Bytes here; other systems count kB.
        u64::try_from(usage?.ru_maxrss).ok()
    }

    pub(super) fn meter() -> Option<impl FnMut() -> Option<u64> + Send + 'static> {
        let process = libc::c_int::try_from(std::process::id()).ok()?;
        let read = move || {
            // SAFETY: the struct is plain data that may be zero, and of the version named; the call writes to it.
            unsafe {
                let mut usage: libc::rusage_info_v0 = std::mem::zeroed();
                let into: *mut libc::rusage_info_t = (&raw mut usage).cast();
                (libc::proc_pid_rusage(process, libc::RUSAGE_INFO_V0, into) == 0).then_some(usage.ri_resident_size)
            }
        };
        read().map(|_| read)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod system {
    pub(super) fn high_water() -> Option<u64> {
        None
    }

    pub(super) fn meter() -> Option<fn() -> Option<u64>> {
        None
    }
}

/// A thread that reads the memory in use again and again.
pub(crate) struct Tracer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<MemoryPoint>>,
}

impl Tracer {
    /// Starts reading the resident memory; `None` where the system does not tell. Points are relative to
    /// `baseline_bytes`.
    pub(crate) fn start(baseline_bytes: u64) -> Option<Self> {
        Self::watch(system::meter()?, baseline_bytes)
    }

    /// Starts reading what `bytes` tells. Points are relative to `baseline_bytes`.
    pub(crate) fn watch(mut bytes: impl FnMut() -> Option<u64> + Send + 'static, baseline_bytes: u64) -> Option<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let start = Instant::now();
        let mut read = move |trace: &mut Trace| {
            if let Some(bytes) = bytes() {
                let bytes = bytes.saturating_sub(baseline_bytes) as f64;
                trace.push(MemoryPoint { seconds: start.elapsed().as_secs_f64(), bytes });
            }
        };
        // The first reading is here: a small problem is built and evaluated before a busy machine starts a thread.
        let mut trace = Trace::new();
        read(&mut trace);
        let thread = std::thread::Builder::new().name("memory trace".to_string()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                read(&mut trace);
                std::thread::sleep(trace.interval);
            }
            read(&mut trace);
            trace.points
        });
        Some(Self { stop, thread: thread.ok()? })
    }

    pub(crate) fn finish(self) -> Vec<MemoryPoint> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Points in fixed memory: when full, each pair gives way to its larger point and the interval doubles. Peaks survive.
struct Trace {
    points: Vec<MemoryPoint>,
    interval: Duration,
}

impl Trace {
    fn new() -> Self {
        Self { points: Vec::with_capacity(MAX_POINTS), interval: SHORTEST_INTERVAL }
    }

    fn push(&mut self, point: MemoryPoint) {
        if self.points.len() == MAX_POINTS {
            for pair in 0..MAX_POINTS / 2 {
                let (first, second) = (self.points[2 * pair], self.points[2 * pair + 1]);
                self.points[pair] = if second.bytes > first.bytes { second } else { first };
            }
            self.points.truncate(MAX_POINTS / 2);
            self.interval *= 2;
        }
        self.points.push(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_trace_halves_and_keeps_its_peak_and_order() {
        let mut trace = Trace::new();
        // Ten seconds as the tracer's thread would see them, with one tall reading.
        let (mut seconds, mut peak_seconds) = (0.0, None);
        while seconds < 10.0 {
            let tall = seconds > 6.0 && peak_seconds.is_none();
            if tall {
                peak_seconds = Some(seconds);
            }
            trace.push(MemoryPoint { seconds, bytes: if tall { 1e9 } else { seconds } });
            seconds += trace.interval.as_secs_f64();
        }
        assert!((MAX_POINTS / 2..=MAX_POINTS).contains(&trace.points.len()));
        assert!(trace.points.iter().any(|point| Some(point.seconds) == peak_seconds && point.bytes == 1e9));
        assert!(trace.points.is_sorted_by(|a, b| a.seconds < b.seconds));
        // 500 points over 10 s are 20 ms apart; the interval doubles from 20 µs until it is that long.
        assert!((0.02..0.08).contains(&trace.interval.as_secs_f64()), "{:?}", trace.interval);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_trace_sees_an_allocation_come() {
        let before = resident().expect("Linux tells the resident memory");
        let tracer = Tracer::start(before).expect("Linux has /proc/self/statm");
        let block = vec![1u8; 64 << 20];
        std::hint::black_box(&block);
        let points = tracer.finish();
        let peak = points.iter().map(|point| point.bytes).fold(0.0, f64::max);
        // Other tests of this process allocate at the same time, far less than half the block.
        assert!(peak >= (32 << 20) as f64, "{peak}");
        assert!(high_water().expect("Linux tells the high-water mark") >= before + (32 << 20));
    }
}
