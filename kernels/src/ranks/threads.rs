//! Ranks that are threads of one process, for tests and where there is no MPI.
//!
//! A rank lends its numbers to the others for the time of an operation: nothing is copied but what is received.

use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use super::transport::{Parcel, Traffic, Transport, require_room};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Runs `work` as each of `ranks` ranks, on a thread each, and returns what they computed, rank by rank.
///
/// # Errors
/// [`Error::InvalidParameter`] for no rank; [`Error::Rank`] has the error of the rank that failed first. The others end
/// with their next operation.
///
/// # Panics
/// When `work` does, after all ranks have ended.
pub fn on_threads<T: Scalar, R: Send>(
    ranks: usize,
    work: impl Fn(&mut Threads<'_, T>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if ranks == 0 {
        return Err(Error::invalid("ranks", 0.0, "must be at least 1"));
    }
    let (exchange, work) = (&Exchange::new(ranks), &work);
    let results: Vec<Result<R>> = thread::scope(|scope| {
        let start = |rank| {
            let run = move || {
                let _leaving = Leaving { exchange, rank };
                work(&mut Threads { exchange, rank, traffic: Traffic::default() })
            };
            let thread = thread::Builder::new().name(format!("rank {rank}")).spawn_scoped(scope, run);
            thread.map_err(|cause| {
                exchange.leave(rank);
                Error::transport("start of a rank", cause)
            })
        };
        let threads: Vec<_> = (0..ranks).map(start).collect();
        threads.into_iter().map(|thread| thread?.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let first = lock(&exchange.meeting).gone;
    let failed = results.iter().enumerate().filter_map(|(rank, result)| Some((rank, result.as_ref().err()?)));
    // Whoever left first is the cause of the others' errors.
    match failed.min_by_key(|(rank, _)| Some(*rank) != first) {
        Some((rank, cause)) => Err(Error::Rank { rank, ranks, cause: Box::new(cause.clone()) }),
        None => results.into_iter().collect(),
    }
}

/// One of the ranks of [`on_threads`].
pub struct Threads<'a, T> {
    exchange: &'a Exchange<T>,
    rank: usize,
    traffic: Traffic,
}

impl<T: Scalar> Transport<T> for Threads<'_, T> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.exchange.slots.len()
    }

    fn reduce_scatter(&mut self, counts: &[usize], sent: &mut Parcel<T>, received: &mut [T]) -> Result<()> {
        const NAME: &str = "reduce-scatter";
        let (ranks, own) = (self.ranks(), counts.get(self.rank).copied().unwrap_or(0));
        let room = (received.len(), own);
        require_room(NAME, (counts, ranks), (sent.numbers().len(), counts.iter().sum()), room)?;
        let start: usize = counts[..self.rank].iter().sum();
        self.exchange.lend(NAME, self.rank, sent, |rank, lent| {
            let part = lent.get(start..start + own).ok_or_else(|| too_few(NAME, rank))?;
            match rank {
                0 => received.copy_from_slice(part),
                _ => received.iter_mut().zip(part).for_each(|(sum, &number)| *sum += number),
            }
            Ok(())
        })?;
        self.traffic.add::<T>((ranks - 1) * own);
        Ok(())
    }

    fn all_gather(&mut self, counts: &[usize], sent: &mut Parcel<T>, received: &mut [T]) -> Result<()> {
        const NAME: &str = "all-gather";
        let (ranks, own) = (self.ranks(), counts.get(self.rank).copied().unwrap_or(0));
        let room = (received.len(), counts.iter().sum());
        require_room(NAME, (counts, ranks), (sent.numbers().len(), own), room)?;
        let others = received.len() - own;
        let mut rest = received;
        self.exchange.lend(NAME, self.rank, sent, |rank, lent| {
            let part = lent.get(..counts[rank]).ok_or_else(|| too_few(NAME, rank))?;
            let (to, behind) = std::mem::take(&mut rest).split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = behind;
            Ok(())
        })?;
        self.traffic.add::<T>(others);
        Ok(())
    }

    fn all_reduce(&mut self, numbers: &mut [f64]) -> Result<()> {
        const NAME: &str = "sum over ranks";
        {
            let mut own = self.exchange.sums[self.rank].write().unwrap_or_else(PoisonError::into_inner);
            own.clear();
            own.extend_from_slice(numbers);
        }
        self.exchange.meet(NAME)?;
        numbers.fill(0.0);
        for of_rank in &self.exchange.sums {
            let of_rank = of_rank.read().unwrap_or_else(PoisonError::into_inner);
            numbers.iter_mut().zip(of_rank.iter()).for_each(|(sum, number)| *sum += number);
        }
        self.exchange.meet(NAME)
    }

    fn barrier(&mut self) -> Result<()> {
        self.exchange.meet("barrier")
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

fn too_few(operation: &'static str, rank: usize) -> Error {
    Error::shape(operation, "the same counts on every rank", format!("others on rank {rank}"))
}

/// Where the ranks meet.
struct Exchange<T> {
    /// What each rank lends, for the time of an operation.
    slots: Vec<RwLock<Vec<T>>>,
    sums: Vec<RwLock<Vec<f64>>>,
    meeting: Mutex<Meeting>,
    changed: Condvar,
}

/// Who is there.
#[derive(Default)]
struct Meeting {
    arrived: usize,
    /// Meetings that all ranks came to.
    complete: u64,
    /// The rank that was the first to end, for whatever reason.
    gone: Option<usize>,
}

fn lock<S>(mutex: &Mutex<S>) -> MutexGuard<'_, S> {
    // A panic of another rank leaves nothing half done here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Scalar> Exchange<T> {
    fn new(ranks: usize) -> Self {
        let slots = (0..ranks).map(|_| RwLock::default()).collect();
        let sums = (0..ranks).map(|_| RwLock::default()).collect();
        Self { slots, sums, meeting: Mutex::default(), changed: Condvar::new() }
    }

    /// Lends out `sent`, has `take` look at what each rank lends in turn, and takes `sent` back.
    fn lend(
        &self,
        operation: &'static str,
        rank: usize,
        sent: &mut Parcel<T>,
        mut take: impl FnMut(usize, &[T]) -> Result<()>,
    ) -> Result<()> {
        let swap = |sent: &mut Parcel<T>| {
            let mut slot = self.slots[rank].write().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *slot, &mut sent.0);
        };
        swap(sent);
        let taken = self.meet(operation).and_then(|()| {
            for (rank, slot) in self.slots.iter().enumerate() {
                take(rank, &slot.read().unwrap_or_else(PoisonError::into_inner))?;
            }
            self.meet(operation)
        });
        swap(sent);
        taken
    }

    /// Waits until every rank is here.
    fn meet(&self, operation: &'static str) -> Result<()> {
        let gone = |rank: usize| Error::transport(operation, format!("rank {rank} has ended"));
        let mut meeting = lock(&self.meeting);
        if let Some(rank) = meeting.gone {
            return Err(gone(rank));
        }
        meeting.arrived += 1;
        if meeting.arrived == self.slots.len() {
            meeting.arrived = 0;
            meeting.complete += 1;
            self.changed.notify_all();
            return Ok(());
        }
        let before = meeting.complete;
        loop {
            // A rank that ends after a meeting that it came to is no failure of this one.
            if meeting.complete != before {
                return Ok(());
            }
            if let Some(rank) = meeting.gone {
                return Err(gone(rank));
            }
            meeting = self.changed.wait(meeting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, rank: usize) {
        lock(&self.meeting).gone.get_or_insert(rank);
        self.changed.notify_all();
    }
}

/// Tells the others when a rank ends: by a result, an error or a panic.
struct Leaving<'a, T: Scalar> {
    exchange: &'a Exchange<T>,
    rank: usize,
}

impl<T: Scalar> Drop for Leaving<'_, T> {
    fn drop(&mut self) {
        self.exchange.leave(self.rank);
    }
}
