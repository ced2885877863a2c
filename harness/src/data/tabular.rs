//! POWER, GAS, HEPMASS and MINIBOONE as MAF prepares them.

use std::path::Path;

use relgrad_kernels::init;

use super::catalogue::Entry;
use super::numpy::RandomState;
use super::preprocess::{Scale, select_columns, split_in_order};
use super::text::{self, Delimiter, Fields, Header, TextFormat};
use super::{DataSet, Parts, Samples, files};
use crate::console::quoted;
use crate::error::{Error, Result};

/// A column goes when the smallest value in it occurs more often than this (HEPMASS).
const MOST_REPEATS: usize = 5;

fn finished(entry: &Entry, parts: Parts) -> Result<DataSet> {
    if parts.dim() != entry.dim {
        return Err(Error::Input(format!(
            "{}: preprocessing left {} columns, the published set has {}",
            entry.name,
            parts.dim(),
            entry.dim
        )));
    }
    Ok(DataSet::new(entry.name, parts, entry.provenance))
}

fn damaged(entry: &Entry, cause: String) -> Error {
    Error::Input(format!("{}: {cause}; compare its files with those that its owners publish", entry.name))
}

/// The rows of a published file; its header may have other fields than they.
fn rows(
    path: &Path,
    delimiter: Delimiter,
    row: impl Fn(Fields<'_>, &mut Vec<f64>) -> Result<bool, String>,
) -> Result<Samples> {
    Ok(text::read(path, TextFormat { delimiter, header: Header::Auto, loose: true }, row)?.samples)
}

/// Standardises all parts with mean and population deviation of training and validation together.
fn standardise_together(entry: &Entry, mut parts: Parts) -> Result<Parts> {
    let scale = Scale::of(&[&parts.train, &parts.validation], 0.0).map_err(|cause| damaged(entry, cause))?;
    parts.each_mut().into_iter().for_each(|part| scale.standardise(part));
    Ok(parts)
}

/// POWER from the owners' text: complete rows, time as minutes in the day; shuffled, two columns dropped, noise added.
pub(crate) fn power(entry: &Entry, folder: &Path) -> Result<DataSet> {
    let path = entry.file(folder, 0)?;
    // The owners separate by semicolons; the subset's source by commas.
    let delimiter = if path.to_string_lossy().contains(".csv") { b',' } else { b';' };
    let rows = rows(&path, Delimiter::Is(delimiter), power_row)?;
    finished(entry, standardise_together(entry, split_in_order(power_columns(rows)))?)
}

/// Date, time and seven measurements → those seven and the minute of the day; `?` marks a missing value.
fn power_row(fields: Fields<'_>, out: &mut Vec<f64>) -> Result<bool, String> {
    let fields: Vec<&str> = fields.take(10).collect();
    let [_, time, measurements @ ..] = &fields[..] else { return Err("fewer than nine fields".to_string()) };
    if measurements.len() != 7 {
        return Err(format!("{} fields, not nine", fields.len()));
    }
    if measurements.iter().any(|field| field.is_empty() || *field == "?") {
        return Ok(false);
    }
    let mut parts = time.split(':').map(str::parse::<u8>);
    let (Some(Ok(hour @ 0..24)), Some(Ok(minute @ 0..60))) = (parts.next(), parts.next()) else {
        return Err(format!("`{}` is not a time of day", quoted(time)));
    };
    text::numbers(measurements.iter().copied(), out)?;
    out.push(f64::from(60 * u16::from(hour) + u16::from(minute)));
    Ok(true)
}

fn power_columns(mut rows: Samples) -> Samples {
    let mut random = RandomState::new(42);
    random.shuffle_rows(&mut rows.values, rows.dim);
    // Without reactive power (1) and intensity (3): active power, voltage, three sub-meterings, time.
    let mut rows = select_columns(&rows, &[0, 2, 4, 5, 6, 7]);
    // The generator's order is voltage, active power, sub-meterings; time has none.
    for (columns, width) in [(1..2, 0.01), (0..1, 0.001), (2..5, 1.0)] {
        for row in rows.values.chunks_exact_mut(rows.dim) {
            row[columns.clone()].iter_mut().for_each(|x| *x += width * random.uniform());
        }
    }
    rows
}

/// GAS from the owners' text: 16 sensors, a seeded quarter of the rows, correlated columns dropped, standardised as a
/// whole, split in order. The published array is another quarter of the same rows, drawn with an unknown seed.
pub(crate) fn gas(entry: &Entry, folder: &Path) -> Result<DataSet> {
    let path = entry.file(folder, 0)?;
    // Time and two concentrations come before the sensors.
    let sensors = |fields: Fields<'_>, out: &mut Vec<f64>| match fields.clone().count() {
        19 => text::numbers(fields.skip(3), out),
        count => Err(format!("{count} fields, not 19")),
    };
    let rows = rows(&path, Delimiter::Blanks, sensors)?;
    let kept = init::uniforms(42, rows.count());
    let values = rows.iter().zip(kept).filter(|(_, u)| *u < 0.25).flat_map(|(row, _)| row.to_vec()).collect();
    let damaged = |cause| damaged(entry, cause);
    let mut quarter = uncorrelated(Samples { dim: rows.dim, values }).map_err(damaged)?;
    let scale = Scale::of(&[&quarter], 1.0).map_err(damaged)?;
    scale.standardise(&mut quarter);
    finished(entry, split_in_order(quarter))
}

/// While some column has a correlation above 0.98 with another, drops the first such column.
fn uncorrelated(rows: Samples) -> Result<Samples, String> {
    const HIGHEST: f64 = 0.98;
    let scale = Scale::of(&[&rows], 0.0)?;
    let count = rows.count() as f64;
    let mut correlation = vec![0.0; rows.dim * rows.dim];
    for row in rows.iter() {
        let z: Vec<f64> =
            row.iter().zip(scale.mean.iter().zip(&scale.deviation)).map(|(x, (m, s))| (x - m) / s).collect();
        for (i, a) in z.iter().enumerate() {
            for (j, b) in z.iter().enumerate() {
                correlation[i * rows.dim + j] += a * b / count;
            }
        }
    }
    let mut kept: Vec<usize> = (0..rows.dim).collect();
    while let Some(first) = kept
        .iter()
        .position(|&i| kept.iter().filter(|&&j| correlation[i * rows.dim + j] > HIGHEST || i == j).count() > 1)
    {
        kept.remove(first);
    }
    Ok(select_columns(&rows, &kept))
}

/// HEPMASS: signal events of the files at mass 1000, standardised with the training file, spiky columns dropped.
pub(crate) fn hepmass(entry: &Entry, folder: &Path) -> Result<DataSet> {
    let (train_file, test_file) = (entry.file(folder, 0)?, entry.file(folder, 1)?);
    let signal = |mut fields: Fields<'_>, out: &mut Vec<f64>| {
        let mut label = Vec::with_capacity(1);
        text::numbers(fields.by_ref().take(1), &mut label)?;
        if label[..] == [1.0] { text::numbers(fields, out) } else { Ok(false) }
    };
    let comma = Delimiter::Is(b',');
    let (mut train, mut test) = (rows(&train_file, comma, signal)?, rows(&test_file, comma, signal)?);
    if test.dim == train.dim + 1 {
        // The test file has one column too many, its last.
        test = select_columns(&test, &(0..train.dim).collect::<Vec<_>>());
    }
    if test.dim != train.dim {
        return Err(damaged(entry, format!("{} columns to learn from and {} to test", train.dim, test.dim)));
    }
    let scale = Scale::of(&[&train], 1.0).map_err(|cause| damaged(entry, cause))?;
    scale.standardise(&mut train);
    scale.standardise(&mut test);
    let kept: Vec<usize> = (0..train.dim).filter(|&j| repeats_of_smallest(&train, j) <= MOST_REPEATS).collect();
    let (mut train, test) = (select_columns(&train, &kept), select_columns(&test, &kept));
    let validation_count = train.count() / 10;
    let values = train.values.split_off((train.count() - validation_count) * train.dim);
    let validation = Samples { dim: train.dim, values };
    finished(entry, Parts::of([train, validation, test]))
}

fn repeats_of_smallest(samples: &Samples, column: usize) -> usize {
    let column = || samples.iter().map(|row| row[column]);
    let smallest = column().fold(f64::INFINITY, f64::min);
    column().filter(|x| *x == smallest).count()
}

/// MINIBOONE from the array that MAF distributes: outliers and spiky columns are gone already.
pub(crate) fn miniboone(entry: &Entry, folder: &Path) -> Result<DataSet> {
    let rows = files::npy_file(&entry.file(folder, 0)?)?;
    finished(entry, standardise_together(entry, split_in_order(rows))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_rows_are_complete_or_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let read = |line: &str| {
            let path = folder.path().join("power.txt");
            std::fs::write(&path, format!("Date;Time;a;b;c;d;e;f;g\n1/1/2007;00:01:00;1;2;3;4;5;6;7\n{line}\n"))
                .unwrap();
            rows(&path, Delimiter::Is(b';'), power_row).map(|rows| rows.values[8..].to_vec()).map_err(|e| e.to_string())
        };
        let row = read("16/12/2006;17:24:00;4.2;0.4;234.8;18.4;0;1;17").unwrap();
        assert_eq!(row, [4.2, 0.4, 234.8, 18.4, 0.0, 1.0, 17.0, 1044.0]);
        assert_eq!(read("16/12/2006;17:24:00;?;0.4;234.8;18.4;0;1;17"), Ok(vec![]));
        assert!(read("Date;Time;a;b;c;d;e;f;g").unwrap_err().contains("line 3"));
        for time in ["4294967295:00:00", "24:00:00", "17:60:00", "17", ""] {
            let error = read(&format!("16/12/2006;{time};1;2;3;4;5;6;7")).unwrap_err();
            assert!(error.contains("is not a time of day"), "{error}");
        }
    }

    #[test]
    fn the_first_of_correlated_columns_goes() {
        let x = init::normals(3, 400);
        let values = x.chunks_exact(2).flat_map(|x| [x[0], x[1], 2.0 * x[0] + 0.01 * x[1], -x[0]]).collect();
        let kept = uncorrelated(Samples { dim: 4, values }).unwrap();
        // Columns 0 and 2 agree; 3 is anticorrelated, which the rule does not count.
        assert_eq!(kept.dim, 3);
        assert_eq!(kept.values[0], x[1]);
    }
}
