//! Files of a training's folder: read without following links, and sealed with a checksum, so that a changed bit is
//! told.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use relgrad_reports::writer::write_atomically;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::console;
use crate::error::{Error, Result};

/// What stands before the checksum of a JSON text. Inside a JSON string its quotes would be escaped.
const MARK: &str = ",\"checksum\":\"";

/// The most bytes of a JSON file.
pub(super) const MOST_JSON: u64 = 16 << 20;

/// Writes a value as sealed JSON: whole, or not at all.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value).map_err(|cause| Error::output(path, cause))?;
    write_atomically(path, seal(&json).as_bytes()).map_err(|cause| Error::Output(cause.to_string()))
}

/// A JSON object with the CRC-32 of all its text as its last field.
pub(super) fn seal(json: &str) -> String {
    let body = json.trim_end().strip_suffix('}').unwrap_or(json).trim_end();
    body.to_string() + &end(body.as_bytes())
}

fn end(body: &[u8]) -> String {
    format!("{MARK}{:08x}\"}}\n", crc32fast::hash(body))
}

/// Reads a sealed JSON text, unless a newer relgrad wrote it. One of version 1, from before there were checksums, needs
/// none.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8], newest: u32) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let Version { schema } = serde_json::from_slice(bytes).map_err(|cause| damaged(path, cause))?;
    if schema > newest {
        return Err(Error::Input(format!(
            "{} has version {schema}, and this relgrad reads up to {newest}: use the relgrad that wrote it",
            path.display()
        )));
    }
    let last = |words: &str| bytes.windows(words.len()).rposition(|window| window == words.as_bytes());
    let whole = match last(MARK) {
        Some(at) => bytes[at..] == *end(&bytes[..at]).as_bytes(),
        None => schema == 1 && last("\"checksum\"").is_none(),
    };
    if !whole {
        return Err(damaged(path, "its checksum does not fit"));
    }
    serde_json::from_slice(bytes).map_err(|cause| damaged(path, cause))
}

/// Reads a file of at most `most` bytes, unless it is a link, a pipe or a device.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let failed = |cause: std::io::Error| Error::input(path, cause);
    let facts = fs::symlink_metadata(path).map_err(failed)?;
    if !facts.is_file() {
        let cause = "it is not a regular file, and links are not followed; put the file itself there";
        return Err(Error::input(path, cause));
    }
    if facts.len() > most {
        return Err(damaged(path, format!("{} bytes are more than it can have", facts.len())));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(facts.len() as usize).map_err(|cause| Error::input(path, cause))?;
    File::open(path).and_then(|file| file.take(facts.len()).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

/// The error of a file that is not as it was written.
pub(super) fn damaged(path: &Path, cause: impl Display) -> Error {
    /// The longest reason, in characters: parsers quote what they find.
    const LONGEST: usize = 160;
    let mut cause = console::visible(&cause.to_string()).replace(['\n', '\t'], " ");
    if let Some((at, _)) = cause.char_indices().nth(LONGEST) {
        cause.truncate(at);
        cause.push('…');
    }
    Error::Input(format!(
        "{} is damaged or was changed ({cause}): restore the file, or start again in another folder",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_flipped_bit_of_a_sealed_text_is_refused() {
        let path = Path::new("x.json");
        let text = seal("{\n  \"schema\": 2,\n  \"a\": [1.5, \",\\\"checksum\\\":\\\"\"]\n}\n");
        let value: Value = parse(path, text.as_bytes(), 2).unwrap();
        assert_eq!(value["a"][0], 1.5);
        for bit in 0..8 * text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let told = parse::<Value>(path, &bytes, 2).unwrap_err().to_string();
            assert!(told.starts_with("x.json ") && told.lines().count() == 1, "{told}");
        }
    }

    #[test]
    fn a_text_without_a_checksum_is_read_where_it_is_older_than_checksums() {
        let parse = |text: &str| parse::<Value>(Path::new("x.json"), text.as_bytes(), 2).map(|_| ());
        assert!(parse("{\"schema\": 1}").is_ok());
        for text in [
            "{\"schema\": 2}",
            "{\"checksum\":\"00000000\",\"schema\":1}",
            "{\"schema\": 0}",
            "{\"schema\": 3}",
            "{}",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_pipes_and_files_too_large_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "twelve bytes").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&file, 12).unwrap(), b"twelve bytes");
        assert!(read(&file, 11).unwrap_err().to_string().contains("12 bytes"));
        for path in [&link, Path::new("/dev/zero")] {
            assert!(read(path, 100).unwrap_err().to_string().contains("not a regular file"));
        }
    }
}
