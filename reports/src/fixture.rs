//! Synthetic studies for tests: deterministic, and shaped like what a real sweep leaves.
//!
//! Times follow the cost model at a constant rate plus a constant overhead, with a factor per process and a smaller one
//! per sample. Not a measurement of anything.

use crate::method::{AUTODIFF, ORDINARY, RELATIVE};
use crate::random::Random;
use crate::record::{Cell, Check, MemoryPoint, Model, Outcome, Prediction, Record, SCHEMA_VERSION};
use crate::run::{Machine, Run, Settings};
use crate::study::Study;

const BATCH: usize = 100;
const LAYERS: usize = 2;
const ROUNDS: usize = 3;
const DIMS: [usize; 8] = [10, 32, 100, 320, 1000, 3200, 10_000, 20_000];
const CELL_LIMIT_SECONDS: f64 = 60.0;
const MEMORY_LIMIT_BYTES: u64 = 16 << 30;

/// A CPU sweep of three methods over eight dimensions from 10 to 20,000 in three rounds.
///
/// `relative` reaches the end, `ordinary` is skipped at 20,000 for its time, `autodiff` fails at 1,000 (out of memory)
/// and is skipped beyond. Measured cells of round 0 carry a memory trace.
pub fn study() -> Study {
    sweep(&["cpu"])
}

/// The same sweep on two devices, `cpu` and a faster `cuda`.
pub fn study_with_gpu() -> Study {
    sweep(&["cpu", "cuda"])
}

/// A study of one method whose time is exactly `scale`·Dᵖ with p = `exponent`, times log-normal noise.
pub fn power_law(plan: &PowerLaw) -> Study {
    let mut random = Random::new(plan.seed);
    let mut study = Study { run: run(&["cpu"]), records: Vec::new(), warnings: Vec::new() };
    study.run.settings.dims = plan.dims.clone();
    study.run.settings.methods = vec![RELATIVE.into()];
    study.run.settings.rounds = plan.rounds;
    for round in 0..plan.rounds {
        for &dim in &plan.dims {
            let mut record = blank(RELATIVE, "cpu", dim, round);
            record.outcome = Outcome::Measured;
            let of_process = plan.scale
                * (dim as f64).powf(plan.exponent)
                * (plan.between_processes * random.normal()).exp();
            record.seconds = (0..plan.samples)
                .map(|_| of_process * (plan.within_process * random.normal()).exp())
                .collect();
            study.records.push(record);
        }
    }
    study
}

/// What [`power_law`] plants.
#[derive(Debug, Clone)]
pub struct PowerLaw {
    /// Dimensions, ascending.
    pub dims: Vec<usize>,
    /// The planted exponent.
    pub exponent: f64,
    /// Seconds at D = 1.
    pub scale: f64,
    /// Processes per dimension.
    pub rounds: usize,
    /// Samples per process.
    pub samples: usize,
    /// Standard deviation of the logarithm of a process's own factor.
    pub between_processes: f64,
    /// Standard deviation of the logarithm of a sample's own factor.
    pub within_process: f64,
    /// Seed of the noise.
    pub seed: u64,
}

fn sweep(devices: &[&str]) -> Study {
    let mut random = Random::new(20_200_612);
    let mut records = Vec::new();
    for round in 0..ROUNDS {
        for &device in devices {
            for dim in DIMS {
                for method in [RELATIVE, ORDINARY, AUTODIFF] {
                    records.push(record(method, device, dim, round, &mut random));
                }
            }
        }
    }
    Study { run: run(devices), records, warnings: Vec::new() }
}

fn record(method: &str, device: &str, dim: usize, round: usize, random: &mut Random) -> Record {
    let mut record = blank(method, device, dim, round);
    let expected = expected_seconds(method, device, record.model.flops);
    record.prediction =
        Some(Prediction { seconds: 1.1 * expected, peak_bytes: 1.05 * record.model.min_bytes });
    if method == AUTODIFF && dim == 1000 {
        record.outcome = Outcome::Failed;
        record.reason = Some("killed: out of memory".into());
        return record;
    }
    if 6.0 * expected > CELL_LIMIT_SECONDS || record.model.min_bytes > MEMORY_LIMIT_BYTES as f64 {
        record.reason = Some(if record.model.min_bytes > MEMORY_LIMIT_BYTES as f64 {
            "predicted memory is over --mem-limit".into()
        } else {
            "predicted time of 5 samples is over --cell-limit".into()
        });
        return record;
    }
    measure(&mut record, expected, random);
    record
}

/// Turns a blank record into a measured one whose true time is `expected` seconds.
fn measure(record: &mut Record, expected: f64, random: &mut Random) {
    let of_process = expected * (0.012 * random.normal()).exp();
    let samples = if expected < 1.0 { 15 } else { 6 };
    record.outcome = Outcome::Measured;
    record.seconds = (0..samples).map(|_| of_process * (0.008 * random.normal()).exp()).collect();
    record.evaluations_per_sample = if expected < 1e-4 { 64 } else { 1 };
    record.warmup_seconds = vec![3.0 * of_process, 1.1 * of_process];
    let peak = 1.08 * record.model.min_bytes + 400e3 + 20e3 * random.uniform();
    record.peak_bytes = Some(peak as u64);
    record.check = Some(Check {
        kind: if record.cell.dim <= 320 { "reference" } else { "directional-derivative" }.into(),
        max_rel_err: 1e-6 * (record.cell.dim as f64).sqrt() * (1.0 + random.uniform()),
        tolerance: 1e-2,
    });
    record.wall_seconds = of_process * (samples as f64 + 4.0) + 0.05;
    if record.cell.round == 0 {
        record.memory_trace = trace(peak, 3.0 * of_process);
    }
}

/// Parameters first, then the working memory of the forward and of the backward pass, flat until the end.
fn trace(peak: f64, seconds: f64) -> Vec<MemoryPoint> {
    const POINTS: usize = 60;
    (0..=POINTS)
        .map(|i| {
            let t = i as f64 / POINTS as f64;
            let share = (t / 0.1).min(1.0) * 0.3
                + ((t - 0.1) / 0.3).clamp(0.0, 1.0) * 0.4
                + ((t - 0.5) / 0.2).clamp(0.0, 1.0) * 0.3;
            MemoryPoint { seconds: t * seconds, bytes: share * peak }
        })
        .collect()
}

fn blank(method: &str, device: &str, dim: usize, round: usize) -> Record {
    Record {
        schema: SCHEMA_VERSION,
        cell: Cell {
            method: method.into(),
            device: device.into(),
            dim,
            batch: BATCH,
            layers: LAYERS,
            dtype: "f32".into(),
            math: None,
            threads: 2,
            bias: false,
            activation: "smooth-leaky:0.3".into(),
            seed: 1,
            round,
        },
        outcome: Outcome::Skipped,
        reason: None,
        seconds: Vec::new(),
        evaluations_per_sample: 1,
        warmup_seconds: Vec::new(),
        peak_bytes: None,
        memory_trace: Vec::new(),
        model: model(method, dim),
        prediction: None,
        check: None,
        gpu: None,
        wall_seconds: 0.0,
        started_unix_seconds: 1_767_225_600.0,
    }
}

/// Leading terms of MATH.md, section 15, for f32.
fn model(method: &str, dim: usize) -> Model {
    let (d, n, l, w) = (dim as f64, BATCH as f64, LAYERS as f64, 4.0);
    let parameters = l * d * d * w;
    let columns = (l + 3.0) * n * d * w;
    let (flops, min_bytes) = match method {
        ORDINARY => ((3.0 * l - 1.0) * 2.0 * n * d * d + 2.0 * l * d * d * d, 2.0 * parameters + columns),
        AUTODIFF => (n * (6.0 * l - 4.0) * d * d * d, 2.0 * parameters + n * l * d * d * w),
        _ => ((4.0 * l - 1.0) * 2.0 * n * d * d, 2.0 * parameters + columns),
    };
    Model { flops, min_bytes, min_traffic_bytes: 2.0 * parameters }
}

fn expected_seconds(method: &str, device: &str, flops: f64) -> f64 {
    let (overhead, speed) = if device == "cuda" { (60e-6, 40.0) } else { (8e-6, 1.0) };
    let rate = match method {
        ORDINARY => 70e9,
        AUTODIFF => 25e9,
        _ => 90e9,
    };
    overhead + flops / (rate * speed)
}

fn run(devices: &[&str]) -> Run {
    Run {
        schema: SCHEMA_VERSION,
        command: ["relgrad", "sweep", "--dims", "10:20000", "--rounds", "3"].map(String::from).into(),
        version: "0.1.0".into(),
        git_revision: Some("0123456789ab".into()),
        rustc: "rustc 1.95.0".into(),
        started: "2026-01-01T00:00:00Z".into(),
        ended: Some("2026-01-01T00:09:41Z".into()),
        settings: Settings {
            dims: DIMS.into(),
            methods: [RELATIVE, ORDINARY, AUTODIFF].map(String::from).into(),
            devices: devices.iter().map(|&d| d.into()).collect(),
            batch: BATCH,
            layers: LAYERS,
            dtype: "f32".into(),
            bias: false,
            activation: "smooth-leaky:0.3".into(),
            threads: 2,
            seed: 1,
            rounds: ROUNDS,
            min_samples: 5,
            budget_seconds: Some(600.0),
            cell_limit_seconds: Some(CELL_LIMIT_SECONDS),
            memory_limit_bytes: MEMORY_LIMIT_BYTES,
            device_memory_limit_bytes: None,
            math: None,
        },
        machine: Machine {
            cpu: "Example CPU @ 2.60GHz".into(),
            physical_cores: Some(1),
            logical_cores: 2,
            caches: vec!["L1d 48K".into(), "L2 2048K".into(), "L3 105M shared".into()],
            simd: "avx512".into(),
            memory_bytes: 32 << 30,
            available_bytes: 29 << 30,
            governor: None,
            frequency_mhz: Some(2600.0),
            load_average: Some(0.1),
            huge_pages: Some("madvise".into()),
            virtualization: "container".into(),
            os: "Debian GNU/Linux 13, Linux 6.12".into(),
            gpus: if devices.contains(&"cuda") { vec!["Example GPU, 80 GiB".into()] } else { vec![] },
        },
    }
}
