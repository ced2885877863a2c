//! What the threads of a device share out among themselves: the columns of a matrix, or the samples of a batch.

use std::sync::Mutex;

use super::Cpu;
use super::shared::Shared;
use super::team::{self, Length};
use crate::error::Result;
use crate::network::Architecture;

/// Elementwise work on fewer numbers stays on the calling thread.
const PARALLEL_ELEMENTS: usize = 1 << 12;

/// Up to this dimension threads share out a gradient's samples: they then meet once a gradient instead of once an
/// operation, but each adds up a D×D direction a layer of its own.
const LARGEST_DIVIDED: usize = 128;

/// Samples that are worth a part of their own.
const LEAST_SAMPLES: usize = 16;

/// A gradient with fewer numbers in its pre-activations stays on the calling thread.
const LEAST_DIVIDED: usize = 1_000;

impl Cpu {
    /// Does `work` on whole columns of `rows` numbers, the same ones of every slice, shared out among the threads.
    pub(crate) fn on_columns<T: Send + Sync, const M: usize, const R: usize>(
        &self,
        rows: usize,
        changed: [&mut [T]; M],
        read: [&[T]; R],
        work: impl Fn([&mut [T]; M], [&[T]; R]) -> Result<()> + Sync,
    ) -> Result<()> {
        let len = changed[0].len();
        if self.threads <= 1 || len < PARALLEL_ELEMENTS {
            return work(changed, read);
        }
        let piece = (len / rows).div_ceil(self.threads) * rows;
        let changed = changed.map(Shared::new);
        run_fallible(self.threads, |part| {
            let range = (part * piece).min(len)..((part + 1) * piece).min(len);
            // SAFETY: the ranges of the parts are disjoint.
            let changed = changed.each_ref().map(|slice| unsafe { slice.range(range.clone()) });
            work(changed, read.map(|slice| &slice[range.clone()]))
        })
    }

    /// As [`crate::device::Device::sample_parts`].
    pub(super) fn parts_of_samples(&self, architecture: &Architecture, batch: usize) -> usize {
        let Architecture { dim, layers, .. } = *architecture;
        if dim > LARGEST_DIVIDED || dim.saturating_mul(batch).saturating_mul(layers) < LEAST_DIVIDED {
            return 1;
        }
        self.threads.min(batch / LEAST_SAMPLES).max(1)
    }

    /// As [`crate::device::Device::each_part`].
    pub(super) fn run_each<P: Send>(
        &self,
        parts: &mut [P],
        work: impl Fn(&Self, &mut P) -> Result<()> + Sync,
    ) -> Result<()> {
        if let [whole] = parts {
            return work(self, whole);
        }
        let (count, parts) = (parts.len(), Shared::new(parts));
        run_fallible(count, |part| {
            // SAFETY: every part has an element of its own.
            let mine = unsafe { parts.range(part..part + 1) };
            mine.iter_mut().try_for_each(|mine| work(&self.alone(), mine))
        })
    }
}

/// Runs all parts on the team; an error of one that failed.
fn run_fallible(parts: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let failure = Mutex::new(None);
    team::run(parts, Length::Short, &|part| {
        if let Err(error) = work(part)
            && let Ok(mut failure) = failure.lock()
        {
            failure.get_or_insert(error);
        }
    });
    match failure.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(error),
        Err(_) => unreachable!("a panic in a part would have unwound"),
    }
}
