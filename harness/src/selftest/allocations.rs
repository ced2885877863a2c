//! Allocations whose bytes are counted, in the memory meters that cells use.

use std::time::Duration;

use relgrad_reports::units;

use super::Row;
use crate::error::{Error, Result};
use crate::measure::cell::memory::{self, Tracer};

const TOLERANCE: f64 = 0.02;
/// The peak stands still so long that the trace, which reads every 20 µs at first, cannot miss it.
const PEAK_LASTS: Duration = Duration::from_millis(20);

/// For each size: two blocks, the second freed before a smaller third, so that the peak is not the end.
pub(crate) fn rows(mebibytes: &[usize]) -> Result<Vec<Row>> {
    let rows = mebibytes.iter().map(|size| measure(size << 20)).collect::<Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn measure(bytes: usize) -> Result<Vec<Row>> {
    let name = |meter: &str| format!("memory: {} MiB by the {meter}", bytes >> 20);
    if !memory::reset_high_water() {
        let found = "no meter on this system".to_string();
        return Ok(vec![Row { found, ..row(name("high-water mark"), bytes, None, true) }]);
    }
    let Some(before) = memory::resident() else { return Ok(Vec::new()) };
    let tracer = Tracer::start(before);

    let kept = touched(bytes - bytes / 4)?;
    let freed = touched(bytes / 4)?;
    std::thread::sleep(PEAK_LASTS);
    drop(freed);
    let last = touched(bytes / 8)?;
    let high = memory::high_water().map(|high| high.saturating_sub(before) as f64);
    let trace = tracer.map(Tracer::finish).unwrap_or_default();
    drop((kept, last));

    let peak = trace.iter().map(|point| point.bytes).reduce(f64::max);
    Ok(vec![row(name("high-water mark"), bytes, high, false), row(name("trace"), bytes, peak, false)])
}

fn row(what: String, bytes: usize, found: Option<f64>, passed: bool) -> Row {
    let error = found.map(|found| found / bytes as f64 - 1.0);
    Row {
        what,
        planted: format!("{bytes} B"),
        found: match (found, error) {
            (Some(found), Some(error)) => format!("{found:.0} B ({:+.2} %)", 100.0 * error),
            _ => "nothing".to_string(),
        },
        accepted: format!("± {} %", 100.0 * TOLERANCE),
        passed: passed || error.is_some_and(|error| error.abs() <= TOLERANCE),
    }
}

/// A block whose every page is resident.
fn touched(bytes: usize) -> Result<Vec<u8>> {
    let mut block = Vec::new();
    let refused =
        |_| Error::Output(format!("cannot allocate {} for the check of the meters", units::bytes(bytes as f64)));
    block.try_reserve_exact(bytes).map_err(refused)?;
    block.resize(bytes, 1_u8);
    Ok(std::hint::black_box(block))
}
