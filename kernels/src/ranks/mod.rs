//! Gradients and steps over several ranks, where a weight is larger than the memory of one.
//!
//! [`ColumnBlock`]: every rank has some columns of each W, and ranks exchange blocks of D×N \[M88\]–\[M90\].
//! [`SampleShare`]: every rank has the whole network and some of the samples \[M91\]. [`Transport`]: what ranks say to
//! each other. [`on_threads`]: ranks that are threads of this process.

mod columns;
mod evaluation;
mod exchange;
mod rows;
mod samples;
mod sweep;
mod threads;
mod transport;

pub use columns::ColumnBlock;
pub use evaluation::{RankEvaluation, RankWorkload};
pub use samples::SampleShare;
pub use sweep::ColumnWorkspace;
pub use threads::{Threads, on_threads};
pub use transport::{Parcel, Traffic, Transport, require_room};

use crate::cost::Cost;
use crate::error::{Error, Result};
use crate::network::Architecture;
use crate::scalar::Dtype;

/// The components of a vector in p blocks, one a rank; the first have one more where they cannot all be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    len: usize,
    ranks: usize,
}

impl Split {
    /// `len` components for `ranks` ranks.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless every rank has one.
    pub fn new(len: usize, ranks: usize) -> Result<Self> {
        if ranks == 0 || ranks > len {
            return Err(Error::invalid("ranks", ranks as f64, "must be at least 1 and at most what is split (D or N)"));
        }
        Ok(Self { len, ranks })
    }

    /// p.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// Components of all ranks.
    pub fn total(&self) -> usize {
        self.len
    }

    /// The first component of a rank.
    pub fn start(&self, rank: usize) -> usize {
        rank * (self.len / self.ranks) + rank.min(self.len % self.ranks)
    }

    /// How many components a rank has.
    pub fn count(&self, rank: usize) -> usize {
        self.start(rank + 1) - self.start(rank)
    }

    /// How many numbers every rank has, with so many a component.
    pub fn counts(&self, each: usize) -> Vec<usize> {
        (0..self.ranks).map(|rank| each * self.count(rank)).collect()
    }
}

/// What one gradient or step of W by columns takes: flops and bytes of memory traffic of all ranks together, and bytes
/// of memory of the rank with the most columns \[M90\]. With `stored`, the gradient is kept beside the weights.
///
/// # Errors
/// Those of [`Split::new`].
pub fn cost_of_columns(
    architecture: &Architecture,
    (batch, ranks): (usize, usize),
    dtype: Dtype,
    stored: bool,
) -> Result<Cost> {
    let split = Split::new(architecture.dim, ranks)?;
    let [d, n, l, w] = [architecture.dim, batch, architecture.layers, dtype.bytes()].map(|count| count as f64);
    let own = split.count(0) as f64;
    let kept = if stored { 2.0 } else { 1.0 };
    let biases = if architecture.bias { kept * l * d + n } else { 0.0 };
    let sent = (n * d).max(2.0 * n * own);
    let bytes = w * (kept * l * d * own + biases + (l + 3.0) * n * own + 4.0 * n * d + sent);
    Ok(Cost {
        flops: (4.0 * l - 1.0) * 2.0 * n * d * d,
        min_bytes: bytes,
        min_traffic_bytes: 3.0 * l * d * d * w,
        expected_bytes: bytes,
    })
}

/// Bytes that come to all ranks together in one gradient or step of W by columns: 3ND(p−1) numbers a layer \[M89\].
pub fn bytes_of_columns(architecture: &Architecture, (batch, ranks): (usize, usize), dtype: Dtype) -> f64 {
    let [d, n, l, w] = [architecture.dim, batch, architecture.layers, dtype.bytes()].map(|count| count as f64);
    3.0 * l * n * d * (ranks as f64 - 1.0) * w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_differ_by_one_and_cover_everything() {
        for (len, ranks) in [(1, 1), (13, 4), (37, 7), (64, 4), (129, 128), (7, 7)] {
            let split = Split::new(len, ranks).unwrap();
            let counts = split.counts(1);
            let (most, fewest) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
            assert!(most - fewest <= 1 && *fewest >= 1, "{len} over {ranks}: {counts:?}");
            assert_eq!(split.start(ranks), len);
            let starts: Vec<usize> = (0..ranks).map(|rank| counts[..rank].iter().sum()).collect();
            assert_eq!((0..ranks).map(|rank| split.start(rank)).collect::<Vec<_>>(), starts);
        }
        for (len, ranks) in [(3, 0), (3, 4), (0, 1)] {
            assert!(Split::new(len, ranks).unwrap_err().to_string().starts_with("ranks ="));
        }
    }
}
