//! What a number or a name of a file may be: the one place where records, runs and stores are checked, whatever reads
//! them.
//!
//! A check answers with a phrase: which value it is and what it must be. The reader puts the file and the line in
//! front.

mod entry;
mod record;
mod run;
mod settings;

use std::ops::RangeInclusive;

use relgrad_vocabulary::{Activation, Dtype, Math, excerpt};

pub(crate) use entry::entry;
pub(crate) use record::{of_run, record};
pub(crate) use run::run;

/// Whether a value is what it must be; the reason where it is not.
type Checked = std::result::Result<(), String>;

/// Seconds of one evaluation: from below a clock's resolution to thirty years.
const SECONDS: RangeInclusive<f64> = 1e-12..=1e9;
/// Seconds that may be none at all.
const DURATION: RangeInclusive<f64> = 0.0..=1e9;
/// Bytes: to an exbibyte.
const BYTES: RangeInclusive<f64> = 0.0..=(1_u64 << 60) as f64;
/// Operations, or operations or bytes a second, or bytes that a model or a plan expects.
const AMOUNT: RangeInclusive<f64> = 0.0..=1e40;
/// Data dimensions D; one weight matrix of the largest takes 400 terabytes.
pub(crate) const DIM: RangeInclusive<usize> = 1..=10_000_000;
/// Batch sizes N.
pub(crate) const BATCH: RangeInclusive<usize> = 1..=1_000_000_000;
/// Numbers of layers L.
pub(crate) const LAYERS: RangeInclusive<usize> = 1..=1_000_000;
/// Threads.
pub(crate) const THREADS: RangeInclusive<usize> = 1..=65_536;
/// Ranks over which weights are split.
const RANKS: RangeInclusive<usize> = 1..=65_536;
/// Evaluations of one sample.
const EVALUATIONS: RangeInclusive<u64> = 1..=1_000_000_000_000;
/// Processes a cell.
const MOST_ROUNDS: usize = 1_000_000;

pub(crate) fn number(what: &str, value: f64, range: &RangeInclusive<f64>) -> Checked {
    let (low, high) = (range.start(), range.end());
    if range.contains(&value) {
        Ok(())
    } else {
        Err(format!("{what} is {value:e}; it must be from {low:e} to {high:e}"))
    }
}

pub(crate) fn count<T: PartialOrd + std::fmt::Display>(what: &str, value: T, range: &RangeInclusive<T>) -> Checked {
    let (low, high) = (range.start(), range.end());
    if range.contains(&value) { Ok(()) } else { Err(format!("{what} is {value}; it must be from {low} to {high}")) }
}

/// All of a list within a range; the one that is not is named by its place, from 1.
fn numbers(what: &str, values: &[f64], range: &RangeInclusive<f64>) -> Checked {
    match values.iter().position(|value| !range.contains(value)) {
        Some(at) => number(&format!("{what} {}", at + 1), values[at], range),
        None => Ok(()),
    }
}

fn bytes(what: &str, value: u64) -> Checked {
    number(what, value as f64, &BYTES)
}

/// No more than `most` of something.
fn at_most(what: &str, found: usize, most: usize) -> Checked {
    if found <= most { Ok(()) } else { Err(format!("{found} {what}; at most {most} are allowed")) }
}

fn activation(activation: Activation) -> Checked {
    activation.validate().map_err(|cause| format!("activation `{activation}`: {cause}"))
}

/// An arithmetic that multiplies numbers of this type.
fn arithmetic(dtype: Dtype, math: Option<Math>) -> Checked {
    match math.filter(|math| math.dtype() != dtype) {
        None => Ok(()),
        Some(math) => Err(format!("arithmetic {math} does not match number type {dtype}")),
    }
}

/// A moment as RFC 3339 writes it: `2026-11-24T02:21:23Z`, with a fraction or another offset perhaps.
fn moment(what: &str, text: &str) -> Checked {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(shape, found): (&u8, u8)| if *shape == b'd' { found.is_ascii_digit() } else { found == *shape };
    let rest = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'Z' | b'z' | b'+' | b'-' | b':');
    let is_moment = (SHAPE.len() + 1..=40).contains(&text.len())
        && SHAPE.iter().zip(text.bytes()).all(fits)
        && text.bytes().skip(SHAPE.len()).all(rest);
    if is_moment {
        Ok(())
    } else {
        Err(format!("{what} is `{}`; it must be a time like 2026-11-24T02:21:23Z", excerpt(text, 60)))
    }
}

#[cfg(test)]
mod tests;
