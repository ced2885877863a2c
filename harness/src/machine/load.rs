//! Who uses the cores while something is measured: this process, other programs, other virtual machines. And how fast
//! the cores are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use relgrad_kernels::Cpu;
use relgrad_reports::record::State;

use super::linux;

/// What the system has counted so far. The times are in seconds, from unknown beginnings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counters {
    /// Of all cores that this process may use.
    cores: Option<Cores>,
    /// CPU time of this process and of the children that it waited for.
    own: f64,
    /// Time in which its threads were ready and had no core.
    waited: Option<f64>,
    voluntary: Option<u64>,
    involuntary: Option<u64>,
}

/// Sums over cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Cores {
    count: usize,
    /// Time in which they were busy for any program of this system.
    busy: f64,
    /// Time in which they were ready and the hypervisor ran another system.
    stolen: f64,
}

/// Observes the machine from [`Watch::start`] to [`Watch::finish`].
pub(crate) struct Watch {
    start: Instant,
    before: Counters,
    clock_hz: f64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { clock_hz: clock_hz(), start: Instant::now(), before: Counters::read() }
    }

    /// Measures the clock again, as the one before what is observed. On a machine that saves energy it rises with the
    /// first work.
    pub(crate) fn warmed_up(&mut self) {
        self.clock_hz = clock_hz();
    }

    /// The machine since the start. An empty region of `threads` threads is timed if there are several.
    pub(crate) fn finish(self, threads: usize) -> State {
        let (seconds, after) = (self.start.elapsed().as_secs_f64(), Counters::read());
        let state = after.since(&self.before, seconds);
        State { clock_hz: [self.clock_hz, clock_hz()], region_seconds: region_seconds(threads), ..state }
    }
}

impl Counters {
    fn read() -> Self {
        let (own, switches) = usage();
        let (voluntary, involuntary) = switches.unzip();
        Self { cores: Cores::read(), own, waited: waited(), voluntary, involuntary }
    }

    /// What was counted in the `seconds` from `before` on, without what takes another measurement.
    fn since(&self, before: &Self, seconds: f64) -> State {
        let both = self.cores.zip(before.cores);
        let since = |of: fn(&Cores) -> f64| both.map(|(now, before)| of(&now) - of(&before));
        let own = self.own - before.own;
        let count = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        State {
            seconds,
            cores: self.cores.map_or_else(super::logical_cores, |cores| cores.count),
            own_seconds: cfg!(unix).then_some(own.max(0.0)),
            foreign_seconds: since(|cores| cores.busy).map(|busy| (busy - own).max(0.0)),
            stolen_seconds: since(|cores| cores.stolen).map(|stolen| stolen.max(0.0)),
            // A thread that has ended takes its share along.
            waited_seconds: self.waited.zip(before.waited).map(|(now, before)| (now - before).max(0.0)),
            voluntary_switches: count(self.voluntary, before.voluntary),
            involuntary_switches: count(self.involuntary, before.involuntary),
            clock_hz: [1.0; 2],
            region_seconds: None,
        }
    }
}

impl Cores {
    fn read() -> Option<Self> {
        let text = linux::core_times()?;
        Self::parse(&text, may_run_on, 1.0 / ticks_per_second()?)
    }

    /// The sums over the lines `cpuN` of `/proc/stat` for each N that is `allowed`.
    fn parse(text: &str, allowed: impl Fn(usize) -> bool, tick_seconds: f64) -> Option<Self> {
        let mut sums = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let number = words.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok());
            if !number.is_some_and(&allowed) {
                continue;
            }
            let ticks: Vec<f64> = words.map_while(|word| word.parse().ok()).collect();
            let [user, nice, system, _idle, _io_wait, interrupts, soft_interrupts, stolen, ..] = *ticks else {
                return None;
            };
            sums.count += 1;
            sums.busy += tick_seconds * (user + nice + system + interrupts + soft_interrupts);
            sums.stolen += tick_seconds * stolen;
        }
        (sums.count > 0).then_some(sums)
    }
}

/// Whether this process may run on a core; on all, where that is not known.
#[cfg(target_os = "linux")]
fn may_run_on(core: usize) -> bool {
    // SAFETY: the set is plain data that may be zero, sched_getaffinity writes to it, and CPU_ISSET reads within it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let asked = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        asked != 0 || (core < 8 * size_of::<libc::cpu_set_t>() && libc::CPU_ISSET(core, &set))
    }
}

#[cfg(not(target_os = "linux"))]
fn may_run_on(_core: usize) -> bool {
    true
}

#[cfg(unix)]
fn ticks_per_second() -> Option<f64> {
    // SAFETY: sysconf takes a number and returns one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks > 0).then_some(ticks as f64)
}

#[cfg(not(unix))]
fn ticks_per_second() -> Option<f64> {
    None
}

/// CPU seconds of this process and its children, and how often its threads gave up and lost a core.
#[cfg(unix)]
fn usage() -> (f64, Option<(u64, u64)>) {
    let of = |who| {
        // SAFETY: rusage is plain data that may be zero, and getrusage writes to it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::getrusage(who, &raw mut usage) == 0).then_some(usage)
        };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + 1e-6 * time.tv_usec as f64;
        usage.map(|usage| {
            (seconds(usage.ru_utime) + seconds(usage.ru_stime), (usage.ru_nvcsw as u64, usage.ru_nivcsw as u64))
        })
    };
    let (this, children) = (of(libc::RUSAGE_SELF), of(libc::RUSAGE_CHILDREN));
    (this.map_or(0.0, |of| of.0) + children.map_or(0.0, |of| of.0), this.map(|of| of.1))
}

#[cfg(not(unix))]
fn usage() -> (f64, Option<(u64, u64)>) {
    (0.0, None)
}

/// Seconds that the threads of this process have waited for a core, by Linux's accounts of the scheduler.
fn waited() -> Option<f64> {
    let nanoseconds = linux::waited_nanoseconds()?;
    (!nanoseconds.is_empty()).then(|| 1e-9 * nanoseconds.iter().sum::<f64>())
}

/// The clock of the core that this thread runs on, from a loop whose steps depend on each other. A step, a 32-bit
/// product and an exclusive or, takes 3 + 1 cycles on the x86-64 processors of the last fifteen years (A. Fog,
/// *Instruction tables*). On others the number compares a machine with itself. The fastest of some bursts counts, so
/// that what else runs does not enter.
pub(crate) fn clock_hz() -> f64 {
    const CYCLES_PER_STEP: f64 = 4.0;
    const STEPS: u32 = 25_000;
    const BURSTS: usize = 10;
    let burst = |_| {
        let start = Instant::now();
        let mut x = black_box(1_u32);
        for _ in 0..STEPS {
            x = x.wrapping_mul(1_664_525) ^ 0x3C6E_F35F;
        }
        black_box(x);
        start.elapsed().as_secs_f64()
    };
    let fastest = (0..BURSTS).map(burst).fold(f64::INFINITY, f64::min);
    CYCLES_PER_STEP * f64::from(STEPS) / fastest.max(1e-9)
}

/// Mean seconds of an empty parallel region; `None` on one thread.
fn region_seconds(threads: usize) -> Option<f64> {
    /// Regions between two looks at the clock, and at most.
    const BATCH: u32 = 50;
    const MOST: u32 = 1000;
    const LONGEST: Duration = Duration::from_millis(2);
    let cpu = (threads > 1).then(|| Cpu::new(threads))?;
    let (start, mut count) = (Instant::now(), 0);
    loop {
        (0..BATCH).for_each(|_| cpu.empty_region());
        count += BATCH;
        let elapsed = start.elapsed();
        if count >= MOST || elapsed >= LONGEST {
            return Some(elapsed.as_secs_f64() / f64::from(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str = "cpu  300 0 100 1000 50 0 0 9 0 0\n\
                           cpu0 100 0 50 500 25 0 0 4 0 0\n\
                           cpu1 150 0 50 500 25 0 0 4 0 0\n\
                           cpu2 50 0 0 500 0 0 0 1 0 0\n\
                           intr 22431071 0 0\nctxt 66244431\n";
    /// A second later: 90 ticks of the first core, 40 and 10 stolen ones of the second, all of the third.
    const LATER: &str =
        "cpu0 150 20 60 510 25 4 6 4 0 0\ncpu1 180 0 60 550 25 0 0 14 0 0\ncpu2 150 0 0 500 0 0 0 1 0 0\n";

    fn counters(text: &str, own: f64, waited: f64, switches: u64) -> Counters {
        let cores = Cores::parse(text, |core| core < 2, 0.01);
        Counters { cores, own, waited: Some(waited), voluntary: Some(1), involuntary: Some(switches) }
    }

    #[test]
    fn what_is_not_ours_on_our_cores_is_foreign() {
        let state = counters(LATER, 2.0, 0.75, 9).since(&counters(EARLIER, 1.5, 0.5, 4), 1.0);
        let near = |found: Option<f64>, expected: f64| (found.expect("known") - expected).abs() < 1e-9;
        assert!(near(state.foreign_seconds, 0.9 + 0.4 - 0.5) && near(state.stolen_seconds, 0.1), "{state:?}");
        assert!(near(state.waited_seconds, 0.25) && near(state.foreign_share(), 0.4), "{state:?}");
        assert_eq!((state.cores, state.voluntary_switches, state.involuntary_switches), (2, Some(0), Some(5)));
        // Ticks may lag behind.
        let state = counters(EARLIER, 2.0, 0.5, 4).since(&counters(EARLIER, 1.0, 0.5, 4), 1.0);
        assert_eq!(state.foreign_seconds, Some(0.0));
    }

    #[test]
    fn accounts_that_do_not_exist_are_absent() {
        for text in ["", "cpu 1 2 3", "cpu0 1 2 3 4\n", "cpu0 a b c d e f g h\n", "cpu7 1 2 3 4 5 6 7 8\n"] {
            assert_eq!(Cores::parse(text, |core| core < 2, 0.01), None, "{text}");
        }
        let state = Counters::default().since(&Counters::default(), 1.0);
        assert_eq!((state.foreign_seconds, state.waited_seconds, state.involuntary_switches), (None, None, None));
        assert!(state.cores >= 1);
    }

    #[test]
    fn this_machine_has_a_clock_and_a_state() {
        let state = Watch::start().finish(2);
        assert!(
            state.clock_hz.iter().all(|hz| (1e7..1e11).contains(hz)) && state.region_seconds > Some(0.0),
            "{state:?}"
        );
        assert_eq!(state.foreign_seconds.is_some(), cfg!(target_os = "linux"));
    }
}
