//! What ranks have to say to each other: sums whose parts are scattered, and parts that are gathered.

use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Operations of all ranks of a computation. Every rank asks for the same ones in the same order, with the same counts.
///
/// An implementation counts what it moves. Where a rank fails or ends, an operation of the others ends with an error,
/// and so does every later one: none of them waits for ever.
pub trait Transport<T: Scalar> {
    /// Which rank this is, from 0.
    fn rank(&self) -> usize;

    /// p.
    fn ranks(&self) -> usize;

    /// received ← this rank's part of Σ sent over all ranks; `sent` has `counts[q]` numbers for each rank q in turn.
    /// The sum has the precision of its numbers.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::Transport`].
    fn reduce_scatter(&mut self, counts: &[usize], sent: &mut Parcel<T>, received: &mut [T]) -> Result<()>;

    /// received ← the first `counts[q]` numbers of what rank q sends, for each rank in turn.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::Transport`].
    fn all_gather(&mut self, counts: &[usize], sent: &mut Parcel<T>, received: &mut [T]) -> Result<()>;

    /// numbers ← their sum over all ranks, the same on every rank. For a few numbers: [`Self::traffic`] has them not.
    ///
    /// # Errors
    /// [`Error::Transport`].
    fn all_reduce(&mut self, numbers: &mut [f64]) -> Result<()>;

    /// Waits until every rank is here.
    ///
    /// # Errors
    /// [`Error::Transport`].
    fn barrier(&mut self) -> Result<()>;

    /// What [`Self::reduce_scatter`] and [`Self::all_gather`] have moved.
    fn traffic(&self) -> Traffic;
}

/// What came to a rank from the others. Over all ranks, as much was sent as came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of numbers.
    pub received_bytes: u64,
    /// Operations.
    pub collectives: u64,
}

impl Traffic {
    /// One more operation, by which so many numbers came from other ranks.
    pub fn add<T: Scalar>(&mut self, numbers: usize) {
        self.received_bytes += numbers as u64 * T::DTYPE.bytes() as u64;
        self.collectives += 1;
    }
}

/// Numbers on their way to other ranks: a transport may lend them out for the time of an operation.
#[derive(Debug, Default)]
pub struct Parcel<T>(pub(super) Vec<T>);

impl<T: Scalar> Parcel<T> {
    /// Room for `len` numbers.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn zeros(len: usize) -> Result<Self> {
        Ok(Self(on_host(len)?))
    }

    /// All of it.
    pub fn numbers(&self) -> &[T] {
        &self.0
    }

    /// All of it, to be filled.
    pub fn numbers_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// Zeros in host memory.
pub(super) fn on_host<T: Scalar>(len: usize) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    numbers.try_reserve_exact(len).map_err(|_| Error::OutOfMemory {
        bytes: len as u128 * T::DTYPE.bytes() as u128,
        what: "an exchange between ranks".into(),
    })?;
    numbers.resize(len, T::default());
    Ok(numbers)
}

/// Whether an operation of a rank has room for what it sends and receives: for every transport.
///
/// # Errors
/// [`Error::ShapeMismatch`].
pub fn require_room(
    operation: &'static str,
    counts: (&[usize], usize),
    sent: (usize, usize),
    received: (usize, usize),
) -> Result<()> {
    let (counts, ranks) = counts;
    if counts.len() != ranks {
        return Err(Error::shape(operation, format!("counts of {ranks} ranks"), counts.len()));
    }
    // What is there, and what it must be.
    if sent.0 < sent.1 || received.0 != received.1 {
        let expected = format!("{} numbers to send and room for {}", sent.1, received.1);
        return Err(Error::shape(operation, expected, format!("{} and {}", sent.0, received.0)));
    }
    Ok(())
}
