//! A small sweep from Rust: how the time of a gradient grows with the data dimension D.
#![allow(clippy::print_stdout, reason = "it prints the exponents")]

use std::error::Error;
use std::process::ExitCode;

use relgrad_harness::measure::{Sweep, serve_child};
use relgrad_kernels::Method;
use relgrad_reports::summary::Summary;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // Every cell is measured in a new process of this program.
    if let Some(code) = serve_child() {
        return Ok(code);
    }
    let folder = std::env::temp_dir().join(format!("small-sweep-{}", std::process::id()));
    let mut sweep = Sweep::new(&[32, 64, 128, 256], &[Method::Relative, Method::Ordinary]);
    (sweep.settings.threads, sweep.settings.rounds) = (1, 2);
    let study = sweep.run(&folder)?;
    for series in Summary::of(&study).series {
        match series.fit.map(|fit| fit.exponent) {
            Some(e) => println!("{}: time ∝ D^{:.2} [{:.2}, {:.2}]", series.method, e.value, e.low, e.high),
            None => println!("{}: too few dimensions were measured", series.method),
        }
    }
    std::fs::remove_dir_all(folder)?;
    Ok(ExitCode::SUCCESS)
}
