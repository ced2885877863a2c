//! Threads that wait for the next piece of a gradient by spinning for a moment, and only then sleep.
//!
//! A gradient is a dozen operations that each want all threads, some of a few microseconds: waking a thread for each
//! would cost more than it brings.

use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::thread::{self, Thread};

use super::core::{self, Cores, Id};

/// Runs `work(0)`, …, `work(parts − 1)`, each on a thread of its own where threads are to be had, and waits for all.
///
/// A part that no thread has begun when the caller's own has ended is run by the caller: a thread that waits for a core
/// holds nothing up. The parts run one after the other on the calling thread while another caller has the team, inside
/// a part, and while the other threads are of no use for short ones: which thread runs a part must not matter to its
/// result.
///
/// # Panics
/// When a part panics, after all have ended.
pub(super) fn run(parts: usize, length: Length, work: &(dyn Fn(usize) + Sync)) {
    if parts > 1 && !INSIDE.get() {
        let team = match TEAM.try_lock() {
            Ok(team) => Some(team),
            // A panic in somebody's part does the team no harm.
            Err(TryLockError::Poisoned(team)) => Some(team.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut team) = team
            && team.grow(parts - 1)
            && (length == Length::Long || !team.rests())
        {
            return team.run(parts, length, work);
        }
    }
    (0..parts).for_each(work);
}

/// How long a part takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Perhaps less than to wake a thread.
    Short,
    /// More than that: a sleeping thread is waited for.
    Long,
}

impl Length {
    /// Multiply-adds of a long part: a tenth of a millisecond.
    const LONG: usize = 4_000_000;

    /// Of each of `parts` with `multiply_adds` in all.
    pub(super) fn of(multiply_adds: usize, parts: usize) -> Self {
        if multiply_adds / parts.max(1) < Self::LONG { Self::Short } else { Self::Long }
    }
}

static TEAM: Mutex<Team> = Mutex::new(Team::new(Vec::new()));

thread_local! {
    /// Whether this thread is running a part.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Team {
    workers: Vec<Worker>,
    /// Operations in a row in which no worker was of use.
    failures: u32,
    /// Operations for which the workers are still left alone.
    rest: u32,
    /// The last rest after a worker lost its core amid a part, and the operations since.
    held_up: (u32, u32),
}

struct Worker {
    post: Arc<Post>,
    thread: Thread,
    /// State of the post before the last offer.
    before: u32,
}

/// Where a worker is told what to do.
struct Post {
    state: AtomicU32,
    /// Whether the last part panicked.
    failed: AtomicBool,
    /// How often the worker looks for work before it sleeps.
    looks: AtomicU32,
    /// Where the worker was seen last.
    core: AtomicUsize,
    /// Whether the worker is kept off a core.
    confined: AtomicBool,
    id: OnceLock<Id>,
    job: UnsafeCell<Option<Job>>,
}

/// A part of somebody's work. The pointer is valid while the post is [`OFFERED`] or [`BUSY`].
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    part: usize,
}

/// States of a post. The caller moves every one but BUSY to OFFERED, and takes an offer back to IDLE, or to WAKING
/// where the worker was asleep. The worker moves OFFERED to BUSY, BUSY to IDLE, WAKING to AWAKE, and IDLE and AWAKE to
/// ASLEEP. An IDLE worker may be waiting for a core; an AWAKE one had one a moment ago.
const IDLE: u32 = 0;
const ASLEEP: u32 = 1;
const WAKING: u32 = 2;
const AWAKE: u32 = 3;
const OFFERED: u32 = 4;
const BUSY: u32 = 5;

/// How often a worker looks for work before it sleeps: some tens of microseconds where it is of use, some where not.
const LOOKS: u32 = 2_000;
const FEWEST_LOOKS: u32 = 256;

/// How often the caller looks whether a part has begun once its own has ended: a few hundred nanoseconds.
const PATIENCE: u32 = 8;

/// How often the caller looks whether a begun part has ended before it lets others have the core.
const WAITS: u32 = 500;

/// How often the caller looks at a short part before the worker must have lost its core: about a millisecond.
const HELD_UP: u32 = WAITS + 4_000;

/// Operations of a rest after that, and the share of operations in rests that is borne.
const SHORTEST_HOLD: u32 = 2_048;
const LONGEST_HOLD: u32 = 65_536;
const HOLD_SHARE: u32 = 16;

/// Operations for which a team that failed is left alone, at most.
const LONGEST_REST: u32 = 64;

// SAFETY: `job` is written by the caller while the state is neither OFFERED nor BUSY and read by the worker once it has
// moved OFFERED to BUSY; the state's release and acquire order the two. What the job points to is Sync.
unsafe impl Sync for Post {}
// SAFETY: as above.
unsafe impl Send for Post {}

impl Team {
    const fn new(workers: Vec<Worker>) -> Self {
        Self { workers, failures: 0, rest: 0, held_up: (SHORTEST_HOLD, 0) }
    }

    /// Whether there are `count` workers now.
    fn grow(&mut self, count: usize) -> bool {
        while self.workers.len() < count {
            let post = Arc::new(Post::new());
            let theirs = Arc::clone(&post);
            let spawned = thread::Builder::new().name("relgrad-team".to_owned()).spawn(move || theirs.serve());
            let Ok(handle) = spawned else { return false };
            self.workers.push(Worker { post, thread: handle.thread().clone(), before: IDLE });
        }
        true
    }

    /// Whether the team is to be left alone in this operation, see [`Self::judge`]. A worker that has just woken ends
    /// the rest.
    fn rests(&mut self) -> bool {
        let awake = |worker: &Worker| worker.post.state.load(Ordering::Relaxed) == AWAKE;
        let rests = self.rest > 0 && !self.workers.iter().any(awake);
        self.rest = self.rest.saturating_sub(1);
        rests
    }

    /// Learns from an operation whether the workers were of use. Next to another program a worker gets no core, or the
    /// caller's: each offer costs a wait or two switches of threads, and a worker that looks for work holds up the
    /// caller. After each failure in a row the team rests twice as long, counted in operations, and looks half as long:
    /// the lag is about as long as the disturbance was. A worker that was last seen on the caller's core is kept off
    /// it until it has slept again.
    fn judge(&mut self, useful: bool) {
        if useful && self.failures == 0 {
            return;
        }
        self.failures = if useful { 0 } else { self.failures.saturating_add(1) };
        self.rest = 1_u32.checked_shl(self.failures).map_or(LONGEST_REST, |rest| (rest - 1).min(LONGEST_REST));
        let looks = LOOKS.checked_shr(self.failures).unwrap_or(0).max(FEWEST_LOOKS);
        self.workers.iter().for_each(|worker| worker.post.looks.store(looks, Ordering::Relaxed));
        if !useful && let Some(core) = core::current() {
            self.workers.iter().for_each(|worker| worker.post.keep_off(core));
        }
    }

    /// Learns from an operation whether a worker lost its core amid a part. Where that goes on, for a neighbour has
    /// half of the core, the rests become long.
    fn hold(&mut self, held_up: bool) {
        let (rest, since) = self.held_up;
        self.held_up = if held_up {
            let often = since / HOLD_SHARE < rest;
            let rest = if often { (2 * rest).min(LONGEST_HOLD) } else { SHORTEST_HOLD };
            self.rest = rest;
            (rest, 0)
        } else {
            (rest, since.saturating_add(1))
        };
    }

    fn run(&mut self, parts: usize, length: Length, work: &(dyn Fn(usize) + Sync)) {
        let workers = &mut self.workers[..parts - 1];
        // SAFETY: only the lifetime is forgotten. No worker uses the pointer after its post has left BUSY, nor after
        // its offer was taken back, and this function does not return, nor unwind, before one of the two.
        let job: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        let mut useless = 0;
        for (index, worker) in workers.iter_mut().enumerate() {
            worker.offer(Job { work: job, part: index + 1 });
            // A sleeper that has ended before the caller begins had the caller's core.
            useless += usize::from(worker.before == ASLEEP && worker.post.ended());
        }
        let mut panic = None;
        let mut mine = |part| {
            if let Err(caught) = catch_unwind(AssertUnwindSafe(|| inside(|| work(part)))) {
                panic = Some(caught);
            }
        };
        mine(0);
        let (mut failed, mut held_up, mut waking) = (false, false, 0);
        for (index, worker) in workers.iter().enumerate() {
            if !(length == Length::Long && worker.was_asleep()) && worker.withdraw() {
                // To wake takes longer than many operations, on any machine: that says nothing.
                *if worker.was_asleep() { &mut waking } else { &mut useless } += 1;
                mine(index + 1);
            } else {
                held_up |= worker.post.wait();
                failed |= worker.post.failed.swap(false, Ordering::Relaxed);
            }
        }
        if waking < parts - 1 && length == Length::Short {
            self.judge(waking + useless < parts - 1);
        }
        if length == Length::Short {
            self.hold(held_up);
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        assert!(!failed, "a part of an operation panicked");
    }
}

/// Runs `part` with [`INSIDE`] set.
fn inside(part: impl FnOnce()) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    INSIDE.set(true);
    let _leave = Leave;
    part();
}

impl Worker {
    fn offer(&mut self, job: Job) {
        // SAFETY: the post is neither OFFERED nor BUSY, so that the worker does not look at the job.
        unsafe { *self.post.job.get() = Some(job) };
        self.before = self.post.state.swap(OFFERED, Ordering::AcqRel);
        if self.before == ASLEEP {
            self.thread.unpark();
        }
    }

    /// Takes back a job that the worker has not begun; whether there was one.
    fn withdraw(&self) -> bool {
        for _ in 0..PATIENCE {
            if self.post.state.load(Ordering::Acquire) != OFFERED {
                return false;
            }
            spin_loop();
        }
        self.post.moves(OFFERED, if self.was_asleep() { WAKING } else { IDLE })
    }

    fn was_asleep(&self) -> bool {
        matches!(self.before, ASLEEP | WAKING)
    }
}

impl Post {
    fn new() -> Self {
        Self {
            state: AtomicU32::new(IDLE),
            failed: AtomicBool::new(false),
            looks: AtomicU32::new(LOOKS),
            core: AtomicUsize::new(usize::MAX),
            confined: AtomicBool::new(false),
            id: OnceLock::new(),
            job: UnsafeCell::new(None),
        }
    }

    fn keep_off(&self, core: usize) {
        if self.core.load(Ordering::Relaxed) == core
            && let (Some(&id), Some(cores)) = (self.id.get(), Cores::own().and_then(|own| own.without(core)))
        {
            cores.confine(id);
            self.confined.store(true, Ordering::Relaxed);
            self.core.store(usize::MAX, Ordering::Relaxed);
        }
    }

    fn seen(&self) {
        self.core.store(core::current().unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    fn ended(&self) -> bool {
        self.state.load(Ordering::Acquire) < OFFERED
    }

    /// Waits for the end of the job; whether the worker must have lost its core.
    fn wait(&self) -> bool {
        let mut looks = 0;
        while !self.ended() {
            // With fewer cores than threads the worker may be waiting for this very one.
            looks += 1;
            if looks < WAITS {
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
        looks > HELD_UP
    }

    /// The life of a worker.
    fn serve(&self) {
        INSIDE.set(true);
        let (id, home) = (*self.id.get_or_init(Id::own), Cores::own());
        let roam = || {
            if let Some(home) = home.filter(|_| self.confined.swap(false, Ordering::Relaxed)) {
                home.confine(id);
            }
        };
        loop {
            let job = self.next(roam);
            self.seen();
            // SAFETY: the post is BUSY, so that the caller is waiting and the pointer is valid.
            let ended = catch_unwind(AssertUnwindSafe(|| unsafe { (*job.work)(job.part) }));
            self.failed.store(ended.is_err(), Ordering::Relaxed);
            self.state.store(IDLE, Ordering::Release);
        }
    }

    /// Waits for a job and takes it; calls `before_sleep` whenever there is none for long.
    fn next(&self, before_sleep: impl Fn()) -> Job {
        let mut looks = 0;
        loop {
            match self.state.load(Ordering::Acquire) {
                OFFERED if self.moves(OFFERED, BUSY) => {
                    // SAFETY: the caller wrote the job before it made the offer, and leaves it alone until BUSY ends.
                    if let Some(job) = unsafe { *self.job.get() } {
                        return job;
                    }
                }
                ASLEEP => thread::park(),
                WAKING => {
                    self.seen();
                    self.moves(WAKING, AWAKE);
                    looks = 0;
                }
                state @ (IDLE | AWAKE) if looks >= self.looks.load(Ordering::Relaxed) => {
                    before_sleep();
                    self.moves(state, ASLEEP);
                }
                _ => {
                    looks += 1;
                    spin_loop();
                }
            }
        }
    }

    fn moves(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::shared::Shared;

    #[test]
    fn every_part_runs_once() {
        for parts in [0, 1, 2, 3, 7] {
            for _ in 0..200 {
                let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                run(parts, Length::Short, &|part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{parts} parts");
            }
        }
    }

    /// How many parts run.
    fn runs(parts: usize, work: impl Fn() -> usize + Sync) -> usize {
        let count = AtomicUsize::new(0);
        run(parts, Length::Short, &|_| {
            count.fetch_add(work(), Ordering::Relaxed);
        });
        count.into_inner()
    }

    #[test]
    fn a_part_may_have_parts() {
        assert_eq!(runs(3, || runs(2, || 1)), 6);
    }

    #[test]
    fn a_sleeping_team_wakes() {
        for _ in 0..3 {
            thread::sleep(std::time::Duration::from_millis(5));
            assert_eq!(runs(2, || 1), 2);
        }
    }

    #[test]
    fn callers_at_the_same_time_all_finish() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| assert_eq!(runs(2, || 1), 2)));
            }
        });
    }

    #[test]
    fn a_part_that_nobody_begins_is_the_callers_and_the_team_rests_longer_each_time() {
        // Nobody serves this post.
        let post = Arc::new(Post::new());
        let worker = Worker { post: Arc::clone(&post), thread: thread::current(), before: IDLE };
        let mut team = Team::new(vec![worker]);
        for failures in 1..=12 {
            let parts = Mutex::new(Vec::new());
            team.run(2, Length::Short, &|part| parts.lock().expect("no panic").push(part));
            assert_eq!(parts.into_inner().expect("no panic"), [0, 1]);
            let rest = (0..).take_while(|_| team.rests()).count();
            assert_eq!(rest, ((1 << failures) - 1).min(LONGEST_REST as usize));
            assert_eq!(post.looks.load(Ordering::Relaxed), (LOOKS >> failures).max(FEWEST_LOOKS));
        }
        team.judge(true);
        assert!(!team.rests(), "a worker that was of use is asked again at once");
        assert_eq!(post.looks.load(Ordering::Relaxed), LOOKS);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        for bad in [0, 1] {
            let outcome = catch_unwind(|| run(2, Length::Short, &|part| assert_ne!(part, bad, "planted")));
            assert!(outcome.is_err(), "part {bad}");
        }
        assert_eq!(runs(2, || 1), 2);
    }

    #[test]
    fn parts_share_a_slice() {
        let mut numbers = [0; 10];
        let shared = Shared::new(&mut numbers);
        run(5, Length::Short, &|part| {
            // SAFETY: every part has two numbers of its own.
            let mine = unsafe { shared.range(2 * part..2 * part + 2) };
            mine.fill(part + 1);
        });
        assert_eq!(numbers, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
    }
}
