//! The properties of MATH.md §18, and what happens to bad input. One binary, so that faer is linked once; one file per
//! theme. Everything is seeded, proptest too.

mod convolution;
mod derivatives;
mod errors;
mod identities;
mod inversion;
mod mismatches;
mod seeds;
mod steps;
mod support;
