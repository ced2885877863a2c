//! From the axes of a sweep to its cells: what they are, what they cost, in which order they run.

pub(crate) mod dims;
pub(crate) mod forecast;
pub(crate) mod grids;
pub(crate) mod order;
pub(crate) mod preview;
pub(crate) mod schedule;

use relgrad_reports::record::{Cell, Convolution, Model};
use relgrad_reports::run::Settings;

use crate::workload::{DeviceKind, Workload};

/// A cell with what the cost model says of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// What to measure.
    pub(crate) cell: Cell,
    /// Operations and lower bounds of one evaluation.
    pub(crate) model: Model,
    /// Resident bytes that our implementation takes, from its own buffer sizes.
    pub(crate) expected_bytes: f64,
}

/// The cells of a sweep with their costs, in the order of [`cells`].
///
/// # Errors
/// Names the setting that no network or method fits.
pub(crate) fn plan(settings: &Settings) -> relgrad_kernels::Result<Vec<Planned>> {
    let plan = |cell: Cell| {
        let cost = Workload::of(&cell)?.cost(cell.batch)?;
        let model =
            Model { flops: cost.flops, min_bytes: cost.min_bytes, min_traffic_bytes: cost.min_traffic_bytes };
        Ok(Planned { cell, model, expected_bytes: cost.expected_bytes })
    };
    cells(settings).into_iter().map(plan).collect()
}

/// The cells of a sweep: every point once a round, each round shuffled from the seed.
pub(crate) fn cells(settings: &Settings) -> Vec<Cell> {
    let mut cells = Vec::new();
    for round in 0..settings.rounds {
        let mut this_round = Vec::new();
        for device in &settings.devices {
            for method in &settings.methods {
                for (dim, convolution, batch, layers) in points(settings) {
                    this_round.push(Cell {
                        method: method.clone(),
                        device: device.clone(),
                        dim,
                        batch,
                        layers,
                        dtype: settings.dtype.clone(),
                        math: math(settings, device),
                        threads: settings.threads,
                        bias: settings.bias,
                        activation: settings.activation.clone(),
                        seed: settings.seed,
                        round,
                        convolution,
                    });
                }
            }
        }
        order::shuffle(&mut this_round, settings.seed, round);
        cells.extend(this_round);
    }
    cells
}

/// Every D with every N and every L.
fn points(settings: &Settings) -> Vec<(usize, Option<Convolution>, usize, usize)> {
    let mut points = Vec::new();
    for (dim, convolution) in axis(settings) {
        for batch in settings.batches() {
            points.extend(settings.layer_counts().map(|layers| (dim, convolution, batch, layers)));
        }
    }
    points
}

/// Every D of a sweep with the convolution that has it, if layers are convolutions.
fn axis(settings: &Settings) -> Vec<(usize, Option<Convolution>)> {
    let Some(convolution) = &settings.convolution else {
        return settings.dims.iter().map(|&dim| (dim, None)).collect();
    };
    let channels = convolution.channels;
    let of = |&grid: &[usize; 2]| Convolution { channels, grid, kernel: convolution.kernel.unwrap_or(grid) };
    convolution.grids.iter().map(of).map(|c| (c.channels * c.grid[0] * c.grid[1], Some(c))).collect()
}

/// The arithmetic of a device's products, where it is not that of the numbers: a CPU knows no other.
fn math(settings: &Settings, device: &str) -> Option<String> {
    settings.math.clone().filter(|math| device == DeviceKind::Cuda.name() && *math != settings.dtype)
}

/// Cells, costs and records for tests of the plan, from formulas that stand beside nothing real.
#[cfg(test)]
pub(crate) mod testing {
    use relgrad_reports::record::{Outcome, Record, SCHEMA_VERSION};

    use super::*;

    /// A cell of L = 2, N = 100 with the leading terms of MATH.md §15.
    pub(crate) fn planned(method: &str, dim: usize, round: usize) -> Planned {
        let (d, n) = (dim as f64, 100.0);
        let (flops, bytes) = match method {
            "relative" => (14.0 * n * d * d, 16.0 * d * d + 20.0 * n * d),
            "ordinary" => (10.0 * n * d * d + 4.0 * d * d * d, 16.0 * d * d + 20.0 * n * d),
            _ => (8.0 * n * d * d * d, 16.0 * d * d + 16.0 * n * d * d),
        };
        let cell = Cell {
            method: method.to_string(),
            device: "cpu".to_string(),
            dim,
            batch: 100,
            layers: 2,
            dtype: "f32".to_string(),
            math: None,
            threads: 2,
            bias: false,
            activation: "smooth:0.3".to_string(),
            seed: 0,
            round,
            convolution: None,
        };
        Planned {
            cell,
            model: Model { flops, min_bytes: bytes, min_traffic_bytes: bytes },
            expected_bytes: bytes,
        }
    }

    /// A record of five samples of `seconds` each, out of a process of `wall_seconds`.
    pub(crate) fn measured(planned: &Planned, seconds: f64, wall_seconds: f64) -> Record {
        Record {
            outcome: Outcome::Measured,
            seconds: vec![seconds; 5],
            warmup_seconds: vec![seconds],
            peak_bytes: Some(planned.expected_bytes as u64),
            ..blank(planned, wall_seconds)
        }
    }

    /// A record of a process that ended without a measurement after `wall_seconds`.
    pub(crate) fn failed(planned: &Planned, wall_seconds: f64) -> Record {
        let reason = Some("timed out".to_string());
        Record { outcome: Outcome::Failed, reason, ..blank(planned, wall_seconds) }
    }

    fn blank(planned: &Planned, wall_seconds: f64) -> Record {
        Record {
            schema: SCHEMA_VERSION,
            cell: planned.cell.clone(),
            outcome: Outcome::Skipped,
            reason: None,
            seconds: Vec::new(),
            evaluations_per_sample: 1,
            warmup_seconds: Vec::new(),
            peak_bytes: None,
            memory_trace: Vec::new(),
            model: planned.model,
            prediction: None,
            check: None,
            gpu: None,
            wall_seconds,
            started_unix_seconds: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            dims: vec![10, 20, 50],
            methods: vec!["relative".to_string(), "ordinary".to_string()],
            devices: vec!["cpu".to_string()],
            batch: 100,
            other_batches: Vec::new(),
            layers: 2,
            other_layers: Vec::new(),
            dtype: "f32".to_string(),
            bias: false,
            activation: "smooth:0.3".to_string(),
            threads: 2,
            seed: 3,
            rounds: 2,
            min_samples: 5,
            budget_seconds: None,
            cell_limit_seconds: None,
            memory_limit_bytes: 1 << 30,
            convolution: None,
            device_memory_limit_bytes: None,
            math: None,
        }
    }

    #[test]
    fn grids_are_the_axis_of_a_sweep_over_convolutions() {
        let grids = vec![[1, 10], [4, 4], [1, 50]];
        let convolution = relgrad_reports::run::Convolution { channels: 3, kernel: None, grids };
        let settings =
            Settings { dims: vec![30, 48, 150], convolution: Some(convolution), rounds: 1, ..settings() };
        let mut plan = plan(&settings).expect("a valid plan");
        plan.sort_by_key(|planned| (planned.cell.method.clone(), planned.cell.dim));
        let dims: Vec<usize> = plan.iter().map(|planned| planned.cell.dim).collect();
        assert_eq!(dims, [30, 48, 150, 30, 48, 150]);
        let square = plan[1].cell.convolution.expect("a convolution");
        assert_eq!((square.grid, square.kernel), ([4, 4], [4, 4]));
        // The determinants of 3×3 matrices cost far less than the products with 100 samples that both share.
        let [ordinary, relative] = [plan[2].model.flops, plan[5].model.flops];
        assert!(ordinary < 1.2 * relative && relative < 1.2 * ordinary, "{ordinary:e} {relative:e}");

        let transposed = Settings { methods: vec!["transposed".to_string()], ..settings.clone() };
        assert!(super::plan(&transposed).unwrap_err().to_string().contains("transposed"));
        let mut small = settings;
        small.convolution.as_mut().expect("a convolution").kernel = Some([1, 3]);
        assert!(super::plan(&small).unwrap_err().to_string().contains("ordinary gradient"));
    }

    #[test]
    fn only_a_gpu_has_another_arithmetic_than_the_numbers() {
        let devices = vec!["cpu".to_string(), "cuda".to_string()];
        for (math, on_cuda) in [("tf32", Some("tf32")), ("f32", None)] {
            let settings = Settings { devices: devices.clone(), math: Some(math.to_string()), ..settings() };
            for cell in cells(&settings) {
                let expected = if cell.device == "cuda" { on_cuda } else { None };
                assert_eq!(cell.math.as_deref(), expected, "{cell:?}");
            }
        }
    }

    #[test]
    fn a_gpu_takes_more_jacobians_at_a_time_and_is_expected_to() {
        let settings = Settings {
            devices: vec!["cpu".to_string(), "cuda".to_string()],
            methods: vec!["autodiff-streamed".to_string()],
            dims: vec![1000],
            ..settings()
        };
        let bytes = |device: &str| {
            let plan = plan(&settings).expect("good settings");
            plan.into_iter().find(|planned| planned.cell.device == device).expect("a cell").expected_bytes
        };
        // 32 Jacobians of 4 MB in each of three panels instead of two.
        assert!(bytes("cuda") - bytes("cpu") > 300e6, "{} {}", bytes("cuda"), bytes("cpu"));
    }

    #[test]
    fn every_point_stands_once_in_every_round_and_rounds_differ_in_order() {
        let cells = cells(&settings());
        assert_eq!(cells.len(), 2 * 3 * 2);
        assert!(cells[..6].iter().all(|cell| cell.round == 0));
        assert_eq!(cells.iter().collect::<std::collections::HashSet<_>>().len(), 12);
        let points =
            |round: &[Cell]| round.iter().map(|cell| (cell.method.clone(), cell.dim)).collect::<Vec<_>>();
        assert_ne!(points(&cells[..6]), points(&cells[6..]));
    }

    #[test]
    fn every_batch_size_meets_every_number_of_layers() {
        let settings = Settings { other_batches: vec![10, 1000], other_layers: vec![8], ..settings() };
        let cells = cells(&settings);
        assert_eq!(cells.len(), 2 * 3 * 2 * 3 * 2);
        let at = |cell: &&Cell| cell.method == "ordinary" && cell.dim == 20 && cell.round == 1;
        let mut points: Vec<_> = cells.iter().filter(at).map(|cell| (cell.batch, cell.layers)).collect();
        points.sort_unstable();
        assert_eq!(points, [(10, 2), (10, 8), (100, 2), (100, 8), (1000, 2), (1000, 8)]);
    }

    #[test]
    fn the_same_settings_give_the_same_order() {
        assert_eq!(cells(&settings()), cells(&settings()));
    }
}
