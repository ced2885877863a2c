//! `relgrad._relgrad`: what the Python package `relgrad` calls.
//!
//! The functions check arrays and call the kernels on their memory, without the interpreter's lock. The package around
//! them has the interface and its documentation.

mod arrays;
mod calls;
mod network;
mod row_major;
mod tables;

#[pyo3::pymodule(gil_used = false)]
mod _relgrad {
    #[pymodule_export]
    use super::calls::{gradient, initial, invert, likelihood, sample, step};
    #[pymodule_export]
    use super::tables::read;

    /// Version of relgrad.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
