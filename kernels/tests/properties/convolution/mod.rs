//! Networks of convolutions \[M24\]–\[M27\] against the dense block-circulant reference and finite differences.
//! Everything is seeded.

mod algebra;
mod errors;
mod gradients;
mod inversion;
mod support;
