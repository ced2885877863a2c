//! Outcomes of comparisons with golden vectors, and the agreement of a device at awkward sizes.

pub(crate) mod agreement;
pub(crate) mod output;
