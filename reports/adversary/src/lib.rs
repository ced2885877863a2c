//! Damaged files for tests of what reads them.
//!
//! A test takes a file that its reader accepts, draws [`damage`], applies it ([`damaged`]) and lets [`judge`] call the
//! reader: it may refuse, with a reason, and must neither panic, nor hang, nor take more memory than the file
//! justifies.
//!
//! ```ignore
//! #[global_allocator]
//! static COUNTING: relgrad_adversary::Counting = relgrad_adversary::Counting;
//! ```
//! must stand in a crate whose tests count memory; without it nothing is counted, and [`judge`] says so.

mod allocation;
mod json;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;

pub use allocation::{Counting, peak_bytes};

/// Times the file's size that a reader may take at a time.
pub const MEMORY_FACTOR: usize = 16;
/// Bytes that a reader may take for a file however small: buffers, messages.
pub const MEMORY_FLOOR: usize = 1 << 20;
/// Time after which a reader counts as hanging: far beyond what a busy machine makes of milliseconds, since this is no
/// measurement of speed.
pub const LONGEST: Duration = Duration::from_secs(60);

/// One thing that happens to a file.
#[derive(Debug, Clone)]
pub enum Damage {
    /// A bit is flipped.
    Flip(Index, u8),
    /// A byte becomes another.
    Byte(Index, u8),
    /// The file ends here.
    Cut(Index),
    /// These bytes are lost.
    Lose(Index, usize),
    /// These bytes stand twice.
    Double(Index, usize),
    /// A line is lost.
    LoseLine(Index),
    /// A line stands twice.
    DoubleLine(Index),
    /// Words are put in.
    Insert(Index, usize),
    /// A number of the text becomes another.
    Number(Index, usize),
    /// A value of a JSON text becomes another, or is lost, or its key is.
    Json(Index, usize),
}

/// Words that readers have stumbled over, put in by [`Damage::Insert`].
const WORDS: [&str; 14] = [
    "\0",
    "\u{1b}[2J",
    "\u{feff}",
    "\n\n",
    "\r",
    ",",
    "\"",
    "}",
    "[[[[[[[[",
    "=1+1",
    "../../x",
    "<script>",
    "\u{202e}",
    "é",
];

/// Numbers at the edge of what types hold, put in by [`Damage::Number`].
const NUMBERS: &str = "0 -1 1 -0.0 1e-320 5e-324 1.7e308 1e400 -1e300 NaN Infinity null 255 65536 4294967296 \
                       9007199254740993 9223372036854775807 18446744073709551615 18446744073709551616 1e12";

fn numbers() -> impl Iterator<Item = &'static str> {
    NUMBERS.split(' ')
}

/// One to four damages.
pub fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<Index>;
    let one = prop_oneof![
        1 => (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1usize..64).prop_map(|(at, length)| Damage::Lose(at, length)),
        1 => (at(), 1usize..64).prop_map(|(at, length)| Damage::Double(at, length)),
        1 => at().prop_map(Damage::LoseLine),
        1 => at().prop_map(Damage::DoubleLine),
        1 => (at(), 0..WORDS.len()).prop_map(|(at, word)| Damage::Insert(at, word)),
        3 => (at(), 0..numbers().count()).prop_map(|(at, number)| Damage::Number(at, number)),
        4 => (at(), 0..json::REPLACEMENTS).prop_map(|(at, other)| Damage::Json(at, other)),
    ];
    proptest::collection::vec(one, 1..5)
}

/// `file` after `damage`.
pub fn damaged(file: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    damage.iter().filter(|_| !file.is_empty()).for_each(|one| apply(&mut bytes, one));
    bytes
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match damage {
        Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Damage::Byte(at, byte) => bytes[at.index(length)] = *byte,
        Damage::Cut(at) => bytes.truncate(at.index(length)),
        Damage::Lose(at, count) => {
            let from = at.index(length);
            bytes.drain(from..length.min(from + count));
        }
        Damage::Double(at, count) => {
            let from = at.index(length);
            let part = bytes[from..length.min(from + count)].to_vec();
            bytes.splice(from..from, part);
        }
        Damage::LoseLine(at) => {
            let line = line_at(bytes, at.index(length));
            bytes.drain(line);
        }
        Damage::DoubleLine(at) => {
            let line = line_at(bytes, at.index(length));
            let (from, text) = (line.start, bytes[line].to_vec());
            bytes.splice(from..from, text);
        }
        Damage::Insert(at, word) => {
            let from = at.index(length);
            bytes.splice(from..from, WORDS[*word].bytes());
        }
        Damage::Number(at, number) => {
            if let (Some(old), Some(new)) = (number_at(bytes, at.index(length)), numbers().nth(*number)) {
                bytes.splice(old, new.bytes());
            }
        }
        Damage::Json(at, other) => {
            let line = line_at(bytes, at.index(length));
            if let Some(text) = json::changed(bytes, at, *other) {
                *bytes = text;
            } else if let Some(text) = json::changed(&bytes[line.clone()], at, *other) {
                bytes.splice(line, text.into_iter().chain([b'\n']));
            }
        }
    }
}

/// The line around a byte, with its end.
fn line_at(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = bytes[..at].iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |end| at + end + 1);
    start..end
}

/// The first number that begins at or after a byte.
fn number_at(bytes: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let start = at + bytes[at..].iter().position(u8::is_ascii_digit)?;
    let ends = |b: &u8| !(b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    let length = bytes[start..].iter().position(ends).unwrap_or(bytes.len() - start);
    Some(start..start + length)
}

/// Calls a reader on a file of `bytes` bytes.
///
/// # Panics
/// When the reader panics, takes longer than [`LONGEST`] or more memory than [`MEMORY_FACTOR`] times the file, or
/// refuses with words that are no reason: empty, of more than one line or of more than 1,000 characters.
pub fn judge<T>(bytes: usize, reader: impl FnOnce() -> Result<T, String>) {
    let start = Instant::now();
    let (ended, peak) = peak_bytes(|| catch_unwind(AssertUnwindSafe(reader)));
    let elapsed = start.elapsed();
    let refusal = match ended {
        Ok(outcome) => outcome.err(),
        Err(_) => panic!("the reader panicked"),
    };
    assert!(elapsed < LONGEST, "the reader took {elapsed:?}");
    let most = MEMORY_FACTOR * bytes + MEMORY_FLOOR;
    assert!(peak <= most, "the reader took {peak} bytes of memory for a file of {bytes}");
    if let Some(words) = refusal {
        assert!(!words.trim().is_empty(), "a refusal without a reason");
        assert!(words.chars().count() <= 1000, "a refusal of {} characters", words.chars().count());
        assert!(!words.contains(char::is_control), "a refusal with control characters: {words:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    fn panics(check: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(check)).is_err()
    }

    #[test]
    fn a_reader_that_misbehaves_is_caught() {
        judge(10, || Ok::<_, String>(vec![0u8; 1000]));
        judge(10, || Err::<(), _>("x.json, line 1: no number".to_string()));
        assert!(panics(|| judge(10, || Ok::<_, String>(vec![0u8; 10 << 20]))));
        assert!(panics(|| judge(10, || Err::<(), _>("two\nlines".to_string()))));
        assert!(panics(|| judge(10, || Err::<(), _>(String::new()))));
        assert!(panics(|| judge(10, || -> Result<(), String> { panic!("inside") })));
    }

    proptest! {
        #[test]
        fn any_damage_can_be_applied(damage in damage(), file in proptest::collection::vec(any::<u8>(), 0..200)) {
            damaged(&file, &damage);
        }

        #[test]
        fn damage_of_json_lines_keeps_some_of_them_json(damage in damage()) {
            let file = b"{\"a\": [1, 2.5], \"b\": \"x\"}\n{\"a\": [3], \"b\": null}\n";
            prop_assert!(damaged(file, &damage).len() < 1 << 20);
        }
    }
}
