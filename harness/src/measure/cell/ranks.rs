//! A cell whose weights are split over ranks: under MPI this process is one of them, otherwise its threads are.
//!
//! All ranks evaluate together. The first one keeps the time: before each evaluation it tells the others to join, by a
//! sum over ranks of one number, which so belongs to the time of an evaluation.

use std::time::Instant;

use relgrad_kernels::ranks::{RankEvaluation, RankWorkload, Threads, Traffic, Transport, bytes_of_columns, on_threads};
use relgrad_kernels::{Architecture, Cpu, Error, Init, Method, Result, Scalar};
use relgrad_reports::record::{Check, Exchanged, Point, Reason, TransportKind};

use super::child::judged;
use super::sampling::{self, Rules, Warm};
use super::{Failed, Measurement, Reply, Spec, memory};
use crate::error::code;
use crate::machine::mpi::{self, Mpi};
use crate::measure::workload::with_dtype;

/// What the first rank, or all of them together, have to reply; nothing on another rank under MPI. Does not return on a
/// rank of MPI that fails: it ends all of them.
pub(super) fn serve(spec: &Spec, start: Instant) -> Option<Reply> {
    let Some(rules) = spec.rules else {
        return Some(Reply::Failed(Reason::from("a gate measures cells of one rank").into()));
    };
    let transport = spec.transport.unwrap_or(TransportKind::Threads);
    let cell = RankedCell { point: spec.cell.point, stored: spec.cell.method == Method::Relative, rules, start };
    with_dtype!(spec.cell.point.dtype, T => match transport {
        TransportKind::Mpi => cell.under_mpi::<T>(),
        TransportKind::Threads => cell.in_threads::<T>(),
    })
}

/// What every rank knows.
#[derive(Clone, Copy)]
struct RankedCell {
    point: Point,
    /// Whether an evaluation is a stored gradient; otherwise it is a step in place.
    stored: bool,
    rules: Rules,
    start: Instant,
}

impl RankedCell {
    fn in_threads<T: Scalar>(self) -> Option<Reply> {
        let work = |transport: &mut Threads<'_, T>| self.as_rank(TransportKind::Threads, transport);
        match on_threads(self.point.ranks, work) {
            Ok(replies) => replies.into_iter().flatten().next(),
            Err(cause) => Some(Reply::Failed(cause.into())),
        }
    }

    fn under_mpi<T: Scalar>(self) -> Option<Reply> {
        let work = |mpi: &mut Mpi| self.as_rank::<T>(TransportKind::Mpi, mpi);
        mpi::as_one_of(self.point.ranks, |_: &Error| code::NOTHING_MEASURED, work)
    }

    /// Builds, evaluates, checks, and evaluates until the first rank has its samples.
    fn as_rank<T: Scalar>(self, kind: TransportKind, transport: &mut impl Transport<T>) -> Result<Option<Reply>> {
        let now = || self.start.elapsed().as_secs_f64();
        let (ranks, rank) = (transport.ranks(), transport.rank());
        let workload = self.workload();
        let device = Cpu::new((self.point.threads / ranks).max(1));
        RankEvaluation::new(device, &small(workload, ranks), (ranks, rank))?.evaluate(transport)?;

        transport.barrier()?;
        if rank == 0 || kind == TransportKind::Mpi {
            memory::reset_high_water();
        }
        let baseline = memory::resident();
        transport.barrier()?;
        let mut evaluation = RankEvaluation::new(device, &workload, (ranks, rank))?;
        let begin = now();
        evaluation.evaluate(transport)?;
        let first_seconds = now() - begin;
        transport.barrier()?;
        let taken = memory::high_water().zip(baseline).map(|(high, base)| high.saturating_sub(base));
        let peak_bytes = peak(kind, taken, transport)?;

        let before = transport.traffic();
        evaluation.evaluate(transport)?;
        let exchanged = exchanged(kind, before, transport)?;
        let expected = bytes_of_columns(&workload.architecture, (workload.batch, ranks), T::DTYPE);
        let check = match judged(evaluation.check(transport)?) {
            Err(failed) => return Ok((rank == 0).then_some(Reply::Failed(failed))),
            Ok(_) if exchanged.received_bytes as f64 != expected => {
                let told = format!("the ranks received {} bytes, and not {expected}", exchanged.received_bytes);
                return Ok((rank == 0).then(|| Reply::Failed(Failed::from(Reason::from(told)))));
            }
            Ok(check) => check,
        };
        if rank > 0 {
            follow(&mut evaluation, transport)?;
            return Ok(None);
        }
        let evaluate = || {
            transport.all_reduce(&mut [1.0])?;
            evaluation.evaluate(transport)
        };
        let (warm, seconds) = self.sample(evaluate, now, first_seconds)?;
        transport.all_reduce(&mut [0.0])?;
        Ok(Some(Reply::Measured(Box::new(measurement((warm, seconds), peak_bytes, check, exchanged)))))
    }

    fn workload(&self) -> RankWorkload {
        let Point { dim, layers, batch, bias, activation, seed, .. } = self.point;
        let architecture = Architecture { activation, bias, ..Architecture::new(dim, layers) };
        RankWorkload { architecture, init: Init::Conditioned, batch, seed, stored: self.stored }
    }

    /// Warms up and samples until the rules end it.
    fn sample(
        &self,
        mut evaluate: impl FnMut() -> Result<()>,
        now: impl Fn() -> f64,
        first_seconds: f64,
    ) -> Result<(Warm, Vec<f64>)> {
        let warm = match self.rules.min_samples {
            0 => sampling::only(first_seconds, &now),
            _ => sampling::warm_up(&mut evaluate, &now, first_seconds)?,
        };
        let seconds = sampling::sample(&mut evaluate, &now, &warm, &self.rules, || Ok(()))?;
        Ok((warm, seconds))
    }
}

/// A problem of the same kind that touches the pages of the program and the threads' stacks before memory is measured.
fn small(workload: RankWorkload, ranks: usize) -> RankWorkload {
    const DIM: usize = 16;
    const BATCH: usize = 16;
    let dim = workload.architecture.dim.min(DIM.max(ranks));
    let architecture = Architecture { dim, ..workload.architecture };
    RankWorkload { architecture, batch: workload.batch.min(BATCH), ..workload }
}

/// Evaluates as often as the first rank says.
fn follow<T: Scalar>(evaluation: &mut RankEvaluation<T>, transport: &mut impl Transport<T>) -> Result<()> {
    loop {
        let mut more = [0.0];
        transport.all_reduce(&mut more)?;
        if more == [0.0] {
            return Ok(());
        }
        evaluation.evaluate(transport)?;
    }
}

/// The most memory of a rank; of ranks in one process their mean, which is what can be told of them.
fn peak<T: Scalar>(kind: TransportKind, taken: Option<u64>, transport: &mut impl Transport<T>) -> Result<Option<u64>> {
    let ranks = transport.ranks();
    let mut of_ranks = vec![0.0; ranks];
    // Where a system does not tell, none of its processes does.
    of_ranks[transport.rank()] = taken.map_or(f64::NAN, |bytes| bytes as f64);
    transport.all_reduce(&mut of_ranks)?;
    let most = of_ranks.iter().copied().fold(0.0, f64::max);
    let of_one = if kind == TransportKind::Mpi { most } else { most / ranks as f64 };
    Ok(taken.map(|_| of_one as u64))
}

/// What one evaluation exchanged, over all ranks.
fn exchanged<T: Scalar>(kind: TransportKind, before: Traffic, transport: &mut impl Transport<T>) -> Result<Exchanged> {
    let after = transport.traffic();
    let mut received = [(after.received_bytes - before.received_bytes) as f64];
    transport.all_reduce(&mut received)?;
    let collectives = after.collectives - before.collectives;
    Ok(Exchanged { transport: kind, received_bytes: received[0] as u64, collectives })
}

/// What the first rank replies. The machine's state is that of one process, and says nothing of several.
fn measurement(
    (warm, seconds): (Warm, Vec<f64>),
    peak_bytes: Option<u64>,
    check: Check,
    exchanged: Exchanged,
) -> Measurement {
    Measurement {
        seconds,
        evaluations_per_sample: warm.evaluations_per_sample,
        warmup_seconds: warm.seconds,
        peak_bytes,
        memory_trace: Vec::new(),
        check: Some(check),
        refresh: None,
        inverse_error: None,
        solved: None,
        exchanged: Some(exchanged),
        gpu: None,
        state: None,
    }
}
