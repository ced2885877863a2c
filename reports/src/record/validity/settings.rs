//! The settings of a sweep.

use super::{BATCH, Checked, DIM, LAYERS, MOST_ROUNDS, RANKS, THREADS, activation, arithmetic, bytes, count, number};
use relgrad_vocabulary::{DeviceKind, Math, Method, UpdateRule};

use crate::record::run::{Convolution, Settings, Shard};

/// The methods that weights split over ranks have.
const RANKED: [Method; 2] = [Method::Relative, Method::RelativeInPlace];

/// Ten years, for budgets.
const LONGEST_SECONDS: f64 = 10.0 * 365.25 * 86_400.0;

impl Settings {
    /// Most cells of a sweep.
    pub const MOST_CELLS: usize = 1_000_000;

    /// Rejects settings that no sweep can have: names that are not known, numbers out of range, more than
    /// [`Self::MOST_CELLS`] cells. Allocates nothing in proportion to a number.
    ///
    /// # Errors
    /// One phrase: the setting, its value and what it must be.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(convolution) = &self.convolution {
            grids(convolution, &self.dims)?;
        }
        list("dims", &self.dims, |dim| count("a dimension", *dim, &DIM))?;
        if !self.dims.is_sorted() {
            return Err("dims do not ascend".into());
        }
        list("methods", &self.methods, |_| Ok(()))?;
        list("devices", &self.devices, |_| Ok(()))?;
        let batches: Vec<usize> = self.batches().collect();
        list("batch sizes", &batches, |batch| count("batch", *batch, &BATCH))?;
        let layers: Vec<usize> = self.layer_counts().collect();
        list("numbers of layers", &layers, |layers| count("layers", *layers, &LAYERS))?;
        arithmetic(self.dtype, self.math)?;
        activation(self.activation)?;
        let threads: Vec<usize> = self.thread_counts().collect();
        list("numbers of threads", &threads, |threads| count("threads", *threads, &THREADS))?;
        if !self.other_threads.is_empty() && self.devices.contains(&DeviceKind::Cuda) {
            return Err("several numbers of threads require --device cpu: no time of a GPU depends on them".into());
        }
        self.over_ranks()?;
        if let Some(rule) = self.update {
            self.update_by(rule)?;
        }
        self.tuning.require_used(&self.methods)?;
        if let Some(Shard { index, of }) = self.shard {
            count("shards", of, &(1..=Self::MOST_CELLS))?;
            count("shard", index, &(1..=of))?;
        }
        count("rounds", self.rounds, &(1..=MOST_ROUNDS))?;
        count("min_samples", self.min_samples, &(0..=1_000_000))?;
        let limits = [("budget_seconds", self.budget_seconds), ("cell_limit_seconds", self.cell_limit_seconds)];
        for (name, limit) in limits {
            limit.map_or(Ok(()), |seconds| number(name, seconds, &(0.0..=LONGEST_SECONDS)))?;
        }
        bytes("memory_limit_bytes", self.memory_limit_bytes)?;
        bytes("device_memory_limit_bytes", self.device_memory_limit_bytes.unwrap_or(0))?;
        match self.cell_count() {
            Some(cells) if cells <= Self::MOST_CELLS => Ok(()),
            _ => Err(format!(
                "dimensions × methods × devices × batch sizes × layers × threads × ranks × rounds are more than {} \
                 cells",
                Self::MOST_CELLS
            )),
        }
    }

    /// Rejects numbers of ranks that cannot be measured.
    fn over_ranks(&self) -> Checked {
        let ranks: Vec<usize> = self.rank_counts().collect();
        list("numbers of ranks", &ranks, |ranks| count("ranks", *ranks, &RANKS))?;
        let most = ranks.into_iter().fold(1, usize::max);
        if most == 1 {
            return Ok(());
        }
        let arithmetic = self.math.is_some_and(|math| math != Math::of(self.dtype));
        if self.devices != [DeviceKind::Cpu] || self.convolution.is_some() || self.update.is_some() || arithmetic {
            return Err("several ranks require --device cpu, dense layers, and neither --math nor --step".into());
        }
        if let Some(method) = self.methods.iter().find(|method| !RANKED.contains(method)) {
            return Err(format!("{method} has no form over ranks: choose relative or relative-inplace"));
        }
        match self.dims.iter().find(|dim| **dim < most) {
            Some(dim) => Err(format!("{most} ranks cannot share the {dim} columns of D = {dim}")),
            None => Ok(()),
        }
    }

    /// Rejects updates that cannot be measured.
    fn update_by(&self, rule: UpdateRule) -> Checked {
        if self.devices.contains(&DeviceKind::Cuda) {
            return Err("updates require --device cpu".into());
        }
        if self.convolution.is_some() && rule == UpdateRule::Muon {
            return Err("muon is for dense layers: choose plain or adam".into());
        }
        if let Some(method) = self.methods.iter().find(|m| m.has_own_layers() && rule == UpdateRule::Muon) {
            return Err(format!("muon is for dense weights, and {method} has factors of them: choose plain or adam"));
        }
        match self.methods.iter().find(|method| method.is_step() && rule != UpdateRule::Plain) {
            Some(method) => Err(format!("{method} stores no gradient that {rule} could use: leave it out")),
            None => Ok(()),
        }
    }

    /// How many cells the sweep has; `None` where they are too many to count.
    pub fn cell_count(&self) -> Option<usize> {
        let factors = [
            self.dims.len(),
            self.methods.len(),
            self.devices.len(),
            self.other_batches.len() + 1,
            self.other_layers.len() + 1,
            self.other_threads.len() + 1,
            self.other_ranks.len() + 1,
            self.rounds,
        ];
        factors.into_iter().try_fold(1_usize, usize::checked_mul)
    }
}

/// A list that has an entry, each of them once, all of them good.
fn list<T: Ord>(what: &str, values: &[T], check: impl Fn(&T) -> Checked) -> Checked {
    if values.is_empty() {
        return Err(format!("{what}: the list is empty"));
    }
    values.iter().try_for_each(check)?;
    let mut sorted: Vec<&T> = values.iter().collect();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if repeated { Err(format!("{what}: a value occurs twice")) } else { Ok(()) }
}

/// Grids that have the dimensions of the sweep, in its order.
fn grids(convolution: &Convolution, dims: &[usize]) -> Checked {
    let Convolution { channels, kernel, grids } = convolution;
    count("channels", *channels, &DIM)?;
    if let Some(kernel) = kernel {
        kernel.iter().try_for_each(|taps| count("a side of the kernel", *taps, &DIM))?;
    }
    let dim = |[rows, cols]: &[usize; 2]| rows.checked_mul(*cols)?.checked_mul(*channels);
    let alike = grids.len() == dims.len() && grids.iter().zip(dims).all(|(grid, d)| dim(grid) == Some(*d));
    if alike { Ok(()) } else { Err("channels × points of the grids are not the dims".into()) }
}
