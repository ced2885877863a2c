//! Rows of weights that no rank has whole, on their way to a file and back.

use std::ops::Range;

use super::columns::ColumnBlock;
use super::sweep::ColumnWorkspace;
use super::transport::Transport;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

impl<D: Device<T>, T: Scalar> ColumnWorkspace<D, T> {
    /// All rows of a weight in blocks for which there is room: as many rows as a batch has samples.
    pub fn row_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<D, T> {
        let (dim, most) = (self.split.total(), self.samples());
        (0..dim).step_by(most).map(move |first| first..dim.min(first + most))
    }

    /// Some rows of W_k (k from 0) with the columns of all ranks, column-major, on every rank: an all-gather.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for rows that are none of [`Self::row_blocks`]; [`Error::Transport`].
    pub fn rows(
        &mut self,
        device: &D,
        block: &ColumnBlock<D, T>,
        (k, rows): (usize, Range<usize>),
        transport: &mut (impl Transport<T> + ?Sized),
    ) -> Result<&[T]> {
        let dim = self.require_rows(block, k, &rows)?;
        let counts = self.split.counts(rows.len());
        let weight = &block.arrays.weights[k];
        let own = &mut self.sent.numbers_mut()[..counts[self.rank]];
        for (j, part) in own.chunks_exact_mut(rows.len()).enumerate() {
            let (_, tail) = D::split(weight.view().slice(), j * dim + rows.start);
            device.download(D::split(tail, rows.len()).0, part)?;
        }
        let received = &mut self.received[..rows.len() * dim];
        transport.all_gather(&counts, &mut self.sent, received)?;
        Ok(received)
    }

    /// The reverse: every rank takes its columns of rows that the first one has, and no other.
    ///
    /// # Errors
    /// As [`Self::rows`]; [`Error::ShapeMismatch`] unless the first rank has as many numbers.
    pub fn set_rows(
        &mut self,
        device: &D,
        block: &mut ColumnBlock<D, T>,
        (k, rows): (usize, Range<usize>),
        numbers: Option<&[T]>,
        transport: &mut (impl Transport<T> + ?Sized),
    ) -> Result<()> {
        let dim = self.require_rows(block, k, &rows)?;
        self.spread(numbers, rows.len() * dim, transport)?;
        let (start, count) = (self.split.start(self.rank), self.split.count(self.rank));
        let own = &self.received[start * rows.len()..][..count * rows.len()];
        for (j, part) in own.chunks_exact(rows.len()).enumerate() {
            let weight = block.arrays.weights[k].view_mut().into_slice();
            let (_, tail) = D::split_mut(weight, j * dim + rows.start);
            device.upload(part, D::split_mut(tail, rows.len()).0)?;
        }
        Ok(())
    }

    /// b_k (k from 0) ← the D numbers of the first rank.
    ///
    /// # Errors
    /// As [`Self::set_rows`].
    pub fn set_bias(
        &mut self,
        device: &D,
        block: &mut ColumnBlock<D, T>,
        k: usize,
        numbers: Option<&[T]>,
        transport: &mut (impl Transport<T> + ?Sized),
    ) -> Result<()> {
        let dim = self.split.total();
        let Some(bias) = block.arrays.biases.get_mut(k) else {
            return Err(Error::shape("bias over ranks", "a bias", "none"));
        };
        self.spread(numbers, dim, transport)?;
        device.upload(&self.received[..dim], bias.view_mut().into_slice())
    }

    /// What was received ← `len` numbers of the first rank.
    fn spread(
        &mut self,
        numbers: Option<&[T]>,
        len: usize,
        transport: &mut (impl Transport<T> + ?Sized),
    ) -> Result<()> {
        let mut counts = vec![0; self.split.ranks()];
        counts[0] = len;
        if self.rank == 0 {
            let Some(numbers) = numbers.filter(|numbers| numbers.len() == len) else {
                let found = numbers.map_or(0, <[T]>::len);
                return Err(Error::shape("numbers of the first rank", len, found));
            };
            self.sent.numbers_mut()[..len].copy_from_slice(numbers);
        }
        transport.all_gather(&counts, &mut self.sent, &mut self.received[..len])
    }

    /// D, where the work memory is for these rows of this block.
    fn require_rows(&self, block: &ColumnBlock<D, T>, k: usize, rows: &Range<usize>) -> Result<usize> {
        let dim = self.split.total();
        let fits = (block.split(), block.rank()) == (self.split, self.rank) && k < block.arrays.weights.len();
        if fits && rows.start < rows.end && rows.end <= dim && rows.len() <= self.samples() {
            return Ok(dim);
        }
        let expected = format!("at most {} rows of {dim}, of a layer of these ranks", self.samples());
        Err(Error::shape("rows of a weight", expected, format!("{rows:?} of layer {}", k + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Cpu;
    use crate::init::{self, Init};
    use crate::likelihood::Evaluator;
    use crate::network::Architecture;
    use crate::ranks::{Threads, on_threads};

    /// One rank's rows and likelihoods are those of all; weights that are written and read by several come back.
    #[test]
    fn what_no_rank_has_whole_is_as_on_one_rank() {
        const BATCH: usize = 5;
        let device = Cpu::new(1);
        for (dim, ranks, last_nonlinear) in [(13, 3, false), (4, 4, true), (7, 1, false)] {
            let architecture = Architecture { bias: true, last_nonlinear, ..Architecture::new(dim, 2) };
            let whole = init::network::<_, f64, _>(&device, &architecture, Init::Orthogonal, 3).unwrap();
            let batch = init::batch(&device, dim, BATCH, 3).unwrap();
            let mut evaluator = Evaluator::new(&device, &architecture, BATCH).unwrap();
            let expected = evaluator.log_likelihood(&device, &whole, batch.view()).unwrap();
            let weight = whole.weight(1).slice();
            let found = on_threads(ranks, |transport: &mut Threads<'_, f64>| {
                let mut block = ColumnBlock::of(&device, &whole, (ranks, transport.rank()))?;
                let mut work = ColumnWorkspace::new(&device, &block, BATCH)?;
                let x = block.rows_of(&device, batch.view())?;
                let l2j = if transport.rank() == 0 { expected.l2j() } else { f64::NAN };
                let nats = work.log_likelihoods(&device, &block, x.view(), l2j, transport)?;
                // Rows of layer 2, to be written as those of layer 1.
                let mut rows = Vec::new();
                for range in work.row_blocks() {
                    let numbers = work.rows(&device, &block, (1, range.clone()), transport)?.to_vec();
                    let first = (transport.rank() == 0).then_some(&numbers[..]);
                    work.set_rows(&device, &mut block, (0, range.clone()), first, transport)?;
                    rows.push((range, numbers));
                }
                let bias = vec![0.5; dim];
                work.set_bias(&device, &mut block, 1, Some(&bias), transport)?;
                assert_eq!(block.arrays.weights[0].view().slice(), block.arrays.weights[1].view().slice());
                assert_eq!(block.arrays.biases[1].view().slice(), bias);
                assert!(work.rows(&device, &block, (0, 0..dim + 1), transport).is_err());
                Ok((nats, rows))
            });
            for (nats, rows) in found.unwrap() {
                let most = nats.iter().zip(expected.per_sample()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(most < 1e-12, "{dim} over {ranks}: {most:e}");
                assert_eq!(rows.iter().map(|(range, _)| range.len()).sum::<usize>(), dim);
                for (range, numbers) in rows {
                    for (j, part) in numbers.chunks_exact(range.len()).enumerate() {
                        assert_eq!(part, &weight[j * dim..][range.clone()]);
                    }
                }
            }
        }
    }
}
