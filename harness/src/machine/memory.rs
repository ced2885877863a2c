//! Memory for what comes next, asked for before it is taken: an allocation that fails inside a library ends the
//! program.

use relgrad_reports::units;

use crate::error::{Error, Result};

/// Bytes of addresses that packing operands and a heap of its own reserve for each thread that multiplies; few are
/// touched.
pub(crate) const BYTES_A_THREAD: f64 = 64.0 * 1024.0 * 1024.0;

/// Fails where `what` needs more bytes than are available, or together with those that are only reserved more than the
/// system gives this process (`ulimit -v`).
pub(crate) fn require(what: &str, bytes: f64, reserved: f64, advice: &str) -> Result<()> {
    let available = super::available_bytes() as f64;
    let mut demand = bytes;
    let there_is = if available > 0.0 && bytes > available {
        format!("{} is available", units::bytes(available))
    } else if Vec::<u8>::new().try_reserve_exact((bytes + reserved) as usize).is_err() {
        demand += reserved;
        "the system refuses this process so much (ulimit -v)".to_string()
    } else {
        // A system that does not tell what is available leaves it to the trial.
        return Ok(());
    };
    Err(Error::Usage(format!("{what} needs about {} of memory; {there_is}: {advice}", units::bytes(demand))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_amounts() {
        require("nothing", 0.0, 0.0, "").unwrap();
        for (bytes, reserved) in [(1e18, 0.0), (1.0, f64::MAX)] {
            let told = require("this", bytes, reserved, "ask for less").unwrap_err().to_string();
            assert!(told.starts_with("this needs about") && told.ends_with("ask for less"), "{told}");
        }
    }
}
