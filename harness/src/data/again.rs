//! The data of a training that goes on: found again, and compared with what it began with.

use std::path::{Path, PathBuf};

use relgrad_reports::training::{DataFacts, Training};

use super::{DataSet, Request, Samples, conditional, load, load_file, own};
use crate::error::{Error, Result};

/// Loads what a training began with, which must be the same, and moves it as it was moved then.
pub(crate) fn load_again(training: &Training, folder: Option<&Path>) -> Result<DataSet> {
    let Training { settings, data, .. } = training;
    let named = Path::new(&settings.data);
    let set = if data.file.is_some() || own::is_file_name(named.as_os_str()) {
        let header = data.header.as_deref().unwrap_or("auto").parse()?;
        load_file(&file(named, data)?, header)?
    } else {
        let (name, seed, toy_samples) = (settings.data.as_str(), settings.seed, settings.toy_samples);
        load(&Request { name, folder, seed, toy_samples })?
    };
    let mut set = conditional(set, settings.conditional.as_deref(), folder)?;
    require_same(&settings.data, data, &set.facts())?;
    if let Some(shift) = data.shift.clone() {
        if shift.len() != set.parts.dim() {
            return Err(Error::Input(format!("the shift of `{}` in training.json is damaged", settings.data)));
        }
        set.shift(shift);
    }
    Ok(set)
}

/// The file of a training: where it was, or under the name that it had, seen from here.
fn file(named: &Path, data: &DataFacts) -> Result<PathBuf> {
    let there = data.file.as_deref().map(decoded);
    let tried = [there.as_deref(), Some(named)];
    if let Some(found) = tried.iter().flatten().find(|path| path.exists()) {
        return Ok(found.to_path_buf());
    }
    let hint = match &there {
        Some(there) if there != named => {
            format!("put it back, or go to a folder from which {} leads to it", named.display())
        }
        Some(_) => "put it back".to_string(),
        None => "go to the folder in which the training was started, or put the file here".to_string(),
    };
    let path = there.unwrap_or_else(|| named.to_path_buf());
    Err(Error::Input(format!("the data of the training are gone: there is no file {}; {hint}", path.display())))
}

/// Refuses data that a training did not begin with, and says what is not the same.
pub(crate) fn require_same(name: &str, began: &DataFacts, found: &DataFacts) -> Result<()> {
    let shape = |facts: &DataFacts| {
        format!("{} + {} + {} samples of {} columns", facts.training, facts.validation, facts.test, facts.dim)
    };
    let sizes = |facts: &DataFacts| (facts.dim, facts.conditions, facts.training, facts.validation, facts.test);
    if sizes(began) != sizes(found) || began.provenance != found.provenance {
        return Err(Error::Input(format!(
            "the training began with {} of `{name}`, which now has {}: restore the data",
            shape(began),
            shape(found)
        )));
    }
    // Trainings of before have no digest.
    if began.digest.is_some() && began.digest != found.digest {
        return Err(Error::Input(format!(
            "`{name}` has other numbers than when the training began, though as many: restore the data"
        )));
    }
    Ok(())
}

/// 64 bits of all numbers and sizes, as hexadecimal digits: enough to notice other data, no protection against malice.
pub(super) fn digest<'a>(parts: impl IntoIterator<Item = &'a Samples>) -> String {
    // Steps of splitmix64: an odd factor carries every bit upwards, the shift the upper ones down again.
    let mix = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ (product >> 32)
    };
    let mut hash = 0;
    for part in parts {
        let sizes = [part.dim as u64, part.values.len() as u64];
        hash = sizes.into_iter().chain(part.values.iter().map(|x| x.to_bits())).fold(hash, mix);
    }
    format!("{hash:016x}")
}

/// The absolute path as JSON can hold it: what is not UTF-8, control characters and `%` as `%XX`.
pub(super) fn encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_ascii_control() {
                let _ = write!(text, "%{:02X}", u32::from(c));
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn decoded(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, mut after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let coded = digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if coded.is_some() {
            after = &after[2..];
        }
        bytes.push(coded.unwrap_or(byte));
        rest = after;
    }
    path_of(bytes)
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_notices_every_change() {
        let samples = |values: &[f64]| Samples { dim: 2, values: values.to_vec() };
        let whole = samples(&[1.0, 2.0, 3.0, 4.0]);
        let others = [
            vec![samples(&[1.0, 2.0, 4.0, 3.0])],
            vec![samples(&[1.0, -2.0, -3.0, 4.0])],
            vec![samples(&[1.0, 2.0, 3.0, 4.000_000_000_000_001])],
            vec![Samples { dim: 1, ..whole.clone() }],
            vec![samples(&[1.0, 2.0]), samples(&[3.0, 4.0])],
            vec![],
        ];
        assert_eq!(digest([&whole]), digest([&whole.clone()]));
        for other in others {
            assert_ne!(digest(&other), digest([&whole]), "{other:?}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn paths_of_any_bytes_read_back() {
        use std::os::unix::ffi::OsStrExt;
        for bytes in [&b"/a/d\xff/100%41 \xc3\xa9\n.csv"[..], b"/plain.csv", b"/%", b"/%2"] {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            let text = encoded(path);
            assert!(!text.contains(char::is_control), "{text}");
            assert_eq!(decoded(&text), path, "{text}");
        }
    }
}
