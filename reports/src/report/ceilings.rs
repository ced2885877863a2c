//! The measured ceilings of a machine as a table, one line a measurement.

use crate::record::roofline::{Bandwidth, Rate, Region, Roofline};
use crate::table::Table;
use crate::units::{self, NONE, grouped};

/// Every measurement of `roofline`, in the order taken.
pub(super) fn table(roofline: &Roofline) -> Table {
    let rates = roofline.rates.iter().map(of_rate);
    let bandwidths = roofline.bandwidths.iter().map(of_bandwidth);
    let regions = roofline.regions.iter().map(of_region);
    Table::new("ceiling | >size | type | >threads | >median | >fastest", rates.chain(bandwidths).chain(regions))
}

fn of_rate(rate: &Rate) -> Vec<String> {
    let size = match rate.batch {
        Some(batch) => format!("D = {}, N = {}", grouped(rate.dim), grouped(batch)),
        None => format!("D = {}", grouped(rate.dim)),
    };
    vec![
        rate.operation.description().into(),
        size,
        rate.math.to_string(),
        rate.threads.to_string(),
        units::gflops(rate.flops_per_second),
        units::gflops(rate.best_flops_per_second()),
    ]
}

fn of_bandwidth(bandwidth: &Bandwidth) -> Vec<String> {
    vec![
        bandwidth.stream.description().into(),
        units::bytes(bandwidth.array_bytes),
        NONE.into(),
        bandwidth.threads.to_string(),
        units::gigabytes_per_second(bandwidth.bytes_per_second),
        units::gigabytes_per_second(bandwidth.best_bytes_per_second()),
    ]
}

fn of_region(region: &Region) -> Vec<String> {
    let fastest = region.seconds.iter().copied().reduce(f64::min);
    vec![
        "empty parallel region".into(),
        NONE.into(),
        NONE.into(),
        region.threads.to_string(),
        units::seconds(region.median_seconds),
        fastest.map_or(NONE.into(), units::seconds),
    ]
}
