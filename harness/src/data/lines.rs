//! The lines of a table as text, and the fields of a line.

use std::io::{self, BufRead, BufReader, Read};

use super::open;
use crate::console::quoted;

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

/// The fields of a line, without blanks around them and without their quotes.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: Option<&'a str>,
    delimiter: Delimiter,
}

impl<'a> Fields<'a> {
    pub(super) fn of(line: &'a str, delimiter: Delimiter) -> Self {
        Self { rest: Some(line), delimiter }
    }
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
pub(super) struct Records<R> {
    reader: BufReader<Newlines<R>>,
    pub(super) delimiter: Delimiter,
    pub(super) text: Vec<u8>,
    /// The line that `text` begins in, the first is 1.
    pub(super) line: u64,
    /// Lines read.
    pub(super) lines: u64,
    pub(super) comments: usize,
    /// Numbers of a row, once one was read; 0 where comments are not looked at.
    pub(super) width: usize,
}

/// Bytes of a line at most: a hundred thousand columns have less.
pub(super) const LONGEST_LINE: usize = 16 << 20;

impl<R: Read> Records<R> {
    pub(super) fn new(inner: R, delimiter: Delimiter) -> Self {
        let reader = BufReader::new(Newlines { inner, after_return: false });
        Self { reader, delimiter, text: Vec::new(), line: 0, lines: 0, comments: 0, width: 0 }
    }

    /// Goes to the next line with fields; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, String> {
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
