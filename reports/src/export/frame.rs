//! Tables for data frames: plain columns, one row a sample, a record, or a method and dimension.
//!
//! `relgrad export` writes them as CSV, and `relgrad.read` of the Python package gives the same columns.

use relgrad_vocabulary::excerpt;

use crate::record::study::Study;
use crate::record::{Convolution, Record, State};
use crate::statistics::median;

/// A value of a table. One that does not exist is `None`, and an empty field of CSV.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// Text.
    Text(Option<String>),
    /// A count, a size or a seed.
    Whole(Option<u64>),
    /// A measurement, in the unit that its column names.
    Number(Option<f64>),
    /// Yes or no.
    Flag(bool),
}

/// Rows with the same columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Names of the columns.
    pub names: Vec<String>,
    /// Rows, as long as `names`. A column has one kind of [`Field`].
    pub rows: Vec<Vec<Field>>,
}

impl Frame {
    /// CSV (RFC 4180 quoting, `\n` line ends), a line with the names first.
    pub fn to_csv(&self) -> String {
        let rows = self.rows.iter().map(|row| line(row.iter().map(Field::text)));
        line(self.names.iter().cloned()) + &rows.collect::<String>()
    }
}

impl Field {
    /// The shortest text that reads back as the same value; empty when there is none, or it is not finite.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone().unwrap_or_default(),
            Self::Whole(number) => number.map_or(String::new(), |number| number.to_string()),
            Self::Number(number) => {
                number.filter(|number| number.is_finite()).map_or(String::new(), |number| number.to_string())
            }
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

fn line(fields: impl Iterator<Item = String>) -> String {
    fields.map(|field| quoted(&field)).collect::<Vec<_>>().join(",") + "\n"
}

/// A field as RFC 4180 quotes it. Text that a spreadsheet would take for a formula gets an apostrophe in front; numbers
/// stay numbers.
fn quoted(field: &str) -> String {
    let starts_a_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
    let field = if starts_a_formula { format!("'{field}") } else { field.into() };
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

/// One row a sample, of the records that count and have the right gradient: the keys of the cell, and the seconds.
pub fn samples(study: &Study) -> Frame {
    let left_out = study.left_out();
    let rows = study.records.iter().filter(|record| record.is_valid()).flat_map(|record| {
        let left_out = left_out.contains(&record.cell);
        let samples = record.seconds.iter().copied().enumerate();
        samples.map(move |sample| Shown { record, counts: true, left_out, sample: Some(sample) })
    });
    frame(&[CELL, SAMPLE], rows)
}

/// One row a record: the keys of the cell, and everything but the samples. Those that others replace come last.
pub fn records(study: &Study) -> Frame {
    let counting = study.records.iter().map(|record| (record, true));
    let replaced = study.replaced.iter().map(|record| (record, false));
    let left_out = study.left_out();
    let rows = counting.chain(replaced).map(|(record, counts)| {
        let left_out = left_out.contains(&record.cell);
        Shown { record, counts, left_out, sample: None }
    });
    frame(&[CELL, RECORD], rows)
}

/// What a row shows.
#[derive(Clone, Copy)]
struct Shown<'a> {
    record: &'a Record,
    /// Whether no other record of the cell counts.
    counts: bool,
    /// Whether the statistics leave the cell out, whose machine was disturbed.
    left_out: bool,
    /// Index and seconds.
    sample: Option<(usize, f64)>,
}

/// A column: its name, and its value in a row.
type Columns = [(&'static str, fn(&Shown<'_>) -> Field)];

fn frame<'a>(columns: &[&Columns], rows: impl Iterator<Item = Shown<'a>>) -> Frame {
    let columns = || columns.iter().flat_map(|columns| columns.iter());
    Frame {
        names: columns().map(|(name, _)| (*name).into()).collect(),
        rows: rows.map(|row| columns().map(|(_, value)| value(&row)).collect()).collect(),
    }
}

/// The keys of a cell.
const CELL: &Columns = &[
    ("method", |row| text(row.record.cell.method)),
    ("device", |row| text(row.record.cell.point.device)),
    ("dim", |row| whole(row.record.cell.point.dim)),
    ("batch", |row| whole(row.record.cell.point.batch)),
    ("layers", |row| whole(row.record.cell.point.layers)),
    ("dtype", |row| text(row.record.cell.point.dtype)),
    ("arithmetic", |row| text(row.record.cell.point.arithmetic())),
    ("threads", |row| whole(row.record.cell.point.threads)),
    ("ranks", |row| whole(row.record.cell.point.ranks)),
    ("bias", |row| Field::Flag(row.record.cell.point.bias)),
    ("activation", |row| text(row.record.cell.point.activation)),
    ("seed", |row| Field::Whole(Some(row.record.cell.point.seed))),
    ("channels", |row| of_convolution(row, |convolution| convolution.channels)),
    ("grid_rows", |row| of_convolution(row, |convolution| convolution.grid[0])),
    ("grid_columns", |row| of_convolution(row, |convolution| convolution.grid[1])),
    ("kernel_rows", |row| of_convolution(row, |convolution| convolution.kernel[0])),
    ("kernel_columns", |row| of_convolution(row, |convolution| convolution.kernel[1])),
    ("round", |row| whole(row.record.cell.round)),
    ("attempt", |row| whole(row.record.attempt)),
    ("left_out", |row| Field::Flag(row.left_out)),
];

const SAMPLE: &Columns = &[
    ("sample", |row| Field::Whole(row.sample.map(|(index, _)| index as u64))),
    ("seconds", |row| Field::Number(row.sample.map(|(_, seconds)| seconds))),
    ("evaluations_per_sample", |row| Field::Whole(Some(row.record.evaluations_per_sample))),
];

const RECORD: &Columns = &[
    ("counts", |row| Field::Flag(row.counts)),
    ("outcome", |row| text(row.record.outcome.name())),
    ("reason", |row| Field::Text(row.record.reason.as_ref().map(|reason| excerpt(reason.as_str(), 200)))),
    ("samples", |row| whole(row.record.seconds.len())),
    ("median_seconds", |row| Field::Number(median(&row.record.seconds).filter(|_| row.record.is_valid()))),
    ("evaluations_per_sample", |row| Field::Whole(Some(row.record.evaluations_per_sample))),
    ("peak_bytes", |row| Field::Whole(row.record.peak_bytes)),
    ("received_bytes", |row| Field::Whole(row.record.exchanged.map(|exchanged| exchanged.received_bytes))),
    ("model_flops", |row| Field::Number(Some(row.record.model.flops))),
    ("model_min_bytes", |row| Field::Number(Some(row.record.model.min_bytes))),
    ("model_min_traffic_bytes", |row| Field::Number(Some(row.record.model.min_traffic_bytes))),
    ("predicted_seconds", |row| Field::Number(row.record.prediction.map(|prediction| prediction.seconds))),
    ("predicted_peak_bytes", |row| Field::Number(row.record.prediction.map(|prediction| prediction.peak_bytes))),
    ("check_kind", |row| Field::Text(row.record.check.as_ref().map(|check| excerpt(&check.kind, 200)))),
    ("check_max_rel_err", |row| Field::Number(row.record.check.as_ref().map(|check| check.max_rel_err))),
    ("check_tolerance", |row| Field::Number(row.record.check.as_ref().map(|check| check.tolerance))),
    ("foreign_seconds", |row| of_state(row, |state| state.foreign_seconds)),
    ("stolen_seconds", |row| of_state(row, |state| state.stolen_seconds)),
    ("waited_seconds", |row| of_state(row, |state| state.waited_seconds)),
    ("lowest_hz", |row| of_state(row, |state| Some(state.lowest_hz()))),
    ("wall_seconds", |row| Field::Number(Some(row.record.wall_seconds))),
    ("started_unix_seconds", |row| Field::Number(Some(row.record.started_unix_seconds))),
];

fn text(value: impl std::fmt::Display) -> Field {
    Field::Text(Some(value.to_string()))
}

fn whole(count: usize) -> Field {
    Field::Whole(Some(count as u64))
}

fn of_convolution(row: &Shown<'_>, size: impl Fn(&Convolution) -> usize) -> Field {
    Field::Whole(row.record.cell.point.convolution.as_ref().map(|convolution| size(convolution) as u64))
}

fn of_state(row: &Shown<'_>, number: impl Fn(&State) -> Option<f64>) -> Field {
    Field::Number(row.record.state.as_ref().and_then(number))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quoting_follows_rfc_4180_and_text_is_no_formula() {
        for (field, text) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"\n", "\"say \"\"no\"\"\n\""),
            ("=1+1", "'=1+1"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("-1.5e-3", "-1.5e-3"),
            ("-f", "'-f"),
        ] {
            assert_eq!(quoted(field), text);
        }
    }
}
