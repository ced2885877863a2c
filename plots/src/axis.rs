//! Axes: ranges, ticks and their labels.

use relgrad_reports::units;

/// What the numbers of an axis are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    Seconds,
    /// Bytes, in binary units (1 MiB = 2²⁰ bytes).
    Bytes,
    /// A quotient of two times.
    Ratio,
}

/// A mark on an axis; `label` is absent on minor ticks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: Option<String>,
}

/// The range of an axis with its ticks, ascending.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) logarithmic: bool,
    pub(crate) ticks: Vec<Tick>,
    /// The unit all labels share, where they are bare numbers (linear axes).
    pub(crate) unit_label: &'static str,
}

/// Shortest and longest values that an axis reaches: their quotient is a number still.
const REACH: (f64, f64) = (1e-150, 1e150);
/// Most ticks of a linear axis; round steps give a few.
pub(crate) const MOST_TICKS: usize = 100;
/// Least distance of two decades that each have a tick, in points.
const DECADE: f64 = 4.0;

/// How much of an axis its labels take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Length of the axis, in points.
    pub(crate) length: f64,
    /// Least distance of two labels' centres, in points.
    pub(crate) label: f64,
}

impl Axis {
    /// A logarithmic axis around positive `values`: at least one decade, with a margin of the factor `margin` at both
    /// ends.
    pub(crate) fn log(values: impl Iterator<Item = f64>, margin: f64, unit: Unit, room: Room) -> Self {
        let values = values.filter(|v| v.is_finite() && *v > 0.0);
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if high > 0.0 { (low / margin, high * margin) } else { (1.0, 10.0) };
        let widen = (10.0 / (high / low)).sqrt().max(1.0);
        Self::log_between(low / widen, high * widen, unit, room)
    }

    pub(crate) fn log_between(low: f64, high: f64, unit: Unit, room: Room) -> Self {
        let low = if low.is_nan() { 1.0 } else { low.clamp(REACH.0, REACH.1) };
        let high = if high > low { high.min(10.0 * REACH.1) } else { 10.0 * low };
        let ticks = if unit == Unit::Bytes { octaves(low, high, unit, room) } else { decades(low, high, unit, room) };
        Axis { low, high, logarithmic: true, ticks, unit_label: "" }
    }

    /// The same with ticks at powers of two, whatever the unit.
    pub(crate) fn doubling(low: f64, high: f64, unit: Unit, room: Room) -> Self {
        let axis = Self::log_between(low, high, unit, room);
        Axis { ticks: octaves(axis.low, axis.high, unit, room), ..axis }
    }

    /// A logarithmic axis with ticks at positive `values`, labelled where there is room, and `right` points beyond the
    /// last.
    pub(crate) fn log_at(values: impl Iterator<Item = f64>, right: f64, room: Room) -> Self {
        const LEFT: f64 = 8.0;
        let mut values: Vec<f64> = values.filter(|v| (REACH.0..=REACH.1).contains(v)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let [first, .., last] = values[..] else { return Self::log(values.into_iter(), 1.25, Unit::Count, room) };
        let per_point = (last / first).ln() / (room.length - LEFT - right).max(1.0);
        let mut labelled = f64::NEG_INFINITY;
        let mut tick = |value: f64| {
            let at = (value / first).ln() / per_point;
            let label = (at >= labelled + room.label).then(|| label(value, Unit::Count));
            labelled = if label.is_some() { at } else { labelled };
            Tick { value, label }
        };
        let (low, high) = (first * (-LEFT * per_point).exp(), last * (right * per_point).exp());
        Axis { low, high, logarithmic: true, ticks: values.iter().map(|value| tick(*value)).collect(), unit_label: "" }
    }

    /// A linear axis from 0 to just over `high`, with bare numbers in the unit that `unit_label` names.
    pub(crate) fn linear(high: f64, unit: Unit, room: Room) -> Self {
        let high = if (REACH.0..=REACH.1).contains(&high) { high * 1.06 } else { 1.0 };
        let (divisor, unit_label) = prefix(high, unit);
        let fewest = (room.length / room.label).max(2.0);
        let step = nice_step(high / divisor / fewest);
        let ticks = (0..)
            .map(|i| f64::from(i) * step)
            .take_while(|v| *v <= high / divisor * (1.0 + 1e-9))
            .take(MOST_TICKS)
            .map(|v| Tick { value: v * divisor, label: Some(units::plain(v)) })
            .collect();
        Axis { low: 0.0, high, logarithmic: false, ticks, unit_label }
    }

    /// A linear axis around `low` and `high` with bare numbers, with a margin at both ends.
    pub(crate) fn linear_between(low: f64, high: f64, room: Room) -> Self {
        let margin = 0.06 * (high - low).max(1e-9);
        Self::spanning(low - margin, high + margin, room)
    }

    /// A linear axis of bare numbers around finite `values`, with a margin of a twentieth of their range at both ends.
    pub(crate) fn around(values: impl Iterator<Item = f64>, room: Room) -> Self {
        let (low, high) = values
            .filter(|v| v.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // One value alone still needs a range.
        let margin = if high > low { (high - low) / 20.0 } else { low.abs().max(1.0) / 20.0 };
        Self::spanning(low - margin, high + margin, room)
    }

    pub(crate) fn spanning(low: f64, high: f64, room: Room) -> Self {
        Self::stepped(low, high, (room.length / room.label).max(2.0), units::plain)
    }

    /// A linear axis from `low` to `high` with about `most` ticks at round values.
    pub(crate) fn stepped(low: f64, high: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let is_range = high > low && (high - low).is_finite();
        let (low, high) = if is_range { (low, high) } else { (0.0, 1.0) };
        let step = nice_step((high - low) / most.max(1.0));
        let tick = |i: i64| Tick { value: i as f64 * step, label: Some(label(i as f64 * step)) };
        let places = (low / step).ceil() as i64..=(high / step).floor() as i64;
        let ticks = places.take(MOST_TICKS).map(tick).collect();
        Axis { low, high, logarithmic: false, ticks, unit_label: "" }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end. Below a logarithmic axis's reach it is −∞ or NaN.
    pub(crate) fn fraction(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

/// Ticks at powers of ten and their multiples, from `low` to `high`.
fn decades(low: f64, high: f64, unit: Unit, room: Room) -> Vec<Tick> {
    let per_decade = room.length / (high / low).log10();
    // A label takes its room; on a short range 2 and 5 are labelled too (they are log₁₀2 apart at the closest).
    let stride = (room.label / per_decade).ceil().max(1.0) as i32;
    let between = per_decade * 2.0_f64.log10() >= room.label;
    let mut ticks = Vec::new();
    for decade in low.log10().floor() as i32..=high.log10().ceil() as i32 {
        for digit in 1..=9 {
            let value = f64::from(digit) * 10f64.powi(decade);
            let labelled = match digit {
                1 => decade.rem_euclid(stride) == 0,
                2 | 5 => between,
                _ => false,
            };
            let shown = labelled || (digit == 1 && per_decade >= DECADE) || (stride == 1 && per_decade > 18.0);
            if shown && (low..=high).contains(&value) {
                ticks.push(Tick { value, label: labelled.then(|| label(value, unit)) });
            }
        }
    }
    ticks
}

/// Ticks at powers of two, from `low` to `high`: round numbers of binary units and of threads. 1, 2, 5 or some tens of
/// octaves are between two labels, so that each unit itself has one.
fn octaves(low: f64, high: f64, unit: Unit, room: Room) -> Vec<Tick> {
    let per_octave = room.length / (high / low).log2();
    let apart = (room.label / per_octave).ceil().max(1.0) as i32;
    let stride = [1, 2, 5].into_iter().find(|stride| *stride >= apart).unwrap_or((apart + 9) / 10 * 10);
    let ticks = low.log2().floor() as i32..=high.log2().ceil() as i32;
    let ticks = ticks.filter_map(|octave| {
        let value = 2f64.powi(octave);
        let labelled = octave.rem_euclid(stride) == 0;
        let shown = (labelled || per_octave >= DECADE) && (low..=high).contains(&value);
        shown.then(|| Tick { value, label: labelled.then(|| label(value, unit)) })
    });
    ticks.collect()
}

/// A place on an axis: as the same number reads in a table, except that from ten minutes on a time stays in seconds, of
/// which a decade is a round number.
fn label(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => units::number(value),
        Unit::Ratio => units::ratio(value),
        Unit::Seconds if units::unit_of_seconds(value).0 > 1.0 => format!("{} s", units::number(value)),
        Unit::Seconds => units::seconds(value),
        Unit::Bytes => units::bytes(value),
    }
}

/// The unit that keeps `value` at 1 or above: what of it one holds, and its name.
fn prefix(value: f64, unit: Unit) -> (f64, &'static str) {
    match unit {
        Unit::Seconds => units::unit_of_seconds(value),
        Unit::Bytes => units::unit_of_bytes(value),
        Unit::Count | Unit::Ratio => (1.0, ""),
    }
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `step`.
fn nice_step(step: f64) -> f64 {
    if !step.is_normal() {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let nice = [1.0, 2.0, 2.5, 5.0].into_iter().find(|m| m * power >= step * (1.0 - 1e-9));
    nice.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { length: 160.0, label: 12.0 };

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().filter_map(|t| t.label.as_deref()).collect()
    }

    #[test]
    fn labels_read_as_people_write_them() {
        for (value, unit, expected) in [
            (1e-6, Unit::Seconds, "1 µs"),
            (1e-2, Unit::Seconds, "10 ms"),
            (1e-4, Unit::Seconds, "100 µs"),
            (1e3, Unit::Seconds, "1,000 s"),
            (1e6, Unit::Seconds, "10⁶ s"),
            (1e-10, Unit::Seconds, "100 ps"),
            (2e-14, Unit::Seconds, "20 fs"),
            (10.0 * 1024.0 * 1024.0, Unit::Bytes, "10 MiB"),
            (5.2345e9, Unit::Bytes, "4.88 GiB"),
            (2e4, Unit::Count, "20,000"),
            (3e5, Unit::Ratio, "300,000×"),
            (3e6, Unit::Ratio, "3×10⁶×"),
            (0.1, Unit::Ratio, "0.1×"),
            (57.86, Unit::Ratio, "57.9×"),
        ] {
            assert_eq!(label(value, unit), expected);
        }
    }

    /// Round steps in one unit on both sides of zero; a long logarithmic axis thins its labels, a short one, as of one
    /// value, has some within its decade; bytes are marked at powers of two.
    #[test]
    fn labels_stand_at_round_values() {
        let log = |values: &[f64], margin, unit, room| Axis::log(values.iter().copied(), margin, unit, room);
        let room = |length, label| Room { length, label };
        let short = room(100.0, 20.0);
        let gib = 1024f64.powi(3);
        for (axis, expected, unit) in [
            (log(&[1e-9, 1e3], 1.0, Unit::Seconds, room(160.0, 25.0)), "10 ns|1 µs|100 µs|10 ms|1 s|100 s", ""),
            (log(&[0.003], 1.3, Unit::Seconds, ROOM), "1 ms|2 ms|5 ms", ""),
            (Axis::around([-1.9, 0.4].into_iter(), short), "−2|−1|0", ""),
            (Axis::spanning(0.0, 100.0, room(100.0, 24.0)), "0|25|50|75|100", ""),
            (Axis::spanning(0.0, 1.0, room(100.0, 24.0)), "0|0.25|0.5|0.75|1", ""),
            (Axis::linear(1.23, Unit::Seconds, short), "0|0.5|1", "s"),
            (Axis::linear_between(-1.0, 3.0, short), "−1|0|1|2|3", ""),
            (Axis::linear(2.4 * gib, Unit::Bytes, room(160.0, 25.0)), "0|0.5|1|1.5|2|2.5", "GiB"),
            (Axis::log_between(2e6, 5e10, Unit::Bytes, ROOM), "4 MiB|16 MiB|64 MiB|256 MiB|1 GiB|4 GiB|16 GiB", ""),
            (Axis::log_between(3e6, 4e7, Unit::Bytes, ROOM), "4 MiB|8 MiB|16 MiB|32 MiB", ""),
            (Axis::log_between(1.0, 1e18, Unit::Bytes, room(160.0, 40.0)), "1 B|1 MiB|1 TiB", ""),
        ] {
            assert_eq!((labels(&axis).join("|").as_str(), axis.unit_label), (expected, unit));
        }
        let one = log(&[0.003], 1.3, Unit::Seconds, ROOM);
        assert!(one.high / one.low >= 9.999 && (one.fraction(0.003) - 0.5).abs() < 1e-9);
        let one = Axis::around([-1375.0, -1375.0].into_iter(), short);
        assert!(one.low < -1375.0 && one.high > -1375.0 && labels(&one).len() > 1);
        assert!(!labels(&Axis::around(std::iter::empty(), short)).is_empty());
        // Values that are no positive numbers are left out.
        let some = log(&[0.0, f64::NAN, -3.0, 10.0, 1e4], 1.0, Unit::Count, ROOM);
        assert_eq!((some.low, some.high, labels(&some)[0]), (10.0, 1e4, "10"));
    }

    /// 5e-324 seconds once made four gibibytes of ticks.
    #[test]
    fn an_axis_has_dozens_of_ticks_whatever_its_range() {
        let values = [0.0, 5e-324, 1e-320, 1e-12, 1.0, 1e9, 1.7e308, f64::INFINITY, f64::NAN, -1.0, -1.7e308];
        for low in values {
            for high in values {
                let axes = [
                    Axis::log([low, high].into_iter(), 1.3, Unit::Seconds, ROOM),
                    Axis::log_between(low, high, Unit::Bytes, ROOM),
                    Axis::linear(high, Unit::Seconds, ROOM),
                    Axis::linear_between(low, high, ROOM),
                    Axis::around([low, high].into_iter(), ROOM),
                    Axis::spanning(low, high, ROOM),
                    Axis::stepped(low, high, 10.0, units::number),
                ];
                for (kind, axis) in axes.iter().enumerate() {
                    assert!(axis.ticks.len() <= MOST_TICKS, "{kind}: {low:e} {high:e}: {}", axis.ticks.len());
                    assert!(axis.high > axis.low, "{kind}: {low:e} {high:e}");
                }
            }
        }
    }
}
