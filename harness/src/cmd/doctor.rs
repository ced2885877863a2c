//! `relgrad doctor`: the devices and libraries of this machine, and what is missing.

use std::fmt::Write;

use clap::Args;
use relgrad_kernels::device::cuda::{self, Found, Library};
use relgrad_reports::units;

use crate::error::{EXIT_CODES, Result};
use crate::machine::load::Watch;
use crate::machine::{self, gpu, mpi};
use crate::measure::run::quiet::LOOK;

/// Lists the devices that relgrad can use here, the libraries it finds, and what is missing
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {}

/// Prints what is there. A machine without a GPU is a healthy machine.
pub(crate) fn run(_arguments: &Arguments) -> Result<u8> {
    let mut text = String::new();
    host(&mut text);
    graphics(&mut text);
    ranks(&mut text);
    say_text!("{text}");
    Ok(0)
}

/// One fact a line, names and values in columns.
fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<25} {value}");
}

fn host(text: &mut String) {
    let facts = machine::facts();
    let _ = writeln!(text, "cpu");
    line(text, "model", &facts.cpu);
    line(text, "logical cores", &facts.logical_cores.to_string());
    line(text, "SIMD", &facts.simd);
    let (total, free) = (facts.memory_bytes as f64, facts.available_bytes as f64);
    line(text, "memory", &format!("{}, {} available", units::bytes(total), units::bytes(free)));
    line(text, "system", &format!("{}, {}", facts.os, facts.virtualization));
    state(text, facts.logical_cores);
}

/// The machine during a moment in which this program does nothing.
fn state(text: &mut String, threads: usize) {
    let watch = Watch::start();
    std::thread::sleep(LOOK);
    let state = watch.finish(threads);
    let share = |share: Option<f64>| match share {
        Some(share) => format!("{} of the cores' time", units::percent(share)),
        None => "not known on this system".to_string(),
    };
    line(text, "other programs", &share(state.foreign_share()));
    line(text, "other virtual machines", &share(state.stolen_share()));
    line(text, "clock", &format!("{:.2} GHz, by a loop of known length", state.lowest_hz() / 1e9));
    if let Some(seconds) = state.region_seconds {
        let threads = units::counted(threads, "thread");
        line(text, "empty parallel region", &format!("{} on {threads}", units::seconds(seconds)));
    }
    let verdict = match state.disturbance(threads) {
        None => "quiet".to_string(),
        Some(disturbance) => format!("disturbed: {disturbance}; see relgrad sweep --wait-quiet"),
    };
    line(text, "verdict", &verdict);
}

fn graphics(text: &mut String) {
    let _ = writeln!(text, "\ncuda");
    let ready = gpu::require();
    for library in Library::ALL {
        line(text, library.name(), &availability(library));
    }
    let nvml = gpu::driver_release().map_or_else(
        || "missing: no clocks, throttling and power in the records; it is part of the driver".to_string(),
        |release| format!("found, driver {release}"),
    );
    line(text, "NVML (libnvidia-ml)", &nvml);
    for (i, facts) in cuda::devices().unwrap_or_default().iter().enumerate() {
        line(text, &format!("GPU {i}"), &format!("{}, {}", gpu::hardware(facts), facts.uuid));
    }
    let verdict = match ready {
        Ok(()) => "ready: --device cuda uses GPU 0".to_string(),
        Err(error) => error.to_string(),
    };
    line(text, "verdict", &verdict);
}

/// What several ranks would talk by.
fn ranks(text: &mut String) {
    let _ = writeln!(text, "\nmpi");
    let library = mpi::found();
    let told = match &library {
        Ok(facts) => format!("found, {} ({})", facts.version, facts.path.display()),
        Err(missing) => missing.clone(),
    };
    line(text, "MPI (libmpi_abi)", &told);
    let launcher = mpi::mpiexec();
    let told = launcher.as_ref().map_or_else(|| "missing: it is not on PATH".to_string(), |p| p.display().to_string());
    line(text, "mpiexec", &told);
    let verdict = match (library, launcher) {
        (Ok(_), Some(_)) => "ready: sweep --ranks starts the ranks of a cell by mpiexec",
        _ => "none: the ranks of sweep --ranks are threads of one process",
    };
    line(text, "verdict", verdict);
}

fn availability(library: Library) -> String {
    match library.find() {
        Found::At(path) => {
            let version = cuda::version(library).map_or(String::new(), |version| format!(" {version}"));
            format!("found{version} ({})", path.display())
        }
        Found::Lacks { path, symbol } => {
            format!("too old ({} has no {symbol}): {}", path.display(), library.remedy())
        }
        Found::Missing => format!("missing: {}", library.remedy()),
    }
}
