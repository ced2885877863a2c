//! Two speeds of a machine that each last for a while, such as two clocks.
//!
//! A state that outlasts a round slows every cell that is measured meanwhile. More rounds do not average it out: the
//! median of a cell jumps to the state that it met more often. So the two levels are looked for in all processes
//! together, in the order they ran.

use super::student::student_975;
use super::summary::Estimate;

/// Fewest processes at the slow level, and at the fast one.
const FEWEST: usize = 3;
/// Share of the processes that each level has at least.
const LEAST_SHARE: f64 = 0.05;
/// The levels are so many of their own standard deviations apart: a split normal distribution reaches 2.6.
const APART: f64 = 4.0;
/// Logarithm of the least factor between the levels.
const LEAST_GAP: f64 = 0.05;
/// Most changes of the level from one process to the next, over those that a random order would have.
const MOST_CHANGES: f64 = 0.6;

/// A process, in the order they ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    /// Which cell it measured.
    pub(crate) cell: usize,
    /// The logarithm of its median.
    pub(crate) log_median: f64,
}

/// Two levels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TwoLevels {
    /// Logarithm of the slow level's times over the fast one's, with its 95 % interval.
    pub(crate) gap: Estimate,
    /// For each reading whether it is at the slow level.
    pub(crate) slow: Vec<bool>,
}

/// Looks for two levels; `None` where one explains the readings, or where the levels do not last.
///
/// A process' excess is the logarithm of its time over that of the fastest process of its cell. The excesses are split
/// where the variance between both sides is the largest (Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9,
/// 1979). A cell with excesses on both sides tells the state of its processes; the others take that of the processes
/// that ran next to theirs.
pub(crate) fn find(readings: &[Ran]) -> Option<TwoLevels> {
    let cells = readings.iter().map(|reading| reading.cell + 1).max()?;
    let mut fastest = vec![f64::INFINITY; cells];
    let mut processes = vec![0; cells];
    for reading in readings {
        fastest[reading.cell] = fastest[reading.cell].min(reading.log_median);
        processes[reading.cell] += 1;
    }
    let excess = |reading: &Ran| reading.log_median - fastest[reading.cell];
    let mut excesses: Vec<f64> = readings.iter().filter(|r| processes[r.cell] > 1).map(excess).collect();
    excesses.sort_unstable_by(f64::total_cmp);
    let threshold = split(&excesses)?;

    let mut has_slow = vec![false; cells];
    for reading in readings.iter().filter(|reading| excess(reading) > threshold) {
        has_slow[reading.cell] = true;
    }
    let mut states: Vec<Option<bool>> =
        readings.iter().map(|r| has_slow[r.cell].then(|| excess(r) > threshold)).collect();
    if !last(&states) {
        return None;
    }
    let gap = gap(readings, &states, cells)?;
    spread_to_neighbours(&mut states);
    agree_within_cells(readings, &mut states, &has_slow);
    Some(TwoLevels { gap, slow: states.into_iter().map(|state| state == Some(true)).collect() })
}

/// The middle of the gap between two levels of ascending values, if there are two.
fn split(sorted: &[f64]) -> Option<f64> {
    let count = sorted.len();
    let fewest = FEWEST.max((LEAST_SHARE * count as f64).ceil() as usize);
    let total: f64 = sorted.iter().sum();
    let mut below = 0.0;
    let mut best: Option<(f64, usize)> = None;
    for at in 1..count {
        below += sorted[at - 1];
        let difference = below / at as f64 - (total - below) / (count - at) as f64;
        let between = at as f64 * (count - at) as f64 * difference * difference;
        if at >= fewest && count - at >= fewest && best.is_none_or(|(most, _)| between > most) {
            best = Some((between, at));
        }
    }
    let (low, high) = sorted.split_at(best?.1);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let squares = |values: &[f64]| values.iter().map(|v| (v - mean(values)).powi(2)).sum::<f64>();
    let gap = mean(high) - mean(low);
    let deviation = ((squares(low) + squares(high)) / (count - 2).max(1) as f64).sqrt();
    (gap >= LEAST_GAP && gap >= APART * deviation).then(|| 0.5 * (low[low.len() - 1] + high[0]))
}

/// Whether the states last: the known ones change less often from one process to the next than in a random order.
fn last(states: &[Option<bool>]) -> bool {
    let known: Vec<bool> = states.iter().copied().flatten().collect();
    let changes = known.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let slow = known.iter().filter(|slow| **slow).count() as f64;
    let expected = 2.0 * slow * (known.len() as f64 - slow) / known.len().max(1) as f64;
    (changes as f64) <= MOST_CHANGES * expected
}

/// The mean over the cells that met both states of the gap between them.
fn gap(readings: &[Ran], states: &[Option<bool>], cells: usize) -> Option<Estimate> {
    let mut sums = vec![[(0.0, 0.0); 2]; cells];
    for (reading, slow) in readings.iter().zip(states).filter_map(|(r, slow)| Some((r, (*slow)?))) {
        let (sum, count) = &mut sums[reading.cell][usize::from(slow)];
        *sum += reading.log_median;
        *count += 1.0;
    }
    let both = sums.iter().filter(|[fast, slow]| fast.1 > 0.0 && slow.1 > 0.0);
    let gaps: Vec<f64> = both.map(|[fast, slow]| slow.0 / slow.1 - fast.0 / fast.1).collect();
    let scatter = super::scatter::Variance::of(&gaps)?;
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    Some(Estimate::within(mean, student_975(scatter.degrees) * (scatter.variance / gaps.len() as f64).sqrt()))
}

/// Gives each unknown state that of the nearest known one in the order, the earlier of two.
fn spread_to_neighbours(states: &mut [Option<bool>]) {
    let known: Vec<(usize, bool)> = states.iter().enumerate().filter_map(|(i, state)| Some((i, (*state)?))).collect();
    for (i, state) in states.iter_mut().enumerate().filter(|(_, state)| state.is_none()) {
        *state = known.iter().min_by_key(|(at, _)| at.abs_diff(i)).map(|(_, slow)| *slow);
    }
}

/// The processes of a cell without a gap ran in one state: that of most of them.
fn agree_within_cells(readings: &[Ran], states: &mut [Option<bool>], has_slow: &[bool]) {
    let mut votes = vec![0_i64; has_slow.len()];
    for (reading, state) in readings.iter().zip(&*states) {
        votes[reading.cell] += if *state == Some(true) { 1 } else { -1 };
    }
    for (reading, state) in readings.iter().zip(states).filter(|(reading, _)| !has_slow[reading.cell]) {
        *state = Some(votes[reading.cell] > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::Random;

    /// Six rounds of twelve cells with 2 % noise; `slow` tells the state of a process by its place in the order.
    fn readings(seed: u64, slow: impl Fn(usize) -> f64) -> Vec<Ran> {
        let mut random = Random::new(seed);
        let log = |i: usize, random: &mut Random| (i % 12) as f64 + 0.02 * random.normal() + slow(i);
        (0..72).map(|i| Ran { cell: i % 12, log_median: log(i, &mut random) }).collect()
    }

    #[test]
    fn a_slow_spell_is_found_with_its_factor() {
        let spell = |i| (20..50).contains(&i);
        let levels = find(&readings(1, |i| if spell(i) { 0.25 } else { 0.0 })).expect("two levels");
        assert!(levels.gap.low < 0.25 && levels.gap.high > 0.25 && levels.gap.high - levels.gap.low < 0.06);
        assert!(levels.slow.iter().enumerate().all(|(i, slow)| *slow == spell(i)));
    }

    #[test]
    fn noise_rounds_and_slow_processes_here_and_there_are_no_states() {
        assert_eq!(find(&readings(2, |_| 0.0)), None);
        let rounds = [0.0, 0.05, -0.04, 0.08, 0.02, -0.07];
        assert_eq!(find(&readings(3, |i| rounds[i / 12])), None);
        assert_eq!(find(&readings(4, |i| if i % 5 == 0 { 0.25 } else { 0.0 })), None);
        assert_eq!(find(&[]), None);
    }
}
