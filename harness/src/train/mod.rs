//! Training by maximum likelihood, with any gradient backend.
//!
//! A [`recipe`] says how; a [`learner`] holds the parameters and takes the steps; the loop in [`trainer`] goes through
//! the data, evaluates, stops early, and leaves checkpoints and a log in a [`store`]. [`edge`] keeps the step size
//! where steps are stable.

mod checkpoint;
mod columns;
pub(crate) mod edge;
pub(crate) mod learner;
mod learns;
mod log;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod network;
pub(crate) mod order;
mod plain;
pub(crate) mod prepare;
mod progress;
pub(crate) mod ranked;
pub(crate) mod recipe;
pub(crate) mod sealed;
mod standing;
pub(crate) mod start;
pub(crate) mod store;
mod tensors;
pub(crate) mod trainer;

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod learner_tests;

#[cfg(test)]
pub(crate) mod testing {
    use relgrad_reports::training::Epoch;

    /// A log's line of which only the number of the epoch and its likelihood matter.
    pub(crate) fn epoch(epoch: usize, validation_nats: f64) -> Epoch {
        Epoch {
            epoch,
            step: 0,
            training_nats: None,
            validation_nats,
            learning_rate: 0.1,
            sharpness: None,
            edge_share: None,
            rejected_steps: None,
            guarded_share: None,
            log_det_drift: None,
            seconds: 0.0,
        }
    }
}
