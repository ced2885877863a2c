//! Training by maximum likelihood, with any gradient backend.
//!
//! A [`recipe`] says how; a [`learner`] holds the parameters and takes the steps; the loop in [`trainer`] goes through the
//! data, [`evaluate`]s, stops early, and leaves checkpoints and a log in a [`store`].

mod checkpoint;
pub(crate) mod evaluate;
pub(crate) mod learner;
pub(crate) mod order;
mod progress;
pub(crate) mod recipe;
pub(crate) mod start;
pub(crate) mod store;
pub(crate) mod trainer;
