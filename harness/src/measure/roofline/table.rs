//! The ceilings as people read them: a line an operation and size, a column a number type and count of threads.

use std::fmt::Write as _;

use relgrad_kernels::Math;
use relgrad_reports::roofline::{Bandwidth, Rate, Region};
use relgrad_reports::run::Machine;
use relgrad_reports::units;

use super::Output;
use crate::cmd::distinct;

/// A number of the table: its line, its column, its value in the unit of its section.
struct Entry {
    line: String,
    column: String,
    value: f64,
}

/// Everything measured, and the machine above it.
pub(crate) fn table(output: &Output) -> String {
    let Output { machine, roofline, .. } = output;
    let mut text = format!("{}\n", describe(machine));
    section(&mut text, "GFLOP/s", &roofline.rates.iter().map(of_rate).collect::<Vec<_>>());
    section(&mut text, "GB/s", &roofline.bandwidths.iter().map(of_bandwidth).collect::<Vec<_>>());
    section(&mut text, "µs", &roofline.regions.iter().map(of_region).collect::<Vec<_>>());
    let _ = write!(
        text,
        "\nMedians, taken in {}. The ceiling of a cell is max(flops / rate, bytes / bandwidth), from the fastest\n\
         samples of the best square product and the best stream at its number type and threads.\n",
        units::seconds(roofline.wall_seconds),
    );
    text
}

fn describe(machine: &Machine) -> String {
    let cores = units::counted(machine.logical_cores, "logical core");
    format!("{}, {cores}, {}, {}", machine.cpu, machine.simd, machine.virtualization)
}

fn of_rate(rate: &Rate) -> Entry {
    let what = rate.operation.description();
    let dim = units::grouped(rate.dim);
    let line = match rate.batch {
        Some(batch) => format!("{what}, D = {dim}, N = {}", units::grouped(batch)),
        None => format!("{what}, D = {dim}"),
    };
    Entry { line, column: column(Some(rate.math), rate.threads), value: rate.flops_per_second / 1e9 }
}

fn of_bandwidth(bandwidth: &Bandwidth) -> Entry {
    let size = units::bytes(bandwidth.array_bytes);
    let line = format!("{}, {size}", bandwidth.stream.description());
    Entry { line, column: column(None, bandwidth.threads), value: bandwidth.bytes_per_second / 1e9 }
}

fn of_region(region: &Region) -> Entry {
    let line = "empty parallel region".to_string();
    Entry { line, column: column(None, region.threads), value: region.median_seconds * 1e6 }
}

fn column(math: Option<Math>, threads: usize) -> String {
    let threads = units::counted(threads, "thread");
    math.map_or(threads.clone(), |math| format!("{math}, {threads}"))
}

/// A section under its unit: lines and columns in the order in which they first appear.
fn section(text: &mut String, unit: &str, entries: &[Entry]) {
    let lines = distinct(entries.iter().map(|entry| &entry.line));
    let mut columns = distinct(entries.iter().map(|entry| &entry.column));
    columns.sort_unstable();
    let heads: String = columns.iter().map(|column| format!("{column:>16}")).collect();
    let _ = writeln!(text, "\n{unit:<52}{heads}");
    for line in lines {
        let value = |column: &&String| {
            let entry = entries.iter().find(|entry| entry.line == *line && entry.column == **column);
            let value = entry.map_or("–".to_string(), |entry| units::number(entry.value));
            format!("{value:>16}")
        };
        let _ = writeln!(text, "{line:<52}{}", columns.iter().map(value).collect::<String>());
    }
}

#[cfg(test)]
mod tests {
    use relgrad_reports::fixture;

    use super::*;

    #[test]
    fn the_table_has_a_section_a_unit_and_a_dash_where_nothing_was_measured() {
        let study = fixture::study();
        let output = Output {
            schema: study.run.schema,
            version: study.run.version,
            git_revision: study.run.git_revision,
            machine: study.run.machine,
            roofline: fixture::roofline(),
        };
        insta::assert_snapshot!(table(&output));
    }
}
