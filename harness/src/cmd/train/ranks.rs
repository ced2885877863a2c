//! `relgrad train --ranks`: as one of the ranks of a launcher, by starting them, or as threads of this process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use relgrad_kernels::Scalar;
use relgrad_kernels::ranks::{Threads, Transport, on_threads};
use relgrad_reports::record::TransportKind;
use relgrad_reports::training::Training;

use super::{Arguments, Begun, begin, end, settings};
use crate::data::{self, DataSet};
use crate::error::{Error, Result, code};
use crate::machine::mpi::{self, Mpi};
use crate::measure::run::{identity, process};
use crate::measure::workload::with_dtype;
use crate::run::interrupt::Events;
use crate::train::learner::Tracking;
use crate::train::ranked::{require, share};
use crate::train::recipe::Recipe;
use crate::train::store::Store;
use crate::train::trainer::{self, Job};

/// What the first rank has beside the data.
type First = (Store, Events);

/// Trains over the ranks that are asked for; `None` for one rank.
pub(super) fn run(arguments: &Arguments) -> Result<Option<u8>> {
    let asked = arguments.ranks.map(|ranks| ranks as usize);
    match (asked, mpi::started_as()) {
        (Some(asked), Some((rank, ranks))) if asked != ranks => {
            let told = format!("--ranks {asked}, and mpiexec has started {ranks}: leave out --ranks");
            if rank == 0 { Err(Error::Usage(told)) } else { Ok(Some(code::USAGE)) }
        }
        (_, Some((_, ranks))) => Ok(Some(mpi::as_one_of(ranks, Error::code, |mpi| under_mpi(arguments, mpi)))),
        (None | Some(1), None) => Ok(None),
        (Some(ranks), None) if mpi::transport() == TransportKind::Mpi => launch(arguments, ranks).map(Some),
        (Some(ranks), None) => in_threads(arguments, ranks).map(Some),
    }
}

/// Starts this command as `ranks` ranks on this machine, and waits for their end.
fn launch(arguments: &Arguments, ranks: usize) -> Result<u8> {
    if arguments.resume.is_none() {
        // What can be refused before anything starts; D is yet unknown.
        require(&Recipe::of(&settings(arguments), ranks)?, ranks)?;
    }
    let mut command: Command = mpi::command(&identity::program()?, ranks)?;
    command.args(std::env::args_os().skip(1)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::confine(&mut command, None);
    let failed = |cause| Error::cannot_start("mpiexec", &cause);
    let mut child = command.spawn().map_err(failed)?;
    let stderr = child.stderr.take();
    let telling = std::thread::spawn(move || stderr.map(pass_on));
    let output = child.wait_with_output().map_err(failed)?;
    let _ = telling.join();
    let stdout = String::from_utf8_lossy(&output.stdout);
    if let Some(how) = process::end_of_a_rank(&stdout) {
        return Err(Error::NoDevice(format!(
            "{how}, and the others were stopped; --resume continues from the last checkpoint"
        )));
    }
    match output.status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => say_text!("{stdout}"),
        // The rank that failed has said why.
        Some(code @ (..=code::NO_DEVICE | code::INTERNAL | code::INTERRUPTED)) => return Ok(code),
        // One whose partner is gone is ended by MPI.
        Some(code) => {
            return Err(Error::NoDevice(format!(
                "a rank was ended (code {code} of mpiexec), and the others were stopped; --resume continues from the \
                 last checkpoint"
            )));
        }
        None => return Err(Error::NoDevice(format!("mpiexec was stopped: {}", output.status))),
    }
    Ok(0)
}

/// Says what ranks say, without what MPI adds where it ends them.
fn pass_on(stderr: impl Read) {
    let lines = BufReader::new(stderr).split(b'\n').map_while(std::io::Result::ok);
    let mut is_over = false;
    for line in lines {
        let line = String::from_utf8_lossy(&line);
        is_over |= line.starts_with("Abort(");
        if !is_over {
            note!("{line}");
        }
    }
}

fn under_mpi(arguments: &Arguments, mpi: &mut Mpi) -> Result<u8> {
    let (ranks, rank) = (<Mpi as Transport<f64>>::ranks(mpi), <Mpi as Transport<f64>>::rank(mpi));
    super::super::start_threads(arguments.asked_threads().map(|threads| (threads / ranks).max(1)))?;
    let begun = (rank == 0).then(|| begin(arguments, Some((ranks, 1)))).transpose()?;
    let known = share::<f64, Training>(mpi, begun.as_ref().map(|begun| &begun.training))?;
    let (first, training, set) = match begun {
        // Signals are for mpiexec, which ends its ranks.
        Some(Begun { store, training, set }) => (Some((store, Events::without_signals())), training, set),
        None => {
            let set = data::load_again(&known, data::folder(arguments.data.as_deref()).as_deref())?;
            (None, known, set)
        }
    };
    with_dtype!(training.settings.dtype, T => as_rank::<T, _>(arguments, training, &set, first, mpi))
}

fn in_threads(arguments: &Arguments, ranks: usize) -> Result<u8> {
    super::super::start_threads(arguments.asked_threads())?;
    let Begun { store, training, set } = begin(arguments, Some((ranks, ranks)))?;
    let first = Mutex::new(Some((store, Events::install()?)));
    // The error of the rank that failed before all others.
    let failure = Mutex::new(None);
    with_dtype!(training.settings.dtype, T => {
        let work = |transport: &mut Threads<'_, T>| {
            let is_first = transport.rank() == 0;
            let first = if is_first { first.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
            as_rank::<T, _>(arguments, training.clone(), &set, first, transport).map_err(|cause| {
                let told = relgrad_kernels::Error::transport("training", &cause);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
                told
            })
        };
        on_threads(ranks, work).map(|codes| codes[0])
    })
    .map_err(|cause| {
        let told = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        told.unwrap_or_else(|| Error::NoDevice(cause.to_string()))
    })
}

/// Trains as one rank; the first one says how it went.
fn as_rank<T: Scalar, X: Transport<T>>(
    arguments: &Arguments,
    training: Training,
    set: &DataSet,
    first: Option<First>,
    transport: &mut X,
) -> Result<u8> {
    let recipe = Recipe::for_data(&training.settings, &set.parts)?;
    let (store, mut events) = first.unzip();
    let job = Job {
        store: store.as_ref(),
        time_limit_seconds: arguments.time_limit.0,
        quiet: arguments.quiet || store.is_none(),
        ..Job::new(&recipe, &set.parts, Tracking::On)
    };
    let trained = trainer::train_as_rank(&job, transport, events.as_mut());
    let Some(store) = &store else { return trained.map(|_| 0) };
    let ended = trained.and_then(|trained| end(store, training, &trained));
    if ended.is_err() && arguments.resume.is_none() {
        store.give_back();
    }
    ended
}
