//! Tables as text: comma-separated values and their relatives, read line by line, so that no more is held than the
//! numbers.

use std::io::Read;
use std::path::Path;

use relgrad_vocabulary::names;

use super::lines::Records;
pub(crate) use super::lines::{Delimiter, Fields};
use super::{Samples, open};
use crate::console::quoted;
use crate::error::Result;

names! {
    /// Whether the first line names the columns.
    #[derive(Default)]
    Header, "header", {
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
    open::reading(path, |path| read_from(open::open(path)?, format, row))
}

/// The same of an open stream, such as standard input; an error does not say of which.
pub(super) fn read_from(
    reader: impl Read,
    format: TextFormat,
    row: impl Fn(Fields<'_>, &mut Vec<f64>) -> Result<bool, String>,
) -> Result<Table, String> {
    let mut records = Records::new(reader, format.delimiter);
    let (names, values) = (Vec::new(), Vec::new());
    let mut table = Growing { format, names, values, room: 0, dim: 0, first: None };
    while records.advance()? {
        let text = String::from_utf8_lossy(&records.text);
        table.add(records.line, Fields::of(&text, records.delimiter), &row)?;
        records.width = if format.loose { 0 } else { table.dim };
    }
    if table.values.is_empty() {
        let empty = if records.lines == 0 { "it is empty" } else { "it has no row of numbers" };
        return Err(empty.into());
    }
    let samples = Samples { dim: table.dim, values: table.values };
    Ok(Table { samples, names: table.names, comments: records.comments })
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

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
