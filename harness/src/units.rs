//! Sizes and durations as people write and read them.

use std::fmt;
use std::str::FromStr;

const BYTE_UNITS: [(&str, f64); 10] = [
    ("TiB", 1_099_511_627_776.0),
    ("GiB", 1_073_741_824.0),
    ("MiB", 1_048_576.0),
    ("KiB", 1024.0),
    ("TB", 1e12),
    ("GB", 1e9),
    ("MB", 1e6),
    ("kB", 1e3),
    ("KB", 1e3),
    ("B", 1.0),
];

/// Seconds with a unit that keeps three significant digits readable: `1.23 ms`, `4 min 10 s`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        v if !v.is_finite() => "unlimited".to_string(),
        v if v < 1e-3 => format!("{} µs", significant(v * 1e6)),
        v if v < 1.0 => format!("{} ms", significant(v * 1e3)),
        v if v < 120.0 => format!("{} s", significant(v)),
        v if v < 7200.0 => with_rest(v.round() as u64, 60, "min", "s"),
        v if v < 172_800.0 => with_rest((v / 60.0).round() as u64, 60, "h", "min"),
        v => format!("{} days", significant(v / 86_400.0)),
    }
}

/// Bytes in binary units: `12.3 GiB`.
pub(crate) fn bytes(value: f64) -> String {
    let (name, size) =
        BYTE_UNITS.iter().take(4).find(|(_, size)| value >= *size).copied().unwrap_or(("B", 1.0));
    format!("{} {name}", significant(value / size))
}

/// Three significant digits, no exponent, no trailing zeros after a point.
pub(crate) fn significant(value: f64) -> String {
    let magnitude = if value > 0.0 { value.log10().floor() as i32 } else { 0 };
    let decimals = (2 - magnitude).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn with_rest(total: u64, per: u64, large: &str, small: &str) -> String {
    match (total / per, total % per) {
        (whole, 0) => format!("{whole} {large}"),
        (whole, rest) => format!("{whole} {large} {rest} {small}"),
    }
}

/// A time limit on the command line: `90s`, `10m`, `1h30m`, plain seconds, or `none`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TimeLimit(pub(crate) Option<f64>);

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let complain = || format!("`{text}` is not a duration; write 60s, 10m, 1h30m or none");
        let trimmed = text.trim();
        if trimmed == "none" {
            return Ok(Self(None));
        }
        let mut total = 0.0;
        let mut rest = trimmed;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number: f64 = rest[..digits].parse().map_err(|_| complain())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let scale = match &rest[..letters] {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                // A number without a unit is seconds, but only on its own: `10m30` is a slip, not ten and a half minutes.
                "" if digits == trimmed.len() => 1.0,
                _ => return Err(complain()),
            };
            rest = &rest[letters..];
            total += number * scale;
        }
        if total > 0.0 && total.is_finite() {
            Ok(Self(Some(total)))
        } else {
            Err(format!("`{text}` must be longer than nothing; write none for no limit"))
        }
    }
}

/// A fraction on the command line: `10%`, or `0.1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fraction(pub(crate) f64);

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (number, scale) = trimmed.strip_suffix('%').map_or((trimmed, 1.0), |number| (number, 0.01));
        match number.trim().parse::<f64>() {
            Ok(value) if value > 0.0 && value.is_finite() => Ok(Self(value * scale)),
            _ => Err(format!("`{text}` is not a fraction above zero; write 10% or 0.1")),
        }
    }
}

/// A memory limit on the command line: a size (`12GiB`) or a share of the available memory (`80%`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MemoryLimit {
    /// Bytes.
    Bytes(u64),
    /// Fraction of the memory that is available when the sweep starts.
    Share(f64),
}

impl MemoryLimit {
    /// The limit in bytes on a machine with `available` bytes free.
    pub(crate) fn resolve(self, available: u64) -> u64 {
        match self {
            Self::Bytes(limit) => limit,
            Self::Share(share) => (available as f64 * share) as u64,
        }
    }
}

impl FromStr for MemoryLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let complain = || format!("`{text}` is not a size; write 12GiB, 800MiB, 16GB or 80%");
        let trimmed = text.trim();
        let positive = |number: &str| -> Result<f64, String> {
            let value: f64 = number.trim().parse().map_err(|_| complain())?;
            if value > 0.0 && value.is_finite() { Ok(value) } else { Err(complain()) }
        };
        if let Some(number) = trimmed.strip_suffix('%') {
            let percent = positive(number)?;
            return if percent <= 100.0 { Ok(Self::Share(percent / 100.0)) } else { Err(complain()) };
        }
        let (number, scale) = BYTE_UNITS
            .iter()
            .find_map(|(name, scale)| trimmed.strip_suffix(name).map(|number| (number, *scale)))
            .unwrap_or((trimmed, 1.0));
        Ok(Self::Bytes((positive(number)? * scale) as u64))
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => formatter.write_str(&seconds(limit)),
            None => formatter.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_and_none_is_no_limit() {
        let read = |text: &str| text.parse::<TimeLimit>().map(|limit| limit.0);
        assert_eq!(read("60s"), Ok(Some(60.0)));
        assert_eq!(read("10m"), Ok(Some(600.0)));
        assert_eq!(read("1h30m"), Ok(Some(5400.0)));
        assert_eq!(read("1.5h"), Ok(Some(5400.0)));
        assert_eq!(read("250ms"), Ok(Some(0.25)));
        assert_eq!(read("45"), Ok(Some(45.0)));
        assert_eq!(read("none"), Ok(None));
    }

    #[test]
    fn a_bad_duration_is_named() {
        for text in ["", "ten", "10x", "-5s", "0s", "10m30", "m", "1..2s"] {
            let message = text.parse::<TimeLimit>().unwrap_err();
            assert!(message.contains(&format!("`{text}`")), "{message}");
        }
    }

    #[test]
    fn sizes_take_binary_and_decimal_units_and_shares() {
        let read = |text: &str| text.parse::<MemoryLimit>();
        assert_eq!(read("12GiB"), Ok(MemoryLimit::Bytes(12 << 30)));
        assert_eq!(read("1.5 MiB"), Ok(MemoryLimit::Bytes(3 << 19)));
        assert_eq!(read("2GB"), Ok(MemoryLimit::Bytes(2_000_000_000)));
        assert_eq!(read("4096"), Ok(MemoryLimit::Bytes(4096)));
        assert_eq!(read("80%"), Ok(MemoryLimit::Share(0.8)));
        assert_eq!(MemoryLimit::Share(0.5).resolve(1000), 500);
        for text in ["", "GiB", "120%", "0%", "-1GiB", "12Gb"] {
            assert!(read(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn fractions_are_percent_or_plain() {
        let read = |text: &str| text.parse::<Fraction>().map(|f| f.0);
        assert_eq!((read("10%"), read("0.5"), read("150 %")), (Ok(0.1), Ok(0.5), Ok(1.5)));
        for text in ["", "%", "-1%", "0", "ten"] {
            assert!(read(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn quantities_read_like_a_lab_notebook() {
        assert_eq!(seconds(1.234e-6), "1.23 µs");
        assert_eq!(seconds(0.0456), "45.6 ms");
        assert_eq!(seconds(60.0), "60 s");
        assert_eq!(seconds(412.0), "6 min 52 s");
        assert_eq!(seconds(600.0), "10 min");
        assert_eq!(bytes(13.2 * 1024.0 * 1024.0 * 1024.0), "13.2 GiB");
        assert_eq!(bytes(512.0), "512 B");
    }
}
