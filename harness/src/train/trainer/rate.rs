//! How large a step is, and whether it stays: the schedule, the edge of stability, and the line search.

use relgrad_kernels::{Error as Failure, Scalar};

use super::{Session, not_finite};
use crate::error::Result;
use crate::train::edge::{self, Edge};
use crate::train::learner::Stepped;
use crate::train::learns::{Learns, input};

/// Epochs below what `--rewind` allows that make a fall. Large steps waver, and a network that they have thrown out
/// stays there.
const FALLEN_EPOCHS: usize = 5;
/// Share of the limit from which it is told that steps are at the edge of stability.
const NEAR: f64 = 0.9;

impl<L: Learns> Session<'_, L> {
    /// μ of the next step: that of the schedule, halved as often as steps were undone, and at most the share of 2/λ, or
    /// of Adam's limit over λ, that `--edge` names.
    pub(super) fn rate(&self) -> f64 {
        let halved = self.scheduled() * 0.5_f64.powi(self.progress.halvings as i32);
        let typical = self.learner.edge().and_then(|(estimates, limit)| Some((estimates.typical()?, limit)));
        match (self.job.recipe.edge, typical) {
            (Edge::Below(share), Some((lambda, limit))) if lambda > 0.0 => halved.min(share * limit / lambda),
            _ => halved,
        }
    }

    fn scheduled(&self) -> f64 {
        let recipe = self.job.recipe;
        let schedule = recipe.schedule.in_steps(self.steps_per_epoch(), recipe.epochs);
        recipe.learning_rate * schedule.factor(self.progress.step)
    }

    /// A step on the batch that was gathered; `None` where the schedule has come to 0.
    pub(super) fn take_step(&mut self, track: bool) -> Result<Option<Stepped>> {
        if self.scheduled() <= 0.0 {
            return Ok(None);
        }
        self.look_at_edge()?;
        let rate = self.rate();
        self.keep_share(rate);
        if self.job.recipe.line_search {
            return self.search(rate).map(Some);
        }
        let stepped = self.learner.step(&self.staging.x, &self.staging.u, rate, track);
        stepped.map(Some).map_err(|cause| self.diverged(&cause))
    }

    fn look_at_edge(&mut self) -> Result<()> {
        let recipe = self.job.recipe;
        if !edge::is_due(self.progress.step, recipe.optimizer) {
            return Ok(());
        }
        let steps = (self.steps_per_epoch() * recipe.epochs) as u64;
        self.learner.probe(&self.staging.x, &self.staging.u, steps).map_err(|cause| self.diverged(&cause))
    }

    /// Keeps μλ over its limit, and warns once where nothing keeps it down.
    fn keep_share(&mut self, rate: f64) {
        let last = self.learner.edge().and_then(|(estimates, limit)| Some((estimates.last()?, limit)));
        let Some((lambda, limit)) = last else { return };
        let share = rate * lambda / limit;
        let largest = &mut self.progress.running.edge_share;
        *largest = Some(largest.map_or(share, |largest| largest.max(share)));
        if share > NEAR && self.job.recipe.edge == Edge::Off && !self.is_warned {
            self.is_warned = true;
            self.display.tell(&format!(
                "relgrad: at step {} μλ = {:.3}, and steps are stable below {limit:.3}: likelihood may be lost \
                 while that lasts; --schedule cosine ends with small steps, --edge 0.5 keeps the step size below half \
                 of that",
                self.progress.step + 1,
                rate * lambda
            ));
        }
    }

    /// A step of size μ, undone where it lowers the likelihood of the training part, or leaves the numbers; the rest of
    /// the training then has half the step size.
    fn search(&mut self, rate: f64) -> Result<Stepped> {
        let before = match self.reached {
            Some(nats) => nats,
            None => self.training_nats().map_err(|cause| self.diverged(&cause))?,
        };
        let kept = self.learner.snapshot().map_err(input)?;
        let stepped = self.learner.step(&self.staging.x, &self.staging.u, rate, false);
        let after = stepped.and_then(|stepped| Ok((stepped, self.training_nats()?)));
        let stepped = match after {
            Ok((stepped, nats)) if nats >= before => {
                self.reached = Some(nats);
                stepped
            }
            Ok(_) | Err(Failure::NonFinite { .. } | Failure::Singular { .. }) => {
                self.learner.restore(&kept).map_err(input)?;
                self.reached = Some(before);
                self.progress.halvings += 1;
                self.progress.running.rejected += 1;
                Stepped::default()
            }
            Err(other) => return Err(self.diverged(&other)),
        };
        Ok(Stepped { batch_nats: Some(before), ..stepped })
    }

    /// Whether `--rewind` has a network to go back to. After a kill the best one can be of an epoch that is yet to come
    /// again: until then nothing was lost, since every return leaves a checkpoint.
    pub(super) fn can_go_back(&self) -> bool {
        self.job.recipe.rewind.is_some() && self.progress.best.is_some_and(|best| best.epoch <= self.progress.epoch)
    }

    /// Whether the validation likelihood has been further below the best one than `--rewind` allows for
    /// [`FALLEN_EPOCHS`], of which this is the last.
    pub(super) fn has_fallen(&self, validation_nats: f64) -> bool {
        let Some((best, nats)) = self.progress.best.zip(self.job.recipe.rewind).filter(|_| self.can_go_back()) else {
            return false;
        };
        let since = self.epochs.iter().rev().take_while(|epoch| epoch.rejected_steps == Some(0));
        let values = [validation_nats].into_iter().chain(since.map(|epoch| epoch.validation_nats));
        let fallen = values.take_while(|value| *value < best.validation_nats - nats).take(FALLEN_EPOCHS);
        fallen.count() == FALLEN_EPOCHS
    }

    /// Takes the best network again; the rest of the training has half the step size.
    pub(super) fn go_back(&mut self) -> Result<()> {
        self.learner.go_back(&self.best).map_err(input)?;
        let best = self.progress.best.map_or(0, |best| best.epoch);
        self.progress.running.rejected += (self.progress.step as usize).saturating_sub(best * self.steps_per_epoch());
        self.progress.halvings += 1;
        Ok(())
    }

    /// Whether the line search has halved steps until rounding hides what they do.
    pub(super) fn is_search_over(&self) -> bool {
        self.job.recipe.line_search && f64::from(self.progress.halvings) >= -L::T::EPS.log2()
    }

    fn training_nats(&mut self) -> relgrad_kernels::Result<f64> {
        let values = self.learner.log_likelihoods(&self.training.x, &self.training.u)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        if mean.is_finite() { Ok(mean) } else { Err(not_finite("training log-likelihood")) }
    }
}
