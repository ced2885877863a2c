//! The measured ceilings of a machine as a table, one line for each size of each operation.

use crate::record::roofline::{Bandwidth, Rate, Region, Roofline};
use crate::table::Table;
use crate::units::{self, NONE, grouped};

/// What was measured once or several times.
struct Row {
    /// Operation, size, type and threads.
    what: [String; 4],
    /// The median of each measurement, and the best sample of all.
    medians: Vec<f64>,
    best: f64,
    better: fn(f64, f64) -> f64,
    show: fn(f64) -> String,
}

/// All measurements, in the order taken; those of the same operation and size share a line.
pub(super) fn table(rooflines: &[Roofline]) -> Table {
    let mut lines: Vec<Row> = Vec::new();
    for roofline in rooflines {
        let rates = roofline.rates.iter().map(of_rate);
        let bandwidths = roofline.bandwidths.iter().map(of_bandwidth);
        for line in rates.chain(bandwidths).chain(roofline.regions.iter().map(of_region)) {
            match lines.iter_mut().find(|known| known.what == line.what) {
                Some(known) => {
                    known.medians.extend(line.medians);
                    known.best = (known.better)(known.best, line.best);
                }
                None => lines.push(line),
            }
        }
    }
    Table::new("ceiling | >size | type | >threads | >median | >fastest", lines.into_iter().map(Row::cells))
}

impl Row {
    fn cells(self) -> Vec<String> {
        let Self { what, medians, best, show, .. } = self;
        let [low, high] = [f64::min, f64::max].map(|end| show(medians.iter().copied().reduce(end).unwrap_or(best)));
        let medians = if low == high { low } else { format!("{low} – {high}") };
        what.into_iter().chain([medians, show(best)]).collect()
    }
}

fn of_rate(rate: &Rate) -> Row {
    let size = match rate.batch {
        Some(batch) => format!("D = {}, N = {}", grouped(rate.dim), grouped(batch)),
        None => format!("D = {}", grouped(rate.dim)),
    };
    Row {
        what: [rate.operation.description().into(), size, rate.math.to_string(), rate.threads.to_string()],
        medians: vec![rate.flops_per_second],
        best: rate.best_flops_per_second(),
        better: f64::max,
        show: units::gflops,
    }
}

fn of_bandwidth(bandwidth: &Bandwidth) -> Row {
    let size = units::bytes(bandwidth.array_bytes);
    Row {
        what: [bandwidth.stream.description().into(), size, NONE.into(), bandwidth.threads.to_string()],
        medians: vec![bandwidth.bytes_per_second],
        best: bandwidth.best_bytes_per_second(),
        better: f64::max,
        show: units::gigabytes_per_second,
    }
}

fn of_region(region: &Region) -> Row {
    let fastest = region.seconds.iter().copied().reduce(f64::min);
    Row {
        what: ["empty parallel region".into(), NONE.into(), NONE.into(), region.threads.to_string()],
        medians: vec![region.median_seconds],
        best: fastest.unwrap_or(region.median_seconds),
        better: f64::min,
        show: units::seconds,
    }
}
