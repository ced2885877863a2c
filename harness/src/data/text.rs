//! Tables as text: comma-separated values and their relatives, read line by line, so that no more is held than the
//! numbers.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::named::named;
use super::{Samples, open};
use crate::console::quoted;
use crate::error::Result;

/// What stands between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delimiter {
    /// This character.
    Is(u8),
    /// Blanks and tabs, any number of them.
    Blanks,
    /// What the first line has of comma, semicolon, tab, else blanks.
    Guessed,
}

named! {
    /// Whether the first line names the columns.
    #[derive(Default)]
    enum Header: "header" {
        /// It does when none of its fields is a number or stands for a missing one.
        #[default]
        Auto = "auto",
        Yes = "yes",
        No = "no",
    }
}

/// How the fields of a file are found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextFormat {
    pub(crate) delimiter: Delimiter,
    pub(crate) header: Header,
    /// Whether the header may have other fields than the lines below: some published files do.
    pub(crate) loose: bool,
}

/// What a file of text holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) samples: Samples,
    /// Names of the columns, where there is a header.
    pub(crate) names: Vec<String>,
    /// Lines that begin with `#`, which are left out.
    pub(crate) comments: usize,
}

/// Reads every line but blank ones and comments; `row` appends the numbers of a line's fields and says whether to keep
/// them.
///
/// # Errors
/// Names the line: of another width, with a field that is no finite number, with a quote that is not closed.
pub(crate) fn read(
    path: &Path,
    format: TextFormat,
    row: impl Fn(Fields<'_>, &mut Vec<f64>) -> Result<bool, String>,
) -> Result<Table> {
    open::reading(path, |path| {
        let mut records = Records::new(open::open(path)?, format.delimiter);
        let (names, values) = (Vec::new(), Vec::new());
        let mut table = Growing { format, names, values, room: 0, dim: 0, first: None };
        while records.advance()? {
            let text = String::from_utf8_lossy(&records.text);
            table.add(records.line, Fields { rest: Some(&text), delimiter: records.delimiter }, &row)?;
            records.width = if format.loose { 0 } else { table.dim };
        }
        if table.values.is_empty() {
            let empty = if records.lines == 0 { "it is empty" } else { "it has no row of numbers" };
            return Err(empty.into());
        }
        let samples = Samples { dim: table.dim, values: table.values };
        Ok(Table { samples, names: table.names, comments: records.comments })
    })
}

/// Every field as a number.
pub(crate) fn numbers<'a>(fields: impl Iterator<Item = &'a str>, out: &mut Vec<f64>) -> Result<bool, String> {
    for (i, field) in fields.enumerate() {
        out.push(number(field).map_err(|cause| format!("{cause} (field {})", i + 1))?);
    }
    Ok(true)
}

fn number(field: &str) -> Result<f64, String> {
    let told = quoted(field);
    match field.parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(x),
        Ok(_) if field.contains(|c: char| c.is_ascii_digit()) => Err(format!("`{told}` is beyond f64")),
        Ok(_) => Err(format!("`{told}` is not a finite number; remove or replace it")),
        Err(_) if field.is_empty() => Err("a field is empty".to_string()),
        Err(_) if field.contains(';') => {
            Err(format!("`{told}` is not a number; commas separate fields, and numbers have decimal points"))
        }
        Err(_) => Err(format!("`{told}` is not a number")),
    }
}

/// A table as far as it was read.
struct Growing {
    format: TextFormat,
    names: Vec<String>,
    values: Vec<f64>,
    /// Numbers that there is memory for.
    room: usize,
    dim: usize,
    /// Line and width of the first line with fields, header or not.
    first: Option<(u64, usize)>,
}

impl Growing {
    fn add(
        &mut self,
        line: u64,
        fields: Fields<'_>,
        row: &impl Fn(Fields<'_>, &mut Vec<f64>) -> Result<bool, String>,
    ) -> Result<(), String> {
        let width = if self.format.loose { 0 } else { fields.clone().count() };
        let first = *self.first.get_or_insert((line, width));
        if first.0 == line && self.is_header(fields.clone()) {
            self.names = fields.map(|name| name.replace("\"\"", "\"")).collect();
            return Ok(());
        }
        if width != first.1 {
            return Err(self.of_another_width(line, width, first));
        }
        let before = self.values.len();
        let kept = row(fields.clone(), &mut self.values)
            .map_err(|cause| format!("line {line}: {cause}{}", self.header_hint(line, fields)))?;
        if !kept {
            self.values.truncate(before);
            return Ok(());
        }
        let found = self.values.len() - before;
        if before > 0 && found != self.dim {
            return Err(format!("line {line} has {found} numbers, those before it {}", self.dim));
        }
        self.dim = found;
        // Whenever the memory taken is about to double.
        if self.values.capacity() > self.room {
            self.room = self.values.capacity();
            open::require_memory(self.room as u64).map_err(|cause| format!("line {line}: {cause}"))?;
        }
        Ok(())
    }

    fn is_header(&self, mut fields: Fields<'_>) -> bool {
        let is_word = |field: &str| field.parse::<f64>().is_err() && !is_decorated(field);
        match self.format.header {
            Header::Yes => true,
            Header::No => false,
            Header::Auto => fields.clone().all(is_word) && !names_repeat(fields.clone()) && fields.any(is_name),
        }
    }

    fn of_another_width(&self, line: u64, width: usize, (first, expected): (u64, usize)) -> String {
        let hint = match width {
            _ if width == 2 * expected => "; numbers have decimal points, not commas",
            _ if !self.names.is_empty() && width == expected + 1 => {
                "; if write.table of R wrote it: write with row.names = FALSE"
            }
            _ => "",
        };
        let before = if self.names.is_empty() { format!("line {first}") } else { "the header".to_string() };
        let s = if expected == 1 { "" } else { "s" };
        format!("{before} has {expected} field{s}, line {line} has {width}{hint}")
    }

    /// What may be meant by a line that is no row.
    fn header_hint(&self, line: u64, mut fields: Fields<'_>) -> &'static str {
        let has_numbers = fields.clone().any(|field| field.parse::<f64>().is_ok());
        let is_first = self.first.is_some_and(|(first, _)| first == line);
        if is_first && (!has_numbers || fields.any(is_name)) {
            "; if this line names the columns, say --header yes"
        } else if !has_numbers && !is_first && self.values.is_empty() {
            "; only the first line may be a header"
        } else {
            ""
        }
    }
}

/// Whether a field that is no number can name a column: it neither stands for a missing value nor begins as a number
/// does.
fn is_name(field: &str) -> bool {
    const MISSING: &str = "na|n/a|n.a|nan|null|none|nil|missing|unknown|undefined|undef|empty|void|nodata|no data|\
                           not available";
    let core = field.trim_matches(|c: char| !c.is_alphanumeric());
    let is_number = core.starts_with(|c: char| c.is_ascii_digit());
    let is_missing = field == "\\N" || MISSING.split('|').any(|word| word.eq_ignore_ascii_case(core));
    core.contains(char::is_alphabetic) && !is_number && !is_missing
}

/// Whether a field is a number with something around or between its digits: a sign of typography, a currency, brackets,
/// groups.
fn is_decorated(field: &str) -> bool {
    let core: String = field
        .trim_matches(|c: char| !c.is_alphanumeric())
        .chars()
        .filter(|c| !matches!(c, ',' | '_' | '\'' | ' ' | '\u{a0}' | '\u{202f}'))
        .collect();
    core != field && core.starts_with(|c: char| c.is_ascii_digit()) && core.parse::<f64>().is_ok()
}

/// Whether every name stands there more than once: a word for what is missing, not names.
fn names_repeat(fields: Fields<'_>) -> bool {
    let mut names: Vec<&str> = fields.filter(|field| !field.is_empty()).collect();
    names.sort_unstable();
    names.len() > 1 && names.chunk_by(|a, b| a == b).all(|same| same.len() > 1)
}

/// The fields of a line, without blanks around them and without their quotes.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: Option<&'a str>,
    delimiter: Delimiter,
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut rest = self.rest.take()?;
        if self.delimiter == Delimiter::Blanks {
            rest = Some(rest.trim_start()).filter(|rest| !rest.is_empty())?;
        }
        let mut quotes = Quotes::Before;
        let end = rest.bytes().position(|byte| quotes.pass(byte, self.delimiter));
        let (field, after) = rest.split_at(end.unwrap_or(rest.len()));
        // The delimiter is one byte.
        self.rest = end.map(|_| &after[1..]);
        let field = field.trim();
        let inner = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
        Some(inner.map_or(field, str::trim))
    }
}

/// Where in a field a byte stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Quotes {
    Before,
    Within,
    /// After a quote that closes, or is the first of two that stand for one.
    Closed,
    Without,
}

impl Quotes {
    /// Goes on by a byte; whether it ends the field.
    fn pass(&mut self, byte: u8, delimiter: Delimiter) -> bool {
        let ends = match delimiter {
            Delimiter::Is(delimiter) => byte == delimiter,
            Delimiter::Blanks | Delimiter::Guessed => matches!(byte, b' ' | b'\t'),
        };
        *self = match (*self, byte) {
            (Self::Within, b'"') => Self::Closed,
            (Self::Within, _) => Self::Within,
            _ if ends => Self::Before,
            (Self::Before | Self::Closed, b'"') => Self::Within,
            (Self::Before, b' ' | b'\t') => Self::Before,
            _ => Self::Without,
        };
        ends && *self == Self::Before
    }
}

/// Ends every line in \n, whether it ended in that, in \r or in both.
struct Newlines<R> {
    inner: R,
    after_return: bool,
}

impl<R: Read> Read for Newlines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            let mut kept = 0;
            for i in 0..read {
                let byte = buffer[i];
                if !(std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n') {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

/// The lines of a file that hold fields; a quoted line break does not end one.
struct Records<R> {
    reader: BufReader<Newlines<R>>,
    delimiter: Delimiter,
    text: Vec<u8>,
    /// The line that `text` begins in, the first is 1.
    line: u64,
    /// Lines read.
    lines: u64,
    comments: usize,
    /// Numbers of a row, once one was read; 0 where comments are not looked at.
    width: usize,
}

/// Bytes of a line at most: a hundred thousand columns have less.
const LONGEST_LINE: usize = 16 << 20;

impl<R: Read> Records<R> {
    fn new(inner: R, delimiter: Delimiter) -> Self {
        let reader = BufReader::new(Newlines { inner, after_return: false });
        Self { reader, delimiter, text: Vec::new(), line: 0, lines: 0, comments: 0, width: 0 }
    }

    /// Goes to the next line with fields; false at the end.
    fn advance(&mut self) -> Result<bool, String> {
        loop {
            self.text.clear();
            self.line = self.lines + 1;
            if !self.append_line()? {
                return Ok(false);
            }
            if self.line == 1 {
                require_text(&self.text)?;
                if self.text.starts_with(b"\xef\xbb\xbf") {
                    self.text.drain(..3);
                }
            }
            let is_blank = |byte: &u8| byte.is_ascii_whitespace() && self.delimiter != Delimiter::Is(*byte);
            match self.text.iter().find(|byte| !is_blank(byte)) {
                None => {}
                Some(b'#') => self.comment()?,
                Some(_) => break,
            }
        }
        if self.delimiter == Delimiter::Guessed {
            let found = [b',', b';', b'\t'].into_iter().find(|byte| self.text.contains(byte));
            self.delimiter = found.map_or(Delimiter::Blanks, Delimiter::Is);
        }
        self.close_quotes()?;
        Ok(true)
    }

    /// Counts a comment. A row of the table behind a `#`, or with an error of a spreadsheet in front, is none: left
    /// out, it would be missed by nobody.
    fn comment(&mut self) -> Result<(), String> {
        const ERRORS: &str = "#N/A #DIV/0! #VALUE! #REF! #NAME? #NUM! #NULL! #SPILL! #CALC!";
        let line = self.line;
        let text = String::from_utf8_lossy(&self.text);
        let text = text.trim_start();
        let start = |error: &&str| text.get(..error.len()).is_some_and(|start| start.eq_ignore_ascii_case(error));
        if let Some(error) = ERRORS.split(' ').find(start) {
            return Err(format!(
                "line {line}: `{error}` is not a number but an error of a spreadsheet; remove or replace it"
            ));
        }
        let rest = Some(text.trim_start_matches('#')).filter(|rest| !rest.trim().is_empty());
        let mut fields = Fields { rest, delimiter: self.delimiter };
        let has_width = self.width > 0 && fields.clone().count() == self.width;
        if has_width && fields.all(|field| field.parse::<f64>().is_ok()) {
            return Err(format!("line {line}: a row behind #: remove the line, or the #"));
        }
        self.comments += 1;
        Ok(())
    }

    /// Appends lines until no quote is open.
    fn close_quotes(&mut self) -> Result<(), String> {
        let (mut quotes, mut seen) = (Quotes::Before, 0);
        loop {
            for &byte in &self.text[seen..] {
                quotes.pass(byte, self.delimiter);
            }
            if quotes != Quotes::Within {
                return Ok(());
            }
            seen = self.text.len();
            self.text.push(b'\n');
            let more = self.append_line();
            if self.text.len() > LONGEST_LINE || !more? {
                let start = String::from_utf8_lossy(&self.text[..seen.min(1000)]);
                return Err(format!("line {}: a quote is not closed: `{}`", self.line, quoted(&start)));
            }
        }
    }

    /// Appends the next line without its end; false where there is none.
    fn append_line(&mut self) -> Result<bool, String> {
        let mut reader = (&mut self.reader).take(LONGEST_LINE as u64 + 1);
        let read = reader.read_until(b'\n', &mut self.text).map_err(|cause| open::reason(&cause))?;
        if self.text.len() > LONGEST_LINE {
            return Err(format!("line {} has more than {} MiB", self.line, LONGEST_LINE >> 20));
        }
        self.text.pop_if(|byte| read > 0 && *byte == b'\n');
        self.lines += u64::from(read > 0);
        Ok(read > 0)
    }
}

/// Refuses, by the first line, what is no text or text of another encoding.
fn require_text(line: &[u8]) -> Result<(), &'static str> {
    // Every second byte of Latin text.
    let zeros = |first: usize| {
        let bytes = || line.iter().skip(first).step_by(2);
        2 * bytes().filter(|byte| **byte == 0).count() > bytes().count().max(1)
    };
    let is_utf16 = line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") || zeros(0) != zeros(1);
    let refusals = [
        (line.get(257..262) == Some(b"ustar"), "it is a tar archive: unpack it first"),
        (is_utf16, "it is UTF-16: save it as UTF-8"),
        (line.contains(&0), "it has zero bytes and is no text"),
        (line.starts_with(b"\x1f\x8b"), "it is packed by gzip: let its name end in .gz"),
        (line.starts_with(b"PK\x03\x04"), "it is a zip archive or a spreadsheet: save the table as text"),
    ];
    refusals.into_iter().find(|(is_refused, _)| *is_refused).map_or(Ok(()), |(_, words)| Err(words))
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
