//! Numbers as people read them: three significant digits and a unit of fitting size.

use crate::summary::Estimate;

/// What stands where there is no value.
pub(crate) const NONE: &str = "–";

/// Seconds in ns, µs, ms, s, min or h.
pub(crate) fn seconds(value: f64) -> String {
    let (scale, unit) = unit_of_seconds(value);
    format!("{} {unit}", significant(value / scale))
}

/// A duration with its interval, all in the unit that fits the value: `1.23 ms [1.20, 1.26]`.
pub(crate) fn seconds_estimate(estimate: &Estimate) -> String {
    let (scale, unit) = unit_of_seconds(estimate.value);
    let [value, low, high] = aligned(estimate, scale);
    format!("{value} {unit} [{low}, {high}]")
}

/// A ratio with its interval: `12.3 [12.1, 12.6]`.
pub(crate) fn ratio_estimate(estimate: &Estimate) -> String {
    let [value, low, high] = aligned(estimate, 1.0);
    format!("{value}× [{low}, {high}]")
}

/// The value and the ends of a ratio.
pub(crate) fn ratio_parts(estimate: &Estimate) -> [String; 3] {
    aligned(estimate, 1.0)
}

/// A place on an axis with its interval: `412 [380, 455]`.
pub(crate) fn place(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high]
        .map(|v| if v >= 100.0 { grouped(v.round() as usize) } else { significant(v) });
    format!("{value} [{low}, {high}]")
}

/// An exponent with its interval, to two decimals.
pub(crate) fn exponent(estimate: &Estimate) -> String {
    format!("{:.2} [{:.2}, {:.2}]", estimate.value, estimate.low, estimate.high)
}

/// A fraction as a percentage with its interval: `87.3 % [85.0, 88.1]`.
pub(crate) fn percent_estimate(estimate: &Estimate) -> String {
    let [value, low, high] = aligned(estimate, 0.01);
    format!("{value} % [{low}, {high}]")
}

/// Operations a second in GFLOP/s.
pub(crate) fn gflops(flops_per_second: f64) -> String {
    format!("{} GFLOP/s", significant(flops_per_second / 1e9))
}

/// Bytes a second in GB/s.
pub(crate) fn gigabytes_per_second(bytes_per_second: f64) -> String {
    format!("{} GB/s", significant(bytes_per_second / 1e9))
}

/// Bytes in B, KiB, MiB, GiB or TiB.
pub(crate) fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1000.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", significant(scaled), units[unit])
}

/// An integer with a comma between thousands.
pub(crate) fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits, no exponent notation between 0.001 and 10⁶.
pub(crate) fn significant(value: f64) -> String {
    match decimals(value) {
        Some(decimals) => format!("{value:.decimals$}"),
        None => format!("{value:.2e}"),
    }
}

/// An error or tolerance: always in exponent notation.
pub(crate) fn scientific(value: f64) -> String {
    if value.is_finite() { format!("{value:.1e}") } else { value.to_string() }
}

fn unit_of_seconds(value: f64) -> (f64, &'static str) {
    match value {
        // Coefficients of D³ are that small.
        v if v > 0.0 && v < 1e-12 => (1e-15, "fs"),
        v if v > 0.0 && v < 1e-9 => (1e-12, "ps"),
        v if v < 1e-6 => (1e-9, "ns"),
        v if v < 1e-3 => (1e-6, "µs"),
        v if v < 1.0 => (1e-3, "ms"),
        v if v < 600.0 => (1.0, "s"),
        v if v < 7200.0 => (60.0, "min"),
        _ => (3600.0, "h"),
    }
}

/// Value and ends over `scale`, all with the decimals that give the value three significant digits.
fn aligned(estimate: &Estimate, scale: f64) -> [String; 3] {
    let decimals = decimals(estimate.value / scale);
    [estimate.value, estimate.low, estimate.high].map(|v| match decimals {
        Some(decimals) => format!("{:.decimals$}", v / scale),
        None => significant(v / scale),
    })
}

fn decimals(value: f64) -> Option<usize> {
    let size = value.abs();
    match size {
        0.0 => Some(0),
        s if !(0.001..1e6).contains(&s) => None,
        s if s >= 99.95 => Some(0),
        s if s >= 9.995 => Some(1),
        s if s >= 0.9995 => Some(2),
        s if s >= 0.09995 => Some(3),
        s if s >= 0.009_995 => Some(4),
        _ => Some(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_they_should() {
        for (value, text) in [
            (3.2e-9, "3.20 ns"),
            (8.249e-6, "8.25 µs"),
            (0.9996e-3, "1000 µs"),
            (1e-3, "1.00 ms"),
            (0.0123, "12.3 ms"),
            (5.0, "5.00 s"),
            (599.0, "599 s"),
            (1200.0, "20.0 min"),
            (36_000.0, "10.0 h"),
            (7100.0, "118 min"),
        ] {
            assert_eq!(seconds(value), text);
        }
        for (value, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1024.0, "1.00 KiB"),
            (1023.0 * 1024.0, "0.999 MiB"),
            (3.5 * 1024.0 * 1024.0, "3.50 MiB"),
            (166e9, "155 GiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(grouped(20_000), "20,000");
        assert_eq!(grouped(320), "320");
        assert_eq!(scientific(f64::NAN), "NaN");
    }

    #[test]
    fn an_interval_shares_unit_and_decimals_with_its_value() {
        let estimate = Estimate { value: 1.004e-3, low: 0.96e-3, high: 1.0512e-3 };
        assert_eq!(seconds_estimate(&estimate), "1.00 ms [0.96, 1.05]");
        assert_eq!(ratio_estimate(&Estimate { value: 57.9, low: 56.0, high: 60.04 }), "57.9× [56.0, 60.0]");
    }
}
