//! Two studies side by side: every quantity of every cell with its change and verdict.

use relgrad_vocabulary::Method;
use serde::{Deserialize, Serialize};

use super::draft::Drafts;
use super::fault::Fault;
use super::{Rules, Shift, Verdict};
use crate::record::study::Study;
use crate::record::{Convolution, Point};
use crate::statistics::summary::Estimate;

/// What to compare.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// Base side.
    pub base: &'a Study,
    /// New side.
    pub new: &'a Study,
    /// Whether both were measured in turn in the same rounds of one run.
    pub paired: bool,
    /// Whether absolute times are judged although there are calibration kernels.
    pub absolute: bool,
    /// Only rounds of `new` (and, when paired, of `base`) from this one on count.
    pub first_round: usize,
}

/// A compared quantity of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Seconds of one gradient.
    Time,
    /// The same without the change that all methods share, which another hour makes too; of two separate sweeps.
    TimeApart,
    /// Time over that of the matrix product of the same shape.
    TimeOverGemm,
    /// Time over that of a copy of one weight.
    TimeOverCopy,
    /// Time of `ordinary` over this one's.
    SpeedupOverOrdinary,
    /// Time of `autodiff` over this one's.
    SpeedupOverAutodiff,
    /// Peak memory in bytes.
    PeakMemory,
    /// Exponent of time over D; of a series, not of a cell.
    Exponent,
}

impl Kind {
    /// Whether it is a time over that of a calibration kernel.
    pub(super) fn is_over_kernel(self) -> bool {
        matches!(self, Self::TimeOverGemm | Self::TimeOverCopy)
    }

    /// Whether it is a speed-up, of which more is better.
    pub(super) fn is_speedup(self) -> bool {
        matches!(self, Self::SpeedupOverOrdinary | Self::SpeedupOverAutodiff)
    }

    /// Whether it is a time of some kind.
    pub(super) fn is_time(self) -> bool {
        matches!(self, Self::Time | Self::TimeApart) || self.is_over_kernel()
    }
}

/// One quantity on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    /// Which.
    pub kind: Kind,
    /// What a report of the base says: median seconds, or median ratio of times, over its rounds (where the sides were
    /// measured in turn, the geometric mean, to which their change refers); the median for bytes; 0 for an exponent, of
    /// which only the change is known.
    pub base: f64,
    /// The same of the new side.
    pub new: f64,
    /// New over base with its 95 % interval; new minus base for an exponent.
    pub change: Estimate,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the outcome depends on it; otherwise it is informative only.
    pub judged: bool,
    /// Rounds of the new side.
    pub rounds: usize,
    /// How many more rounds are needed, if it is inconclusive and the scatter is known.
    pub more_rounds: Option<usize>,
}

/// One method at one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellComparison {
    /// The method.
    pub method: Method,
    /// The point; its seed is meaningless, and its threads are 0 unless a side has several numbers of them.
    pub point: Point,
    /// Its fault, if any.
    pub fault: Option<Fault>,
    /// What was compared.
    pub quantities: Vec<Quantity>,
}

/// One method over its dimensions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesComparison {
    /// The method.
    pub method: Method,
    /// The point of its smallest dimension; it names device, N, L and type.
    pub point: Point,
    /// The change of its exponent, with three dimensions or more.
    pub exponent: Option<Quantity>,
    /// The kind of change, if a cell got better or worse.
    pub shift: Option<Shift>,
}

/// How a comparison ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing got worse.
    Held,
    /// Something got worse, or is wrong.
    Regression,
    /// Something may have got worse.
    Inconclusive {
        /// How many more rounds are needed, if that can be predicted.
        more_rounds: Option<usize>,
    },
    /// Nothing could be compared.
    Nothing,
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How it ends.
    pub outcome: Outcome,
    /// Revision of the base.
    pub base_revision: Option<String>,
    /// Revision of the new side.
    pub new_revision: Option<String>,
    /// Whether both sides have the same machine fingerprint.
    pub same_machine: bool,
    /// Whether both sides were measured in turn.
    pub paired: bool,
    /// What was tolerated.
    pub rules: Rules,
    /// Probability of error of each bound that a verdict rests on.
    pub alpha: f64,
    /// New over base of the change that all methods share, of the device where it is largest: two separate sweeps
    /// cannot tell whether the hour or the code made it.
    pub shared: Option<f64>,
    /// By method and point.
    pub cells: Vec<CellComparison>,
    /// By method.
    pub series: Vec<SeriesComparison>,
    /// What a reader must know, one sentence each.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Compares every cell that both sides have.
    pub fn of(sides: &Sides<'_>, rules: &Rules) -> Self {
        Self::with(sides, rules, None)
    }

    /// Compares, and keeps a regression only if the rounds from `first` on, which were added to confirm it, show it
    /// alone. Without such rounds no regression is confirmed.
    pub fn confirmed(sides: &Sides<'_>, rules: &Rules, first: usize) -> Self {
        let all = Self::with(sides, rules, None);
        let added = Self::with(&Sides { first_round: first, ..*sides }, rules, Some(all.alpha));
        all.confirmed_by(&added)
    }

    fn with(sides: &Sides<'_>, rules: &Rules, alpha: Option<f64>) -> Self {
        let drafts = Drafts::new(sides);
        let alpha = alpha.unwrap_or_else(|| rules.alpha(drafts.judged()));
        let cells = drafts.cells(rules, alpha);
        let series = drafts.series(rules, alpha, &cells);
        let mut comparison = Self {
            outcome: Outcome::Nothing,
            base_revision: sides.base.run.git_revision.clone(),
            new_revision: sides.new.run.git_revision.clone(),
            same_machine: drafts.same_machine,
            paired: sides.paired,
            rules: *rules,
            alpha,
            shared: drafts.shared(),
            notes: drafts.notes(),
            cells,
            series,
        };
        comparison.settle();
        comparison
    }

    /// The outcome, and what a reader must know of it.
    fn settle(&mut self) {
        const BUILDS: &str = "Judged are two builds, not two sources: the layout of a build alone moves times by \
            several per cent. See the regression in another build too (other codegen-units) before you change code.";
        self.outcome = self.decide();
        let slower = self.judged().any(|q| q.kind.is_time() && q.verdict == Verdict::Worse);
        self.notes.retain(|note| note != BUILDS);
        if self.paired && slower {
            self.notes.push(BUILDS.into());
        }
    }

    /// Whether what all methods share is more than is tolerated, so that nothing can be held.
    pub(super) fn moved_together(&self) -> bool {
        self.shared.is_some_and(|shared| shared > 1.0 + self.rules.slowdown(self.same_machine))
    }

    fn confirmed_by(mut self, fresh: &Self) -> Self {
        for cell in &mut self.cells {
            let again = fresh.cells.iter().find(|c| c.method == cell.method && c.point == cell.point);
            for quantity in &mut cell.quantities {
                // The kernel beside which a cell looks best may be the other one: looking worse beside it, it does so
                // beside both.
                let same = |q: &&Quantity| {
                    q.kind == quantity.kind || (q.kind.is_over_kernel() && quantity.kind.is_over_kernel())
                };
                let found = again.and_then(|c| c.quantities.iter().find(same)).copied();
                confirm(quantity, found);
            }
        }
        for series in &mut self.series {
            let again = fresh.series.iter().find(|s| s.method == series.method && s.point == series.point);
            if let Some(quantity) = &mut series.exponent {
                confirm(quantity, again.and_then(|s| s.exponent));
            }
        }
        self.settle();
        self
    }

    /// The points whose rounds do not decide, at a cell or at a method's exponent.
    pub fn open_points(&self) -> Vec<Point> {
        let open = |q: &Quantity| q.judged && q.verdict == Verdict::Inconclusive;
        let mut points: Vec<Point> =
            self.cells.iter().filter(|c| c.fault.is_none() && c.quantities.iter().any(open)).map(|c| c.point).collect();
        for series in self.series.iter().filter(|s| s.exponent.as_ref().is_some_and(open)) {
            let of_series = |c: &&CellComparison| c.method == series.method && alike(&c.point, &series.point);
            points.extend(self.cells.iter().filter(of_series).map(|c| c.point));
        }
        points.sort();
        points.dedup();
        points
    }

    /// Every judged quantity.
    pub fn judged(&self) -> impl Iterator<Item = &Quantity> {
        let of_cells = self.cells.iter().flat_map(|c| &c.quantities);
        of_cells.chain(self.series.iter().filter_map(|s| s.exponent.as_ref())).filter(|q| q.judged)
    }

    fn decide(&self) -> Outcome {
        let any = |verdict| self.judged().any(|q| q.verdict == verdict);
        if self.cells.iter().any(|c| c.fault.is_some()) || any(Verdict::Worse) {
            Outcome::Regression
        } else if any(Verdict::Inconclusive) {
            let open = || self.judged().filter(|q| q.verdict == Verdict::Inconclusive);
            let known = open().all(|q| q.more_rounds.is_some());
            Outcome::Inconclusive { more_rounds: open().filter_map(|q| q.more_rounds).max().filter(|_| known) }
        } else if self.moved_together() {
            Outcome::Inconclusive { more_rounds: None }
        } else if self.judged().next().is_some() {
            Outcome::Held
        } else {
            Outcome::Nothing
        }
    }
}

impl CellComparison {
    /// Whether its time changed beyond doubt.
    pub(super) fn moved(&self) -> bool {
        self.quantities
            .iter()
            .any(|q| q.kind.is_time() && q.judged && matches!(q.verdict, Verdict::Better | Verdict::Worse))
    }
}

fn confirm(quantity: &mut Quantity, fresh: Option<Quantity>) {
    if !quantity.judged || quantity.kind == Kind::PeakMemory {
        return;
    }
    let confirmed = quantity.verdict.confirmed_by(fresh.map_or(Verdict::Inconclusive, |q| q.verdict));
    if confirmed != quantity.verdict {
        quantity.verdict = confirmed;
        quantity.more_rounds = fresh.and_then(|q| q.more_rounds);
    }
}

/// Whether two points differ in D alone.
pub(super) fn alike(a: &Point, b: &Point) -> bool {
    series_key(a) == series_key(b)
}

/// A point without D and what follows from D: the grid of a convolution, and a kernel with every tap of it.
pub(super) fn series_key(point: &Point) -> Point {
    let convolution = point.convolution.map(|c| Convolution {
        kernel: if c.kernel == c.grid { [0, 0] } else { c.kernel },
        grid: [0, 0],
        ..c
    });
    Point { dim: 0, convolution, ..*point }
}
