//! Golden vectors: reading them, computing the same quantities, telling how far apart they are.

pub(crate) mod agreement;
pub(crate) mod compare;
pub(crate) mod golden;
mod node;
pub(crate) mod output;
