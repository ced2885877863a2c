//! A rank of a training whose weights are split by columns \[M88\]: it takes the steps of one process, to rounding.
//!
//! A weight goes to a file and comes from one in blocks of rows, by the first rank, so that no rank ever has it whole.
//! Log-determinants begin as those of the first network, and are carried \[M18\] from checkpoint to checkpoint.

use std::io;
use std::path::Path;

use relgrad_kernels::device::{Device, Matrix};
use relgrad_kernels::layer::CouplingKind;
use relgrad_kernels::ranks::{ColumnBlock, ColumnWorkspace, Split, Transport};
use relgrad_kernels::step::{InPlaceStep, LogDets};
use relgrad_kernels::{Architecture, Cpu, Dense, Init, Method, Result, Scalar};
use relgrad_reports::training::Stop;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Slot, State};
use super::edge::Edge;
use super::learner::Stepped;
use super::learns::{Learns, Snapshot, input};
use super::network::{Inputs, Place, require_finite};
use super::recipe::{Optimizer, Recipe};
use super::standing::{Best, Progress};
use super::start::{self, Affine, Start};
use super::store::{Restored, Store};
use super::tensors::{self, Named, Reader, Tensors, transposed};
use crate::data::{Parts, Samples};
use crate::error::{self, Error};

/// Refuses what ranks cannot train.
pub(crate) fn require(recipe: &Recipe, ranks: usize) -> error::Result<()> {
    let Recipe { architecture, method, optimizer, .. } = recipe;
    let is_plain = matches!(method, Method::Relative | Method::RelativeInPlace) && *optimizer == Optimizer::Sgd;
    let refusals = [
        (!is_plain, format!("{method} with {optimizer} has no form over ranks")),
        (architecture.coupling != CouplingKind::Dense, "convolutions have no form over ranks".to_string()),
        (architecture.conditions > 0, "densities with a condition have no form over ranks".to_string()),
        (recipe.noise > 0.0, "samples have no noise over ranks".to_string()),
        (recipe.line_search, "a line search keeps a second copy of all weights".to_string()),
        (recipe.rewind.is_some(), "ranks do not go back to an earlier network".to_string()),
        (matches!(recipe.edge, Edge::Below(_)), "the sharpness is not estimated over ranks".to_string()),
        (ranks > architecture.dim, format!("{ranks} ranks cannot share the {} columns of W", architecture.dim)),
    ];
    match refusals.into_iter().find(|(is_refused, _)| *is_refused) {
        Some((_, why)) => Err(Error::Usage(format!(
            "{why}: --ranks trains dense layers by plain relative steps in place (--method relative --optimizer sgd), \
             with at least a column a rank, and without --conditional, --line-search, --rewind and --edge SHARE"
        ))),
        None => Ok(()),
    }
}

/// The text of the first rank, on every rank.
fn tell_all<T: Scalar>(transport: &mut impl Transport<T>, text: Option<&str>) -> Result<String> {
    let bytes = text.map_or(&[][..], str::as_bytes);
    let mut length = [bytes.len() as f64];
    transport.all_reduce(&mut length)?;
    let mut numbers: Vec<f64> = bytes.iter().map(|byte| f64::from(*byte)).collect();
    numbers.resize(length[0] as usize, 0.0);
    transport.all_reduce(&mut numbers)?;
    let bytes = numbers.into_iter().map(|number| number as u8).collect();
    String::from_utf8(bytes).map_err(|cause| relgrad_kernels::Error::transport("text of the first rank", cause))
}

/// A value of the first rank, on every rank.
pub(crate) fn share<T: Scalar, V: Serialize + DeserializeOwned>(
    transport: &mut impl Transport<T>,
    value: Option<&V>,
) -> error::Result<V> {
    let failed = |cause: &dyn std::fmt::Display| Error::NoDevice(format!("ranks cannot exchange: {cause}"));
    let text = value.map(serde_json::to_string).transpose().map_err(|cause| failed(&cause))?;
    let text = tell_all(transport, text.as_deref()).map_err(|cause| failed(&cause))?;
    serde_json::from_str(&text).map_err(|cause| failed(&cause))
}

/// What is told of a checkpoint to ranks that do not read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Standing {
    progress: Progress,
    log_abs_dets: Vec<f64>,
}

pub(super) struct RankedLearner<'a, T: Scalar, X> {
    device: Cpu,
    block: ColumnBlock<Cpu, T>,
    work: ColumnWorkspace<Cpu, T>,
    /// The rank's rows of a batch.
    batch: Matrix<Cpu, T>,
    rule: InPlaceStep,
    log_dets: LogDets<T>,
    start: Start,
    /// The map that the first layer begins with, where the start is one that standardises.
    standardising: Option<Affine>,
    transport: &'a mut X,
}

impl<'a, T: Scalar, X: Transport<T>> RankedLearner<'a, T, X> {
    /// The columns of a rank, with all memory for its batches.
    ///
    /// # Errors
    /// Those of [`require`]; not enough memory; data that cannot be standardised.
    pub(super) fn begin(recipe: &Recipe, data: &Parts, transport: &'a mut X) -> error::Result<Self> {
        let (ranks, rank) = (transport.ranks(), transport.rank());
        require(recipe, ranks)?;
        let device = Cpu::new((recipe.threads / ranks).max(1));
        let architecture = recipe.architecture.with(Dense);
        let (dim, size) = (architecture.dim, recipe.batch.min(data.train.count()));
        let block = ColumnBlock::draw(&device, &architecture, (Init::Orthogonal, recipe.seed), (ranks, rank));
        let block = block.map_err(input)?;
        let standardising = (recipe.start == Start::Standardise)
            .then(|| start::standardising::<T>(&data.train, f64::EPSILON))
            .transpose()
            .map_err(|cause| start::not_started(&cause))?;
        Ok(Self {
            work: ColumnWorkspace::new(&device, &block, size).map_err(input)?,
            batch: Matrix::zeros(&device, block.split().count(rank), size, "batch").map_err(input)?,
            rule: InPlaceStep { bias_mode: recipe.bias_mode, guard: recipe.guard, ..InPlaceStep::default() },
            log_dets: LogDets::known(vec![0.0; architecture.layers], dim, size),
            start: recipe.start,
            standardising,
            device,
            block,
            transport,
        })
    }

    fn split(&self) -> Split {
        self.block.split()
    }

    /// The first network of the training: orthogonal weights, of which W_1 may take a map of the columns.
    fn make_first(&mut self) -> error::Result<()> {
        match (self.start, self.standardising.take()) {
            (Start::Orthogonal, _) => Ok(()),
            (_, Some(map)) => self.standardise(&map).map_err(input),
            (other, None) => Err(Error::Usage(format!(
                "no rank knows the log-determinants of a network that begins as {other}: over ranks choose --init \
                 orthogonal or standardise, or --resume after an epoch on one rank"
            ))),
        }
    }

    /// W_1 ← W_1 diag(s), b_1 ← W_1 t, from orthogonal W_1.
    fn standardise(&mut self, (scale, offset): &Affine) -> Result<()> {
        let (split, rank) = (self.split(), self.block.rank());
        let own = split.start(rank)..split.start(rank + 1);
        let mut sums = vec![0.0; split.total()];
        let arrays = self.block.arrays_mut();
        let weight = arrays.weights[0].view_mut().into_slice();
        for (j, column) in own.zip(weight.chunks_exact_mut(split.total())) {
            let [scale, offset] = [scale[j], offset[j]].map(|x| T::of(x).widen());
            for (sum, x) in sums.iter_mut().zip(column) {
                *sum += x.widen() * offset;
                *x = T::of(x.widen() * scale);
            }
        }
        self.transport.all_reduce(&mut sums)?;
        let sums: Vec<T> = sums.into_iter().map(T::of).collect();
        self.device.upload(&sums, arrays.biases[0].view_mut().into_slice())?;
        let mut log_abs_dets = self.log_dets.per_layer().to_vec();
        log_abs_dets[0] = scale.iter().map(|scale| T::of(*scale).widen().abs().ln()).sum();
        self.carry(log_abs_dets);
        Ok(())
    }

    fn carry(&mut self, log_abs_dets: Vec<f64>) {
        self.log_dets = LogDets::known(log_abs_dets, self.split().total(), self.batch.cols());
    }

    /// Every array of the whole network.
    fn arrays(&self) -> Vec<Named<Place>> {
        let Architecture { dim, layers, bias, .. } = *self.block.architecture();
        let weights = (1..=layers).map(|k| (Place::Weight(k), vec![dim, dim]));
        let biases = (1..=if bias { layers } else { 0 }).map(|k| (Place::Bias(k), vec![dim]));
        let named = |(array, shape): (Place, Vec<usize>)| Named { name: array.tensor(), shape, array };
        tensors::in_order(weights.chain(biases).map(named).collect())
    }

    /// Hands over an array, column-major, in blocks of so many rows; all ranks at once.
    fn hand_over(&mut self, place: Place, mut put: impl FnMut(&[T], usize) -> io::Result<()>) -> io::Result<()> {
        match place {
            Place::Weight(k) => self.work.row_blocks().try_for_each(|rows| {
                let count = rows.len();
                let numbers = self.work.rows(&self.device, &self.block, (k - 1, rows), self.transport);
                put(numbers.map_err(io::Error::other)?, count)
            }),
            Place::Bias(k) => put(self.block.arrays().biases[k - 1].view().slice(), self.split().total()),
            Place::Head(..) => Ok(()),
        }
    }

    /// Takes all arrays, of which the first rank reads the numbers.
    fn take_arrays(&mut self, mut reader: Option<Reader>) -> error::Result<()> {
        let dim = self.split().total();
        for Named { name, array, .. } in self.arrays() {
            let mut read = |first: usize, count: usize| {
                reader.as_mut().map(|reader| reader.numbers::<T>(&name, first, count)).transpose()
            };
            match array {
                Place::Weight(k) => {
                    for rows in self.work.row_blocks() {
                        let numbers = read(rows.start * dim, rows.len() * dim)?;
                        let numbers = numbers.map(|numbers| transposed(&numbers, dim, rows.len()));
                        let (device, block) = (&self.device, &mut self.block);
                        let set = self.work.set_rows(device, block, (k - 1, rows), numbers.as_deref(), self.transport);
                        set.map_err(input)?;
                    }
                }
                Place::Bias(k) => {
                    let numbers = read(0, dim)?;
                    let (device, block) = (&self.device, &mut self.block);
                    let set = self.work.set_bias(device, block, k - 1, numbers.as_deref(), self.transport);
                    set.map_err(input)?;
                }
                Place::Head(..) => {}
            }
        }
        Ok(())
    }
}

impl<T: Scalar, X: Transport<T>> Learns for RankedLearner<'_, T, X> {
    type T = T;

    fn batch_size(&self) -> usize {
        self.batch.cols()
    }

    /// This rank's components of every sample.
    fn inputs(&self, data: &Parts) -> [Inputs<T>; 3] {
        let own = self.split().start(self.block.rank())..self.split().start(self.block.rank() + 1);
        let rows = |samples: &Samples| samples.iter().flat_map(|x| &x[own.clone()]).map(|x| T::of(*x)).collect();
        data.each().map(|(_, samples)| Inputs { x: rows(samples), u: Vec::new() })
    }

    fn width(&self) -> usize {
        self.batch.rows()
    }

    fn step(&mut self, x: &[T], _: &[T], mu: f64, track: bool) -> Result<Stepped> {
        let nats = if track { Some(self.log_likelihoods(x, &[])?) } else { None };
        let batch_nats = nats.map(|nats| nats.iter().sum::<f64>() / nats.len() as f64);
        let Self { device, block, work, batch, rule, log_dets, transport, .. } = self;
        device.upload(x, batch.view_mut().into_slice())?;
        let report = work.step(device, block, batch.view(), (rule, mu), *transport, Some(log_dets))?;
        let guarded_layers = report.step_sizes.iter().filter(|taken| **taken < mu).count();
        require_finite(device, "", block.arrays())?;
        Ok(Stepped { batch_nats, guarded_layers })
    }

    /// A batch at a time, for which there is memory; the last one is filled up with its first sample.
    fn log_likelihoods(&mut self, x: &[T], _: &[T]) -> Result<Vec<f64>> {
        let Self { device, block, work, batch, log_dets, transport, .. } = self;
        let (width, size) = batch.shape();
        let l2j = log_dets.per_layer().iter().sum::<f64>();
        let mut nats = Vec::with_capacity(x.len() / width);
        for chunk in x.chunks(width * size) {
            for (j, column) in batch.view_mut().into_slice().chunks_exact_mut(width).enumerate() {
                column.copy_from_slice(chunk.chunks_exact(width).nth(j).unwrap_or(&chunk[..width]));
            }
            let of_chunk = work.log_likelihoods(device, block, batch.view(), l2j, *transport)?;
            nats.extend_from_slice(&of_chunk[..chunk.len() / width]);
        }
        Ok(nats)
    }

    fn refresh(&mut self) -> Result<Option<f64>> {
        Ok(None)
    }

    fn is_guarded(&self) -> bool {
        true
    }

    /// None: the best model is in the store.
    fn snapshot(&self) -> Result<Snapshot<T>> {
        Ok(Vec::new())
    }

    /// Never asked for: no line search undoes a step here.
    fn restore(&mut self, _: &[Vec<T>]) -> Result<()> {
        Ok(())
    }

    fn agree(&mut self, stop: Option<Stop>) -> Result<Option<Stop>> {
        const STOPS: [Stop; 2] = [Stop::Interrupted, Stop::TimeLimit];
        let is_first = self.transport.rank() == 0;
        let mut asked = STOPS.map(|known| if is_first && stop == Some(known) { 1.0 } else { 0.0 });
        self.transport.all_reduce(&mut asked)?;
        Ok(STOPS.into_iter().zip(asked).find(|(_, asked)| *asked > 0.0).map(|(stop, _)| stop))
    }

    fn log_abs_dets(&self) -> Option<Vec<f64>> {
        Some(self.log_dets.per_layer().to_vec())
    }

    fn write_arrays(&mut self, path: &Path, _: bool) -> error::Result<Tensors> {
        tensors::write(path, &self.arrays(), |place, put| {
            self.hand_over(*place, |numbers, rows| put(&transposed(numbers, rows, numbers.len() / rows)))
        })
    }

    fn lend_arrays(&mut self) -> error::Result<()> {
        for Named { array, .. } in self.arrays() {
            let lent = self.hand_over(array, |_, _| Ok(()));
            lent.map_err(|cause| Error::NoDevice(format!("no checkpoint was written: {cause}")))?;
        }
        Ok(())
    }

    fn read(&mut self, slot: &Slot) -> error::Result<State> {
        let state = slot.state()?;
        let layers = self.block.architecture().layers;
        let Some(log_abs_dets) = state.log_abs_dets.clone().filter(|known| known.len() == layers) else {
            return Err(Error::Input(format!(
                "{} has no log-determinants for ranks to carry: continue it for an epoch on one rank first",
                slot.path().display()
            )));
        };
        let reader = slot.reader::<T, _>(&state, &self.arrays())?;
        let standing = Standing { progress: state.progress.clone(), log_abs_dets };
        share(self.transport, Some(&Some(standing.clone())))?;
        self.take_arrays(Some(reader))?;
        self.carry(standing.log_abs_dets);
        Ok(state)
    }

    fn begin_anew(&mut self) -> error::Result<()> {
        share(self.transport, Some(&None::<Standing>))?;
        self.make_first()
    }

    fn follow(&mut self) -> error::Result<Option<Restored>> {
        let Some(Standing { progress, log_abs_dets }) = share::<T, Option<Standing>>(self.transport, None)? else {
            return self.make_first().map(|()| None);
        };
        self.take_arrays(None)?;
        self.carry(log_abs_dets);
        Ok(Some(Restored { progress, epochs: Vec::new() }))
    }

    fn find_best(&mut self, store: Option<&Store>) -> error::Result<(Option<Best>, Snapshot<T>)> {
        let found = store.map(|store| store.best().state().map(|state| state.progress.best)).transpose()?;
        Ok((share(self.transport, found.as_ref())?, Vec::new()))
    }

    fn restore_best(&mut self, _: &[Vec<T>], store: Option<&Store>) -> error::Result<()> {
        match store {
            Some(store) => self.read(store.best()).map(drop),
            None => self.follow().map(drop),
        }
    }
}
