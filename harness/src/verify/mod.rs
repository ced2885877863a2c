//! Golden vectors: reading them, computing the same quantities, telling how far apart they are.

pub(crate) mod agreement;
pub(crate) mod compare;
pub(crate) mod compare_convolution;
mod conditional;
pub(crate) mod golden;
mod golden_convolution;
mod node;
pub(crate) mod output;
