//! Quantities of the command line, each with its unit. How they are shown is in `relgrad_reports::units`.

use std::str::FromStr;

use crate::console;

/// What a size may be written in: binary and decimal.
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

/// Fails for a number that lacks its unit: it may mean several things. `hint` says what to write.
fn require_unit(text: &str, hint: impl FnOnce(&str) -> String) -> Result<&str, String> {
    let text = text.trim();
    match text.len() < 20 && text.parse::<f64>().is_ok_and(f64::is_finite) {
        true => Err(format!("`{}` has no unit; {}", console::quoted(text), hint(text))),
        false => Ok(text),
    }
}

/// A time limit on the command line: `90s`, `10m`, `1h30m`, or `none`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TimeLimit(pub(crate) Option<f64>);

impl TimeLimit {
    /// Ten years: a limit beyond is a slip, and none is written `none`.
    const LONGEST_DAYS: f64 = 3650.0;
}

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = require_unit(text, |number| format!("write {number}s or {number}m"))?;
        if rest == "none" {
            return Ok(Self(None));
        }
        let shown = console::quoted(text);
        let complain = || format!("`{shown}` is not a duration; write 60s, 10m, 1h30m or none");
        let mut total = 0.0;
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
                _ => return Err(complain()),
            };
            rest = &rest[letters..];
            total += number * scale;
        }
        let longest = Self::LONGEST_DAYS;
        match total {
            0.0 => Err(format!("`{shown}` must be longer than zero; write none for no limit")),
            total if total <= longest * 86_400.0 => Ok(Self(Some(total))),
            _ => Err(format!("`{shown}` is longer than {longest}d, the longest; write none for no limit")),
        }
    }
}

/// A length on paper on the command line, in millimetres: `85mm`, `8.5cm`, `3.3in` or `241pt`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Length(pub(crate) f64);

impl Length {
    /// Of a point, a seventy-second of an inch, in millimetres.
    pub(crate) const POINT: f64 = 25.4 / 72.0;
    const UNITS: [(&str, f64); 4] = [("mm", 1.0), ("cm", 10.0), ("in", 25.4), ("pt", Self::POINT)];
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = require_unit(text, |number| format!("write {number}mm, {number}in or {number}pt"))?;
        let found = Self::UNITS.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)));
        let length = found.and_then(|(number, scale)| Some(number.trim().parse::<f64>().ok()? * scale));
        let complain = || format!("`{}` is not a length; write 85mm, 8.5cm, 3.3in or 8pt", console::quoted(text));
        length.filter(|length| length.is_finite() && *length > 0.0).map(Self).ok_or_else(complain)
    }
}

/// A fraction on the command line: `10%`, or the ratio `1.1x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fraction(pub(crate) f64);

impl Fraction {
    const LARGEST: f64 = 10_000.0;
}

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HINT: &str = "write 10% or 1.1x";
        let text = require_unit(text, |_| HINT.to_string())?;
        let shown = console::quoted(text);
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let percent = text.strip_suffix('%').and_then(number).map(|percent| percent / 100.0);
        let ratio = || text.strip_suffix(['x', '×']).and_then(number).map(|ratio| ratio - 1.0);
        match percent.or_else(ratio) {
            Some(value) if value > 0.0 && value <= Self::LARGEST => Ok(Self(value)),
            Some(value) if value > Self::LARGEST => {
                Err(format!("`{shown}` is more than {}%, the largest", 100.0 * Self::LARGEST))
            }
            _ => Err(format!("`{shown}` is not a fraction above zero; {HINT}")),
        }
    }
}

/// A memory limit on the command line: a size (`12GiB`) or a share of the available memory (`80%`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MemoryLimit {
    Bytes(u64),
    /// Fraction of the memory that is available when the sweep starts.
    Share(f64),
}

impl MemoryLimit {
    /// An exbibyte, the most that records take too.
    const LARGEST_TEBIBYTES: f64 = 1_048_576.0;

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
        let text = require_unit(text, |number| format!("write {number}GiB, {number}MiB or {number}%"))?;
        let shown = console::quoted(text);
        let complain = || format!("`{shown}` is not a size; write 12GiB, 800MiB, 16GB or 80%");
        let units = BYTE_UNITS.iter().chain(&[("%", 0.01)]);
        let found = units.filter_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *unit, *scale))).next();
        let (number, unit, scale) = found.ok_or_else(complain)?;
        let value = number.trim().parse::<f64>().map_err(|_| complain())? * scale;
        let largest = Self::LARGEST_TEBIBYTES;
        match value {
            share if unit == "%" && share > 0.0 && share <= 1.0 => Ok(Self::Share(share)),
            bytes if unit == "%" || bytes.is_nan() || bytes < 1.0 => Err(complain()),
            bytes if bytes <= largest * BYTE_UNITS[0].1 => Ok(Self::Bytes(bytes as u64)),
            _ => Err(format!("`{shown}` is more than {largest}TiB, the largest")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_and_none_is_no_limit() {
        for (text, seconds) in [
            ("60s", Some(60.0)),
            ("10m", Some(600.0)),
            ("1h30m", Some(5400.0)),
            ("1.5h", Some(5400.0)),
            ("250ms", Some(0.25)),
            ("3650d", Some(3650.0 * 86_400.0)),
            ("none", None),
        ] {
            assert_eq!(text.parse(), Ok(TimeLimit(seconds)), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_is_named() {
        for text in ["", "ten", "10x", "-5s", "0s", "10m30", "m", "1..2s", "1e300h", "infinity", "NaN"] {
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
        assert_eq!(read("4096B"), Ok(MemoryLimit::Bytes(4096)));
        assert_eq!(read("80%"), Ok(MemoryLimit::Share(0.8)));
        assert_eq!(MemoryLimit::Share(0.5).resolve(1000), 500);
        for text in ["", "GiB", "120%", "0%", "-1GiB", "12Gb", "infGiB", "NaN%", "0.1B"] {
            assert!(read(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn lengths_are_metric_inches_or_points() {
        let read = |text: &str| text.parse::<Length>().map(|length| (length.0 * 1e6).round() / 1e6);
        assert_eq!((read("85mm"), read("8.5 cm"), read("2in"), read("72pt")), (Ok(85.0), Ok(85.0), Ok(50.8), Ok(25.4)));
        for text in ["", "mm", "85", "-1mm", "0pt", "infin", "85 m", "NaNmm"] {
            assert!(read(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn fractions_are_percent_or_a_ratio() {
        let read = |text: &str| text.parse::<Fraction>().map(|f| (f.0 * 1e9).round() / 1e9);
        assert_eq!((read("10%"), read("150 %"), read("1000000%")), (Ok(0.1), Ok(1.5), Ok(1e4)));
        assert_eq!((read("1.1x"), read("3x"), read("1.05×")), (Ok(0.1), Ok(2.0), Ok(0.05)));
        for text in ["", "%", "-1%", "0%", "ten", "1x", "0.9x", "x", "inf%", "NaN%"] {
            assert!(read(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_number_without_its_unit_is_refused_with_what_it_may_mean() {
        for text in ["10", "0.1", "5", "1e3", "-3", "0"] {
            for (told, hint) in [
                (text.parse::<Fraction>().unwrap_err(), "write 10% or 1.1x".to_string()),
                (text.parse::<TimeLimit>().unwrap_err(), format!("write {text}s or {text}m")),
                (text.parse::<MemoryLimit>().unwrap_err(), format!("write {text}GiB")),
            ] {
                assert!(told.contains(&format!("`{text}` has no unit")) && told.contains(&hint), "{told}");
            }
        }
    }

    #[test]
    fn what_is_beyond_all_measure_is_refused_with_the_largest() {
        let time = "99999999999999999999s".parse::<TimeLimit>().unwrap_err();
        assert!(time.contains("longer than 3650d"), "{time}");
        for text in ["9223372036854775808B", "1e300GiB", "99999999999TiB"] {
            let size = text.parse::<MemoryLimit>().unwrap_err();
            assert!(size.contains("more than 1048576TiB"), "{size}");
        }
        let fraction = "1e300%".parse::<Fraction>().unwrap_err();
        assert!(fraction.contains("more than 1000000%"), "{fraction}");
        let long = "9".repeat(100_000).parse::<TimeLimit>().unwrap_err();
        assert!(long.len() < 300, "{long}");
    }
}
