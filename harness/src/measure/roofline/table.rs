//! The ceilings as people read them: a line an operation and size, a column a number type and count of threads.

use relgrad_kernels::Math;
use relgrad_reports::roofline::{Bandwidth, Rate, Region};
use relgrad_reports::table::Table;
use relgrad_reports::units::{self, NONE, grouped};

use super::Output;
use crate::cmd::distinct;

/// A number of the table: its line, its column, its value in the unit of its section.
type Entry = (String, String, f64);

/// Everything measured, and the machine above it.
pub(crate) fn table(Output { machine, roofline, .. }: &Output) -> String {
    let cores = units::counted(machine.logical_cores, "logical core");
    format!(
        "{}, {cores}, {}, {}\n{}{}{}\nMedians, taken in {}. The ceiling of a cell is max(flops / rate, bytes / \
         bandwidth), from the fastest\nsamples of the best square product and the best stream at its number type and \
         threads.\n",
        machine.cpu,
        machine.simd,
        machine.virtualization,
        section("GFLOP/s", roofline.rates.iter().map(of_rate).collect()),
        section("GB/s", roofline.bandwidths.iter().map(of_bandwidth).collect()),
        section("µs", roofline.regions.iter().map(of_region).collect()),
        units::seconds(roofline.wall_seconds),
    )
}

fn of_rate(rate: &Rate) -> Entry {
    let batch = rate.batch.map_or(String::new(), |batch| format!(", N = {}", grouped(batch)));
    let line = format!("{}, D = {}{batch}", rate.operation.description(), grouped(rate.dim));
    (line, column(Some(rate.math), rate.threads), rate.flops_per_second / 1e9)
}

fn of_bandwidth(bandwidth: &Bandwidth) -> Entry {
    let line = format!("{}, {}", bandwidth.stream.description(), units::bytes(bandwidth.array_bytes));
    (line, column(None, bandwidth.threads), bandwidth.bytes_per_second / 1e9)
}

fn of_region(region: &Region) -> Entry {
    ("empty parallel region".to_string(), column(None, region.threads), region.median_seconds * 1e6)
}

fn column(math: Option<Math>, threads: usize) -> String {
    let threads = units::counted(threads, "thread");
    math.map_or(threads.clone(), |math| format!("{math}, {threads}"))
}

/// A section under its unit: lines in the order in which they first appear.
fn section(unit: &str, entries: Vec<Entry>) -> String {
    let mut columns = distinct(entries.iter().map(|(_, column, _)| column));
    columns.sort_unstable();
    let row = |line: &String| {
        let at = |column: &&String| entries.iter().find(|(of, at, _)| of == line && at == *column);
        let value = |column| at(column).map_or(NONE.to_string(), |(.., value)| units::number(*value));
        [line.clone()].into_iter().chain(columns.iter().map(value)).collect()
    };
    let heads: String = columns.iter().map(|column| format!(" | >{column}")).collect();
    let rows = distinct(entries.iter().map(|(line, ..)| line)).into_iter().map(row);
    format!("\n{}", Table::new(&format!("{unit}{heads}"), rows).text())
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
