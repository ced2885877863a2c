//! Synthetic studies for tests: deterministic, and shaped like what a real sweep leaves.
//!
//! Times follow the cost model at a constant rate plus a constant overhead, with a factor per process and a smaller one
//! per sample. Not a measurement of anything.

mod extreme;

use std::path::Path;

pub use extreme::extreme;
use relgrad_vocabulary::{Activation, DeviceKind, Dtype, Math, Method, Subject, Tuning};

use crate::record::roofline::{Bandwidth, Operation, Rate, Region, Roofline, Stream};
use crate::record::run::{Machine, Run, Settings};
use crate::record::study::Study;
use crate::record::writer::write_study;
use crate::record::{
    Cell, Check, Exchanged, Gpu, GpuState, MemoryPoint, Model, Outcome, Point, Prediction, Record, SCHEMA_VERSION,
    State, TransportKind, error,
};
use crate::statistics::random::Random;

const METHODS: [Method; 3] = [Method::Relative, Method::Ordinary, Method::Autodiff];
const ACTIVATION: Activation = Activation::SmoothLeaky { alpha: 0.3 };
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
    sweep(&[DeviceKind::Cpu])
}

/// The same sweep on two devices, `cpu` and a faster `cuda`.
pub fn study_with_gpu() -> Study {
    sweep(&[DeviceKind::Cpu, DeviceKind::Cuda])
}

/// The sweep of [`study`] at three batch sizes: its own, 10 and 1000.
pub fn study_with_batches() -> Study {
    let mut study = study();
    study.run.settings.other_batches = vec![10, 1000];
    for batch in [10, 1000] {
        let mut random = Random::new(batch as u64);
        for round in 0..ROUNDS {
            for dim in DIMS {
                for method in METHODS {
                    let mut cell = cell(method, DeviceKind::Cpu, dim, round);
                    cell.point.batch = batch;
                    study.records.push(record(cell, &mut random));
                }
            }
        }
    }
    study
}

/// The sweep of [`study`] on 1, 2 and 4 threads of four cores, by Amdahl's law with a serial share of 5 % + 20/D.
pub fn study_with_threads() -> Study {
    let mut study = study();
    (study.run.settings.threads, study.run.settings.other_threads) = (1, vec![2, 4]);
    study.run.machine.logical_cores = 4;
    study.records.clear();
    for threads in [1, 2, 4] {
        let mut random = Random::new(threads as u64);
        for round in 0..ROUNDS {
            for dim in DIMS {
                for method in METHODS {
                    let mut cell = cell(method, DeviceKind::Cpu, dim, round);
                    cell.point.threads = threads;
                    let mut record = record(cell, &mut random);
                    let serial = (0.05 + 20.0 / dim as f64).min(1.0);
                    let law = serial + (1.0 - serial) / threads as f64;
                    record.seconds.iter_mut().for_each(|seconds| *seconds *= law);
                    study.records.push(record);
                }
            }
        }
    }
    study
}

/// The sweep of [`study`] of `relative` over 1, 2 and 4 ranks, which take 1/p of the time and 5 % of it for each rank.
pub fn study_with_ranks() -> Study {
    let mut study = study();
    study.run.settings.methods = vec![Method::Relative];
    study.run.settings.other_ranks = vec![2, 4];
    study.records.clear();
    for ranks in [1, 2, 4] {
        let mut random = Random::new(ranks as u64);
        for round in 0..ROUNDS {
            for dim in DIMS {
                let mut cell = cell(Method::Relative, DeviceKind::Cpu, dim, round);
                cell.point.ranks = ranks;
                let mut record = record(cell, &mut random);
                record.seconds.iter_mut().for_each(|seconds| *seconds *= 1.0 / ranks as f64 + 0.05 * ranks as f64);
                let received_bytes = (3 * LAYERS * BATCH * dim * (ranks - 1) * 4) as u64;
                let exchanged = Exchanged { transport: TransportKind::Mpi, received_bytes, collectives: 4 };
                record.exchanged = (ranks > 1).then_some(exchanged);
                study.records.push(record);
            }
        }
    }
    study
}

/// The sweep of [`study`] on a machine that others use: processes differ by a factor of two, and those of three cells
/// by factors of hundreds, so that their intervals have many decades.
pub fn noisy_study() -> Study {
    let (mut study, mut random) = (study(), Random::new(17));
    for record in &mut study.records {
        let (method, dim) = (record.cell.method, record.cell.point.dim);
        let is_wild = (dim == 10 && method == Method::Relative) || (dim == 320 && method != Method::Relative);
        let wild = [0.01, 1.0, 200.0][record.cell.round % 3];
        let factor = (0.5 * random.normal()).exp() * if is_wild { wild } else { 1.0 };
        record.seconds.iter_mut().for_each(|seconds| *seconds *= factor);
    }
    study
}

/// Leaves a study in a folder as a sweep does.
pub fn write(dir: &Path, study: &Study) -> error::Result<()> {
    std::fs::create_dir_all(dir).map_err(error::Error::io("make", dir))?;
    write_study(dir, study)
}

/// What a GPU at 1980 MHz may tell of a record.
pub fn gpu(record: &Record) -> Gpu {
    let state = GpuState { sm_mhz: Some(1980.0), ..GpuState::default() };
    Gpu {
        event_seconds: record.seconds.clone(),
        first_call_seconds: 0.3,
        graph: true,
        driver_bytes: 1 << 21,
        before: Some(state.clone()),
        after: Some(state),
    }
}

/// A quiet machine of two cores at 3 GHz, for a second.
pub fn state() -> State {
    State {
        seconds: 1.0,
        cores: 2,
        own_seconds: Some(1.9),
        foreign_seconds: Some(0.01),
        stolen_seconds: Some(0.0),
        waited_seconds: Some(0.001),
        voluntary_switches: Some(3),
        involuntary_switches: Some(4),
        clock_hz: [3e9, 3e9],
        region_seconds: Some(70e-9),
    }
}

/// A study of one method whose time is exactly `scale`·Dᵖ with p = `exponent`, times log-normal noise between processes
/// and within them.
pub fn power_law(
    dims: &[usize],
    (scale, exponent): (f64, f64),
    (rounds, samples): (usize, usize),
    (between, within): (f64, f64),
    seed: u64,
) -> Study {
    let law = |dim: f64| scale * dim.powf(exponent);
    let noise = Noise { rounds: 0.0, processes: between, samples: within, slow: 0.0 };
    planted(&Planted { methods: &[(Method::Relative, &law)], dims, rounds, samples, noise, seed })
}

/// A study whose methods take the planted times, times log-normal noise on every level.
pub fn planted(plan: &Planted<'_>) -> Study {
    let mut random = Random::new(plan.seed);
    let mut study =
        Study { run: run(&[DeviceKind::Cpu]), records: Vec::new(), replaced: Vec::new(), warnings: Vec::new() };
    study.run.settings.dims = plan.dims.to_vec();
    study.run.settings.methods = plan.methods.iter().map(|(method, _)| *method).collect();
    study.run.settings.rounds = plan.rounds;
    let Noise { rounds, processes, samples, slow } = plan.noise;
    for round in 0..plan.rounds {
        let of_round = (rounds * random.normal()).exp();
        for &dim in plan.dims {
            for (method, law) in plan.methods {
                let mut record = blank(cell(*method, DeviceKind::Cpu, dim, round));
                record.outcome = Outcome::Measured;
                let of_process = law(dim as f64) * of_round * (processes * random.normal()).exp();
                record.seconds = (0..plan.samples)
                    .map(|_| {
                        let held_up = slow > 0.0 && random.uniform() < slow;
                        of_process * (samples * random.normal()).exp() * if held_up { 2.0 } else { 1.0 }
                    })
                    .collect();
                study.records.push(record);
            }
        }
    }
    study
}

/// What [`planted`] plants.
pub struct Planted<'a> {
    /// Methods with their seconds as a function of D.
    pub methods: &'a [(Method, &'a dyn Fn(f64) -> f64)],
    /// Dimensions, ascending.
    pub dims: &'a [usize],
    /// Processes per cell.
    pub rounds: usize,
    /// Samples per process.
    pub samples: usize,
    /// The noise.
    pub noise: Noise,
    /// Its seed.
    pub seed: u64,
}

/// Standard deviations of the logarithm of a factor on each level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Shared by all cells of a round: a machine that is slower for a while.
    pub rounds: f64,
    /// Of a process.
    pub processes: f64,
    /// Of a sample.
    pub samples: f64,
    /// Share of samples that take twice as long: something else ran.
    pub slow: f64,
}

fn sweep(devices: &[DeviceKind]) -> Study {
    let mut random = Random::new(20_200_612);
    let mut records = Vec::new();
    for round in 0..ROUNDS {
        for &device in devices {
            for dim in DIMS {
                for method in METHODS {
                    records.push(record(cell(method, device, dim, round), &mut random));
                }
            }
        }
    }
    Study { run: run(devices), records, replaced: Vec::new(), warnings: Vec::new() }
}

fn record(cell: Cell, random: &mut Random) -> Record {
    let mut record = blank(cell);
    let Point { dim, device, .. } = cell.point;
    let expected = expected_seconds(cell.method, device, record.model.flops);
    record.prediction = Some(Prediction { seconds: 1.1 * expected, peak_bytes: 1.05 * record.model.min_bytes });
    if cell.method == Method::Autodiff && dim == 1000 {
        record.outcome = Outcome::Failed;
        record.reason = Some("killed: out of memory".into());
        return record;
    }
    if 6.0 * expected > CELL_LIMIT_SECONDS || record.model.min_bytes > MEMORY_LIMIT_BYTES as f64 {
        let is_large = record.model.min_bytes > MEMORY_LIMIT_BYTES as f64;
        let reasons = ["predicted time of 5 samples is over --cell-limit", "predicted memory is over --mem-limit"];
        record.reason = Some(reasons[usize::from(is_large)].into());
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
        kind: if record.cell.point.dim <= 320 { "reference" } else { "directional-derivative" }.into(),
        max_rel_err: 1e-6 * (record.cell.point.dim as f64).sqrt() * (1.0 + random.uniform()),
        tolerance: 1e-2,
    });
    record.wall_seconds = of_process * (samples as f64 + 4.0) + 0.05;
    if record.cell.round == 0 {
        record.memory_trace = trace(peak, 4.0 * of_process);
    }
}

/// Parameters first, then from a quarter on the working memory of the forward and of the backward pass, flat until the
/// end.
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

fn cell(method: Method, device: DeviceKind, dim: usize, round: usize) -> Cell {
    let point = Point {
        device,
        dim,
        batch: BATCH,
        layers: LAYERS,
        dtype: Dtype::F32,
        math: None,
        threads: 2,
        bias: false,
        activation: ACTIVATION,
        seed: 1,
        convolution: None,
        update: None,
        tuning: Tuning::default(),
        ranks: 1,
    };
    Cell { method: method.into(), point, round }
}

fn blank(cell: Cell) -> Record {
    let model = model(cell.method, cell.point.dim, cell.point.batch);
    Record { started_unix_seconds: 1_767_225_600.0, ..Record::blank(cell, model) }
}

/// Leading terms of MATH.md, section 15, for f32.
fn model(method: Subject, dim: usize, batch: usize) -> Model {
    let (d, n, l, w) = (dim as f64, batch as f64, LAYERS as f64, 4.0);
    let parameters = l * d * d * w;
    let columns = (l + 3.0) * n * d * w;
    let (flops, min_bytes) = match method.method() {
        Some(Method::Ordinary) => ((3.0 * l - 1.0) * 2.0 * n * d * d + 2.0 * l * d * d * d, 2.0 * parameters + columns),
        Some(Method::Autodiff) => (n * (6.0 * l - 4.0) * d * d * d, 2.0 * parameters + n * l * d * d * w),
        _ => ((4.0 * l - 1.0) * 2.0 * n * d * d, 2.0 * parameters + columns),
    };
    Model { flops, min_bytes, min_traffic_bytes: 2.0 * parameters }
}

/// Ceilings of the machine of [`study`]: in f32, on one thread and on two.
pub fn roofline() -> Roofline {
    let rate = |operation, threads, dim: usize, batch, flops: f64, flops_per_second: f64| Rate {
        operation,
        math: Math::F32,
        threads,
        dim,
        batch,
        flops,
        seconds: vec![flops / flops_per_second; 5],
        evaluations_per_sample: 1,
        flops_per_second,
    };
    let stream = |stream, threads, arrays: f64, bytes_per_second| {
        let array_bytes = 256.0 * 1024.0 * 1024.0;
        let bytes = arrays * array_bytes;
        let seconds = vec![bytes / bytes_per_second; 5];
        Bandwidth { stream, threads, array_bytes, bytes, seconds, evaluations_per_sample: 1, bytes_per_second }
    };
    let region = |threads, median_seconds| Region {
        threads,
        seconds: vec![median_seconds; 5],
        evaluations_per_sample: 1000,
        median_seconds,
    };
    Roofline {
        device: DeviceKind::Cpu,
        quick: true,
        started: "2026-01-01T00:00:00Z".into(),
        wall_seconds: 4.0,
        rates: vec![
            rate(Operation::SquareProduct, 1, 1024, None, 2.147e9, 50e9),
            rate(Operation::SquareProduct, 2, 512, None, 2.684e8, 90e9),
            rate(Operation::SquareProduct, 2, 1024, None, 2.147e9, 100e9),
            rate(Operation::ForwardProduct, 2, 1000, Some(BATCH), 2e8, 95e9),
            rate(Operation::PullBackProduct, 2, 1000, Some(BATCH), 4e8, 97e9),
            rate(Operation::OuterProduct, 2, 1000, Some(BATCH), 2e8, 91e9),
            rate(Operation::Inverse, 2, 1000, None, 2e9, 70e9),
        ],
        bandwidths: vec![
            stream(Stream::Read, 1, 1.0, 20e9),
            stream(Stream::Read, 2, 1.0, 40e9),
            stream(Stream::Copy, 2, 2.0, 35e9),
        ],
        regions: vec![region(1, 20e-9), region(2, 1.5e-6)],
        state: None,
    }
}

fn expected_seconds(method: Subject, device: DeviceKind, flops: f64) -> f64 {
    let (overhead, speed) = if device == DeviceKind::Cuda { (60e-6, 40.0) } else { (8e-6, 1.0) };
    let rate = match method.method() {
        Some(Method::Ordinary) => 70e9,
        Some(Method::Autodiff) => 25e9,
        _ => 90e9,
    };
    overhead + flops / (rate * speed)
}

fn run(devices: &[DeviceKind]) -> Run {
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
            methods: METHODS.into(),
            devices: devices.into(),
            batch: BATCH,
            other_batches: Vec::new(),
            layers: LAYERS,
            other_layers: Vec::new(),
            dtype: Dtype::F32,
            bias: false,
            activation: ACTIVATION,
            threads: 2,
            other_threads: Vec::new(),
            ranks: 1,
            other_ranks: Vec::new(),
            seed: 1,
            rounds: ROUNDS,
            min_samples: 5,
            budget_seconds: Some(600.0),
            cell_limit_seconds: Some(CELL_LIMIT_SECONDS),
            memory_limit_bytes: MEMORY_LIMIT_BYTES,
            convolution: None,
            device_memory_limit_bytes: None,
            shard: None,
            math: None,
            update: None,
            tuning: Tuning::default(),
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
            gpus: if devices.contains(&DeviceKind::Cuda) { vec!["Example GPU, 80 GiB".into()] } else { vec![] },
        },
        rooflines: vec![roofline()],
        program: Some("4096 bytes, CRC-32 89abcdef".into()),
        changes: Vec::new(),
    }
}
