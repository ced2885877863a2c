//! Resident memory of this process: its high-water mark, and its course over time.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use relgrad_reports::record::MemoryPoint;

const MAX_POINTS: usize = 500;
/// First interval between two readings; it doubles whenever the trace is full.
const SHORTEST_INTERVAL: Duration = Duration::from_micros(20);

/// Sets the high-water mark back to what is resident now. `false` where the system does not allow it: the mark then
/// covers the start of the process too, which is small.
pub(crate) fn reset_high_water() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Asks the system to end this process before any other when memory runs out: the cell is then a failed record, and the
/// sweep and its neighbours live on. Where the system has no such request, nothing happens.
pub(crate) fn be_first_to_go() {
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}

pub(crate) fn high_water() -> Option<u64> {
    status("VmHWM:")
}

pub(crate) fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// A field of `/proc/self/status` that is in kB.
fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
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
        Self::watch(meter()?, baseline_bytes)
    }

    /// Starts reading what `bytes` tells. Points are relative to `baseline_bytes`.
    pub(crate) fn watch(mut bytes: impl FnMut() -> Option<u64> + Send + 'static, baseline_bytes: u64) -> Option<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("memory trace".to_string()).spawn(move || {
            let start = Instant::now();
            let mut trace = Trace::new();
            let mut read = |trace: &mut Trace| {
                if let Some(bytes) = bytes() {
                    let bytes = bytes.saturating_sub(baseline_bytes) as f64;
                    trace.push(MemoryPoint { seconds: start.elapsed().as_secs_f64(), bytes });
                }
            };
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

/// A reader of the resident memory by `/proc/self/statm`, which it keeps open: a reading is one system call of about a
/// microsecond.
fn meter() -> Option<impl FnMut() -> Option<u64> + Send + 'static> {
    let (mut file, page_bytes) = (File::open("/proc/self/statm").ok()?, page_bytes()?);
    let mut read = move || {
        let mut buffer = [0; 128];
        file.rewind().ok()?;
        let length = file.read(&mut buffer).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(pages * page_bytes)
    };
    read().map(|_| read)
}

#[cfg(unix)]
fn page_bytes() -> Option<u64> {
    // SAFETY: sysconf only reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|bytes| *bytes > 0)
}

#[cfg(not(unix))]
fn page_bytes() -> Option<u64> {
    None
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
