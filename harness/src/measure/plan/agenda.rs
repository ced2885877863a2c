//! One round: which of its cells are ruled out, which run, and in which order, as long as nothing new is learnt.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use relgrad_reports::record::{Cell, Held};
use relgrad_vocabulary::{DeviceKind, Subject};

use super::Planned;
use super::forecast::Forecast;

/// A cell predicted to end within this many seconds runs at its shuffled place even if its prediction is a guess.
const CHEAP_SECONDS: f64 = 2.0;

/// What is expected of a point as long as nothing new is learnt.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) forecast: Forecast,
    /// Seconds to set aside for it.
    pub(super) need: f64,
    pub(super) obstacle: Obstacle,
}

/// What stands against a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// At most the budget.
    None,
    /// The cell limit, by a guess that smaller cells of its method may still improve.
    Guess,
    /// It will never run.
    Certain,
}

/// What is left to decide of a round. Entries that were dealt with are passed over when they come up.
#[derive(Debug, Clone)]
pub(super) struct Agenda {
    pub(super) round: usize,
    /// Points to skip before anything runs, whatever is left of the budget.
    pub(super) skips: VecDeque<u32>,
    /// Points to run within the budget.
    pub(super) runs: VecDeque<u32>,
    /// Seconds that `runs` need.
    pub(super) needed_seconds: f64,
    /// Every point of the round, in its order: what is left when nothing runs any more is skipped.
    pub(super) rest: VecDeque<u32>,
}

impl Agenda {
    /// Of the pending points of a round, in its order, with `left` seconds of the budget.
    pub(super) fn new(
        round: usize,
        pending: Vec<u32>,
        points: &[Planned],
        candidates: &[Candidate],
        left: Option<f64>,
    ) -> Self {
        let of = |place: &u32| &candidates[*place as usize];
        let cell = |place: &u32| &points[*place as usize].cell;
        let mut smallest: HashMap<_, usize> = HashMap::new();
        for place in &pending {
            let known = smallest.entry(line(cell(place))).or_insert(usize::MAX);
            *known = cell(place).point.dim.min(*known);
        }
        let ruled_out = |place: &u32| match of(place).obstacle {
            Obstacle::None => false,
            Obstacle::Guess => smallest.get(&line(cell(place))).is_none_or(|known| *known >= cell(place).point.dim),
            Obstacle::Certain => true,
        };
        let skips = pending.iter().copied().filter(ruled_out).collect();
        let feasible: Vec<u32> = pending.iter().copied().filter(|place| of(place).obstacle == Obstacle::None).collect();
        let admitted = match left {
            None => feasible,
            Some(left) => fair_share(&feasible, points, candidates, left),
        };
        let needed_seconds = admitted.iter().map(|place| of(place).need).sum();
        let ready = |place: &u32| of(place).forecast.trusted || of(place).need <= CHEAP_SECONDS;
        let (mut runs, mut others): (Vec<u32>, Vec<u32>) = admitted.into_iter().partition(ready);
        others.sort_by(|a, b| of(a).need.total_cmp(&of(b).need));
        runs.append(&mut others);
        Self { round, skips, runs: runs.into(), needed_seconds, rest: pending.into() }
    }
}

/// What the time along D belongs to.
fn line(cell: &Cell) -> (DeviceKind, Subject, Held) {
    (cell.point.device, cell.method, cell.point.held())
}

/// The points that fit into `left` seconds when the methods share it max–min fairly, in the order given.
///
/// Methods are served from the least demanding on, each with an equal share of what is then left; a method's cells are
/// admitted by ascending D until its share is spent. What the shares leave over goes to the cheapest cells not yet in.
fn fair_share(feasible: &[u32], points: &[Planned], candidates: &[Candidate], left: f64) -> Vec<u32> {
    let need = |place: &u32| candidates[*place as usize].need;
    let cell = |place: &u32| &points[*place as usize].cell;
    let mut by_method: BTreeMap<(DeviceKind, Subject), Vec<u32>> = BTreeMap::new();
    for &place in feasible {
        by_method.entry((cell(&place).point.device, cell(&place).method)).or_default().push(place);
    }
    let total = |mut places: Vec<u32>| {
        places.sort_by_key(|place| (cell(place).point.dim, cell(place).point.held()));
        (places.iter().map(need).sum::<f64>(), places)
    };
    let mut methods: Vec<(f64, Vec<u32>)> = by_method.into_values().map(total).collect();
    methods.sort_by(|a, b| a.0.total_cmp(&b.0));

    let mut admitted = HashSet::new();
    let mut left = left;
    let waiting = methods.len();
    for (served, (_, places)) in methods.iter().enumerate() {
        let mut share = left / (waiting - served) as f64;
        for place in places.iter().take_while(|place| {
            share -= need(place);
            share >= 0.0
        }) {
            left -= need(place);
            admitted.insert(*place);
        }
    }
    let mut rest: Vec<u32> = feasible.iter().copied().filter(|place| !admitted.contains(place)).collect();
    rest.sort_by(|a, b| need(a).total_cmp(&need(b)));
    for place in rest {
        if need(&place) <= left {
            left -= need(&place);
            admitted.insert(place);
        }
    }
    feasible.iter().copied().filter(|place| admitted.contains(place)).collect()
}
