//! Where a training stands.

use serde::{Deserialize, Serialize};

/// Where a training stands; with the settings and the data it goes on bit for bit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) epoch: usize,
    /// Batches done of the epoch that has begun.
    pub(crate) batches: usize,
    pub(crate) step: u64,
    pub(crate) seconds: f64,
    /// Sums over the epoch that has begun.
    pub(crate) running: Running,
    pub(crate) best: Option<Best>,
    /// Times that the step size was halved: by the line search with every step that it undid, or with every return to
    /// the best network.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) halvings: u32,
}

fn is_zero(halvings: &u32) -> bool {
    *halvings == 0
}

/// Sums over the batches of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Batches whose likelihood was tracked.
    pub(crate) tracked: usize,
    /// Sum of their mean log-likelihoods.
    pub(crate) nats: f64,
    /// Layers that the guard held back.
    pub(crate) guarded: usize,
    /// Steps that were undone.
    #[serde(default)]
    pub(crate) rejected: usize,
    /// The largest μλ over its limit, where λ is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edge_share: Option<f64>,
}

/// The epoch with the best validation likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) epoch: usize,
    pub(crate) validation_nats: f64,
}

impl Progress {
    /// What is impossible about it in a training of so many epochs of so many batches.
    pub(super) fn impossible(&self, epochs: usize, batches: usize) -> Option<String> {
        let done = (self.epoch as u128) * batches as u128 + self.batches as u128;
        if self.epoch > epochs || (self.batches > 0 && self.batches >= batches) {
            return Some(format!("epoch {} and {} batches are beyond the end", self.epoch, self.batches));
        }
        if u128::from(self.step) != done {
            return Some(format!("step {} is not what its epoch and batches make", self.step));
        }
        let Running { tracked, nats, rejected, edge_share, .. } = self.running;
        let are_finite = nats.is_finite() && self.seconds.is_finite() && edge_share.is_none_or(f64::is_finite);
        if tracked.max(rejected) > self.batches || !are_finite || self.seconds < 0.0 {
            return Some("its sums are not those of its batches".to_string());
        }
        if u64::from(self.halvings) > self.step {
            return Some("the step size was halved more often than there were steps".to_string());
        }
        // It may be yet to come: a kill can leave a best model that is ahead of the last checkpoint.
        let is_possible = |best: Best| best.epoch <= epochs && best.validation_nats.is_finite();
        (!self.best.is_some_and(is_possible)).then(|| "it has no best epoch".to_string())
    }
}
