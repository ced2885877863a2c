//! What the loop of training asks of what learns: the whole network in one process, or a rank's columns of it.

use std::io;
use std::path::Path;

use relgrad_kernels::layer::Coupling;
use relgrad_kernels::{Cpu, Result, Scalar};
use relgrad_reports::training::Stop;

use super::checkpoint::{Beside, Slot, State, arrays_of};
use super::edge::Estimates;
use super::learner::{Learner, Stepped};
use super::network::Inputs;
use super::standing::Best;
use super::store::{Restored, Store};
use super::tensors::{self, Put, Tensors, transposed};
use crate::data::Parts;
use crate::error;

/// The numbers of all arrays of parameters.
pub(super) type Snapshot<T> = Vec<Vec<T>>;

/// All ranks of a training call the same methods in the same order; the first one has the store, and others are told by
/// it. What is not said otherwise is as the method of [`Learner`].
pub(super) trait Learns {
    type T: Scalar;

    fn batch_size(&self) -> usize;

    /// The parts of the data as it takes them.
    fn inputs(&self, data: &Parts) -> [Inputs<Self::T>; 3];

    /// How many numbers of a sample it takes.
    fn width(&self) -> usize;

    fn step(&mut self, x: &[Self::T], u: &[Self::T], mu: f64, track: bool) -> Result<Stepped>;

    fn log_likelihoods(&mut self, x: &[Self::T], u: &[Self::T]) -> Result<Vec<f64>>;

    fn require_finite_moments(&self) -> Result<()> {
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// The drift that it removed from carried log-determinants; `None` where none are carried, or none can be computed.
    fn refresh(&mut self) -> Result<Option<f64>>;

    /// Whether it counts the layers that the guard held back.
    fn is_guarded(&self) -> bool;

    fn probe(&mut self, _x: &[Self::T], _u: &[Self::T], _steps: u64) -> Result<()> {
        Ok(())
    }

    /// The last values of the sharpness, where it is estimated, and the limit of μλ.
    fn edge(&self) -> Option<(&Estimates, f64)> {
        None
    }

    /// The Frobenius norms of the weights, layer by layer, where they can be computed.
    fn norms(&self) -> Vec<Option<f64>> {
        Vec::new()
    }

    /// The parameters, where they can be kept beside those that learn.
    fn snapshot(&self) -> Result<Snapshot<Self::T>>;

    fn restore(&mut self, snapshot: &[Vec<Self::T>]) -> Result<()>;

    /// As [`Self::restore`], forgetting what the steps since then have left beside the parameters.
    fn go_back(&mut self, snapshot: &[Vec<Self::T>]) -> Result<()> {
        self.restore(snapshot)
    }

    /// The reason of the first rank to stop here, if it has one.
    fn agree(&mut self, stop: Option<Stop>) -> Result<Option<Stop>> {
        Ok(stop)
    }

    /// What a checkpoint holds beside arrays and log-determinants.
    fn beside(&self, _goes_on: bool) -> Beside {
        Beside::default()
    }

    /// The carried log|det W_k|, in nats, where they are carried.
    fn log_abs_dets(&self) -> Option<Vec<f64>>;

    /// Writes all arrays to a tensor file.
    fn write_arrays(&mut self, path: &Path, with_vector: bool) -> error::Result<Tensors>;

    /// The part of a rank that has no store in that.
    fn lend_arrays(&mut self) -> error::Result<()> {
        Ok(())
    }

    /// Restores a checkpoint.
    fn read(&mut self, slot: &Slot) -> error::Result<State>;

    /// Says that there is none, and makes the first network.
    fn begin_anew(&mut self) -> error::Result<()> {
        Ok(())
    }

    /// The part of a rank that has no store in both.
    fn follow(&mut self) -> error::Result<Option<Restored>> {
        Ok(None)
    }

    /// Which model of the store is the best, and its snapshot.
    fn find_best(&mut self, store: Option<&Store>) -> error::Result<(Option<Best>, Snapshot<Self::T>)>;

    /// Sets the parameters to the best ones, of which this is the snapshot.
    fn restore_best(&mut self, snapshot: &[Vec<Self::T>], _store: Option<&Store>) -> error::Result<()> {
        self.restore(snapshot).map_err(input)
    }
}

pub(super) fn input(cause: relgrad_kernels::Error) -> error::Error {
    match cause {
        relgrad_kernels::Error::Transport { .. } => error::Error::NoDevice(cause.to_string()),
        _ => error::Error::Input(cause.to_string()),
    }
}

// By their paths: what is inherent comes before what is a trait's.
impl<T: Scalar, C: Coupling<Cpu, T>> Learns for Learner<T, C> {
    type T = T;

    fn batch_size(&self) -> usize {
        Learner::batch_size(self)
    }

    fn inputs(&self, data: &Parts) -> [Inputs<T>; 3] {
        Inputs::of(data)
    }

    fn width(&self) -> usize {
        self.parameters.architecture().dim
    }

    fn step(&mut self, x: &[T], u: &[T], mu: f64, track: bool) -> Result<Stepped> {
        Learner::step(self, x, u, mu, track)
    }

    fn log_likelihoods(&mut self, x: &[T], u: &[T]) -> Result<Vec<f64>> {
        Learner::log_likelihoods(self, x, u)
    }

    fn require_finite_moments(&self) -> Result<()> {
        Learner::require_finite_moments(self)
    }

    fn settle(&mut self) -> Result<()> {
        Learner::settle(self)
    }

    fn refresh(&mut self) -> Result<Option<f64>> {
        Learner::refresh(self)
    }

    fn is_guarded(&self) -> bool {
        self.log_dets().is_some()
    }

    fn probe(&mut self, x: &[T], u: &[T], steps: u64) -> Result<()> {
        Learner::probe(self, x, u, steps)
    }

    fn edge(&self) -> Option<(&Estimates, f64)> {
        self.sharpness().map(|probe| (&probe.estimates, self.edge_limit()))
    }

    fn norms(&self) -> Vec<Option<f64>> {
        Learner::norms(self).collect()
    }

    fn snapshot(&self) -> Result<Snapshot<T>> {
        Learner::snapshot(self)
    }

    fn restore(&mut self, snapshot: &[Vec<T>]) -> Result<()> {
        Learner::restore(self, snapshot)
    }

    fn go_back(&mut self, snapshot: &[Vec<T>]) -> Result<()> {
        Learner::go_back(self, snapshot)
    }

    fn beside(&self, goes_on: bool) -> Beside {
        let probe = self.sharpness().filter(|probe| goes_on && probe.sharpness.state().is_some());
        let sharpness = probe.map(|probe| probe.estimates.clone());
        Beside { adam_steps: self.moments().map(|moments| moments.steps), sharpness }
    }

    fn log_abs_dets(&self) -> Option<Vec<f64>> {
        self.log_dets().map(|log_dets| log_dets.per_layer().to_vec())
    }

    fn write_arrays(&mut self, path: &Path, with_vector: bool) -> error::Result<Tensors> {
        tensors::write(path, &arrays_of(self, with_vector), |array, put: Put<'_, T>| {
            let values = array.to_column_major(&self.device).map_err(io::Error::other)?;
            put(&transposed(&values, array.rows(), array.cols()))
        })
    }

    fn read(&mut self, slot: &Slot) -> error::Result<State> {
        slot.read(self)
    }

    fn find_best(&mut self, store: Option<&Store>) -> error::Result<(Option<Best>, Snapshot<T>)> {
        let Some(store) = store else { return Ok((None, Vec::new())) };
        let now = Learner::snapshot(self).map_err(input)?;
        let found = store.best().read_parameters(&self.device, &mut self.parameters)?.progress.best;
        let best = Learner::snapshot(self).map_err(input)?;
        Learner::restore(self, &now).map_err(input)?;
        Ok((found, best))
    }
}
