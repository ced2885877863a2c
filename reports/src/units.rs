//! Numbers as people read them: the one format of the console, the tables and the figures.
//!
//! A number has three significant digits and no zeros after them; whole thousands are set apart by commas. Times have
//! the unit that keeps them short (`1.23 ms`, `412 s`, `16.7 min`), bytes a binary one (`1.52 GiB`). Rates alone are
//! decimal (`40 GB/s`), as data sheets state them. Programs read the exports in JSON and CSV, which are not rounded.

use serde_json::{Value, json};

use crate::statistics::summary::Estimate;

/// What stands where there is no value.
pub const NONE: &str = "–";

/// Units of time, the largest first: seconds that they hold, and seconds from which they are used.
const TIMES: [(f64, f64, &str); 9] = [
    (86_400.0, 172_800.0, "days"),
    (3600.0, 7200.0, "h"),
    (60.0, 600.0, "min"),
    (1.0, FULL, "s"),
    (1e-3, FULL * 1e-3, "ms"),
    (1e-6, FULL * 1e-6, "µs"),
    (1e-9, FULL * 1e-9, "ns"),
    // Coefficients of D³ are that small.
    (1e-12, FULL * 1e-12, "ps"),
    (1e-15, 0.0, "fs"),
];

/// Units of size, each 1024 of the one before.
const SIZES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// What rounds to one unit does not read as a thousand of the next smaller one.
const FULL: f64 = 0.9995;

/// Seconds in fs to days: `1.23 ms`. Without an end: `unlimited`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() {
        return "unlimited".to_string();
    }
    let (scale, unit) = unit_of_seconds(value);
    format!("{} {unit}", number(value / scale))
}

/// The unit of a time: seconds that it holds, and its name.
pub fn unit_of_seconds(value: f64) -> (f64, &'static str) {
    let fitting = TIMES.iter().find(|(_, from, _)| value >= *from && value > 0.0);
    fitting.map_or((1.0, "s"), |&(scale, _, unit)| (scale, unit))
}

/// Bytes in B to EiB: `1.52 GiB`.
pub fn bytes(value: f64) -> String {
    let (scale, unit) = unit_of_bytes(value);
    format!("{} {unit}", number(value / scale))
}

/// The unit of a size: bytes that it holds, and its name.
pub fn unit_of_bytes(value: f64) -> (f64, &'static str) {
    let (mut scale, mut unit) = (1.0, 0);
    while value / scale >= 999.5 && unit + 1 < SIZES.len() {
        scale *= 1024.0;
        unit += 1;
    }
    (scale, SIZES[unit])
}

/// A duration with its interval, all in the unit that fits the value: `1.23 ms [1.2, 1.26]`. Here and below a number
/// whose interval is not known (both ends are the value) stands alone.
pub fn seconds_estimate(estimate: &Estimate) -> String {
    let (scale, unit) = unit_of_seconds(estimate.value);
    let [value, low, high] = aligned(estimate, scale);
    with_interval(estimate, format!("{value} {unit}"), &low, &high)
}

fn with_interval(estimate: &Estimate, value: String, low: &str, high: &str) -> String {
    // Exponentials of logarithms differ in their last digits.
    let known = (estimate.high - estimate.low).abs() > 1e-12 * estimate.value.abs();
    if !known { value } else { format!("{value} [{low}, {high}]") }
}

/// A quotient: `12.3×`.
pub fn ratio(value: f64) -> String {
    format!("{}×", number(value))
}

/// A quotient with its interval: `12.3× [12.1, 12.6]`.
pub fn ratio_estimate(estimate: &Estimate) -> String {
    let [value, low, high] = aligned(estimate, 1.0);
    with_interval(estimate, format!("{value}×"), &low, &high)
}

/// A place on an axis with its interval: `412 [380, 455]`.
pub fn place(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(number);
    with_interval(estimate, value, &low, &high)
}

/// An exponent with its interval, to two decimals.
pub fn exponent(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|p| format!("{p:.2}"));
    with_interval(estimate, value, &low, &high)
}

/// A fraction as a percentage: `0.529 %`.
pub fn percent(fraction: f64) -> String {
    format!("{} %", number(100.0 * fraction))
}

/// A fraction as a percentage with its interval: `87.3 % [85, 88.1]`.
pub fn percent_estimate(estimate: &Estimate) -> String {
    let [value, low, high] = aligned(estimate, 0.01);
    with_interval(estimate, format!("{value} %"), &low, &high)
}

/// Operations a second in GFLOP/s.
pub fn gflops(flops_per_second: f64) -> String {
    format!("{} GFLOP/s", number(flops_per_second / 1e9))
}

/// Bytes a second in GB/s.
pub fn gigabytes_per_second(bytes_per_second: f64) -> String {
    format!("{} GB/s", number(bytes_per_second / 1e9))
}

/// `1 sample`, `2,000 samples`.
pub fn counted(count: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A count, whole, with a comma between thousands.
pub fn grouped(value: usize) -> String {
    with_commas(&value.to_string())
}

/// Three significant digits, or all of a whole number; a power of ten outside 0.001 to 10⁶.
pub fn number(value: f64) -> String {
    match decimals(value) {
        Some(decimals) => fixed(value, decimals),
        None => power_of_ten(value),
    }
}

/// As many decimals as a number needs, six at most: a tick of an axis in one unit.
pub fn plain(value: f64) -> String {
    fixed(value, 6)
}

/// An error or tolerance: always in exponent notation.
pub fn scientific(value: f64) -> String {
    if value.is_finite() { format!("{value:.1e}") } else { value.to_string() }
}

/// The tables of units for a page's script, the largest first: what one holds, from which value on it is used, and its
/// name.
pub(crate) fn tables() -> Value {
    let size = |(power, name): (usize, &&str)| {
        let scale = 1024f64.powi(power as i32);
        (scale, if power == 0 { 0.0 } else { scale / 1024.0 * 999.5 }, name.to_string())
    };
    json!({ "seconds": TIMES, "bytes": SIZES.iter().enumerate().rev().map(size).collect::<Vec<_>>() })
}

/// The number that a text of this module begins with, in seconds, bytes or one; what comes before it, such as `≥ `, is
/// passed over. A table is sorted by it, as it shows it: two that look alike are alike.
pub(crate) fn value_of(text: &str) -> Option<f64> {
    let is_digit = |c: char| c.is_ascii_digit();
    let start = text.find(is_digit)?;
    let before = text[..start].chars().next_back();
    if before.is_some_and(char::is_alphabetic) {
        return None;
    }
    let end = |of: &str, test: &dyn Fn(char) -> bool| of.find(|c| !test(c)).unwrap_or(of.len());
    let rest = &text[start..];
    let (digits, rest) = rest.split_at(end(rest, &|c| is_digit(c) || c == ',' || c == '.'));
    let mut value: f64 = digits.replace(',', "").trim_end_matches('.').parse().ok()?;
    let mut rest = rest;
    if let Some(power) = rest.strip_prefix('e') {
        let (power, after) = power.split_at(end(power, &|c| is_digit(c) || c == '-'));
        (value, rest) = (format!("{value}e{power}").parse().ok()?, after);
    }
    // `3×10⁷`, or `10⁷` alone.
    let factor = rest.strip_prefix("×10").filter(|raised| raised.starts_with(|c| of_superscript(c).is_some()));
    let (power, rest) = factor.unwrap_or(rest).split_at(end(factor.unwrap_or(rest), &|c| of_superscript(c).is_some()));
    if !power.is_empty() {
        let digits: String = power.chars().filter_map(of_superscript).collect();
        value = factor.map_or(1.0, |_| value) * 10f64.powi(digits.parse().ok()?);
    }
    let unit = rest.split_whitespace().next().unwrap_or_default().trim_end_matches(',');
    let time = TIMES.iter().find(|(.., name)| *name == unit).map(|(scale, ..)| *scale);
    let size = SIZES.iter().position(|name| *name == unit).map(|power| 1024f64.powi(power as i32));
    let sign = if matches!(before, Some('−' | '-')) { -1.0 } else { 1.0 };
    Some(sign * value * time.or(size).unwrap_or(1.0))
}

/// Value and ends over `scale`, all to the decimals that give the value three significant digits.
pub(crate) fn aligned(estimate: &Estimate, scale: f64) -> [String; 3] {
    let decimals = decimals(estimate.value / scale);
    [estimate.value, estimate.low, estimate.high].map(|v| match decimals {
        Some(decimals) => fixed(v / scale, decimals),
        None => number(v / scale),
    })
}

/// Decimals of three significant digits; none where a power of ten is shorter.
fn decimals(value: f64) -> Option<usize> {
    match value.abs() {
        0.0 => Some(0),
        s if !(0.000_999_5..999_999.5).contains(&s) => None,
        s if s >= 99.95 => Some(0),
        s if s >= 9.995 => Some(1),
        s if s >= 0.9995 => Some(2),
        s if s >= 0.09995 => Some(3),
        s if s >= 0.009_995 => Some(4),
        _ => Some(5),
    }
}

/// So many decimals, without zeros at their end, with commas and a minus.
fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let sign = if value < 0.0 && text.contains(|c| ('1'..='9').contains(&c)) { "−" } else { "" };
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{rest}", with_commas(whole))
}

/// `3.2×10⁷`, `10⁻⁵`.
fn power_of_ten(value: f64) -> String {
    let text = format!("{:.2e}", value.abs());
    let Some((mantissa, exponent)) = text.split_once('e') else { return value.to_string() };
    let sign = if value < 0.0 { "−" } else { "" };
    let power: String = exponent.chars().map(superscript).collect();
    match mantissa.trim_end_matches('0').trim_end_matches('.') {
        "1" => format!("{sign}10{power}"),
        mantissa => format!("{sign}{mantissa}×10{power}"),
    }
}

const SUPERSCRIPTS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

fn superscript(c: char) -> char {
    c.to_digit(10).map_or('⁻', |digit| SUPERSCRIPTS[digit as usize])
}

/// The other way.
fn of_superscript(c: char) -> Option<char> {
    let digit = SUPERSCRIPTS.iter().position(|known| *known == c);
    digit.and_then(|digit| char::from_digit(digit as u32, 10)).or((c == '⁻').then_some('-'))
}

fn with_commas(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(i);
        if i > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_they_should() {
        for (value, text) in [
            (0.0, "0 s"),
            (6.15e-15, "6.15 fs"),
            (3.2e-9, "3.2 ns"),
            (8.249e-6, "8.25 µs"),
            (0.999e-3, "999 µs"),
            (0.9996e-3, "1 ms"),
            (1e-3, "1 ms"),
            (0.0123, "12.3 ms"),
            (5.0, "5 s"),
            (599.0, "599 s"),
            (600.0, "10 min"),
            (1000.0, "16.7 min"),
            (7100.0, "118 min"),
            (36_000.0, "10 h"),
            (1e6, "11.6 days"),
            (f64::INFINITY, "unlimited"),
        ] {
            assert_eq!(seconds(value), text);
        }
        for (value, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1024.0, "1 KiB"),
            (1023.0 * 1024.0, "0.999 MiB"),
            (3.5 * 1024.0 * 1024.0, "3.5 MiB"),
            (166e9, "155 GiB"),
            (2f64.powi(60), "1 EiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn a_number_has_three_digits_or_all_whole_ones() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (57.86, "57.9"),
            (99.96, "100"),
            (1234.4, "1,234"),
            (-20_000.0, "−20,000"),
            (999_999.4, "999,999"),
            (3e6, "3×10⁶"),
            (1e7, "10⁷"),
            (-2.34e-5, "−2.34×10⁻⁵"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((plain(-0.25), plain(1375.0), plain(-1e-9)), ("−0.25".into(), "1,375".into(), "0".into()));
        assert_eq!((grouped(320), grouped(20_000), grouped(1_000_000)), {
            ("320".to_string(), "20,000".to_string(), "1,000,000".to_string())
        });
        assert_eq!((counted(1, "sample"), counted(0, "sample"), counted(7000, "sample")), {
            ("1 sample".to_string(), "0 samples".to_string(), "7,000 samples".to_string())
        });
        assert_eq!((scientific(f64::NAN), scientific(1.23e-7)), ("NaN".into(), "1.2e-7".into()));
    }

    #[test]
    fn the_number_of_a_text_is_the_one_that_was_written() {
        for (text, value) in [
            ("1.23 ms [1.2, 1.26]", 1.23e-3),
            ("16.7 min", 1002.0),
            ("≥ 412 s", 412.0),
            ("3.5 MiB", 3.5 * 1024.0 * 1024.0),
            ("1,234 / 5", 1234.0),
            ("−2.34×10⁻⁵", -2.34e-5),
            ("10⁷ s", 1e7),
            ("3×10⁶×", 3e6),
            ("57.9× [56, 60]", 57.9),
            ("12.5 % (bandwidth)", 12.5),
            ("1.2e-7", 1.2e-7),
            ("10 – 200 (4 dimensions)", 10.0),
        ] {
            let found = value_of(text).expect(text);
            assert!((found / value - 1.0).abs() < 1e-12, "{text}: {found}");
        }
        assert_eq!(["–", "NaN", "unlimited", "f32"].map(value_of), [None; 4]);
        for value in [6.15e-15, 3.2e-9, 8.25e-6, 0.0123, 599.0, 36_000.0, 1.04e6] {
            assert!((value_of(&seconds(value)).unwrap() / value - 1.0).abs() < 5e-3, "{}", seconds(value));
        }
    }

    #[test]
    fn percentages_lose_zeros_behind_the_point_only() {
        let texts = [0.01, 0.1, 0.3, 0.125, 1.0, 2.0].map(percent);
        assert_eq!(texts, ["1 %", "10 %", "30 %", "12.5 %", "100 %", "200 %"]);
    }

    #[test]
    fn an_interval_shares_unit_and_decimals_with_its_value() {
        let estimate = Estimate { value: 1.004e-3, low: 0.96e-3, high: 1.0512e-3 };
        assert_eq!(seconds_estimate(&estimate), "1 ms [0.96, 1.05]");
        assert_eq!(ratio_estimate(&Estimate { value: 57.9, low: 56.0, high: 60.04 }), "57.9× [56, 60]");
    }
}
