//! Values in 80 digits, in text files.

use std::fmt::Debug;
use std::str::FromStr;

use crate::network::{Activation, Base};

/// Per activation, rows of x, σ(x), σ'(x), σ''(x)/σ'(x), log σ'(x).
pub(super) fn activations() -> Vec<(Activation, Vec<[f64; 5]>)> {
    parse(include_str!("activations.txt"))
}

/// Per base density, rows of s, log p(s), ψ(s).
pub(super) fn densities() -> Vec<(Base, Vec<[f64; 3]>)> {
    parse(include_str!("densities.txt"))
}

/// A function's name, then rows of numbers; lines with a # are comments.
fn parse<F: FromStr<Err: Debug>, const N: usize>(text: &str) -> Vec<(F, Vec<[f64; N]>)> {
    let mut functions: Vec<(F, Vec<[f64; N]>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(char::is_alphabetic) {
            functions.push((line.parse().unwrap(), Vec::new()));
            continue;
        }
        let row: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        functions.last_mut().unwrap().1.push(row.try_into().unwrap());
    }
    functions
}
