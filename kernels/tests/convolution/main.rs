//! Networks of convolutions \[M24\]–\[M27\] against the dense block-circulant reference, finite differences, and the
//! committed golden file. Everything is seeded.

mod algebra;
mod errors;
mod golden;
mod gradients;
mod inversion;
mod support;
