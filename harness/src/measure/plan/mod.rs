//! From the axes of a sweep to its cells: what they are, what they cost, in which order they run.

mod again;
mod agenda;
pub(crate) mod dims;
pub(crate) mod forecast;
pub(crate) mod grids;
pub(crate) mod limits;
pub(crate) mod order;
pub(crate) mod preview;
pub(crate) mod schedule;
pub(crate) mod shards;

use relgrad_kernels::{Cost, Math};
use relgrad_reports::record::{Cell, Convolution, Held, Model, Point};
use relgrad_reports::run::Settings;
use relgrad_reports::units::grouped;

use crate::measure::workload::{DeviceKind, Task};

/// A cell with what the cost model says of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    pub(crate) cell: Cell,
    /// Operations and lower bounds of one evaluation.
    pub(crate) model: Model,
    /// Resident bytes that our implementation takes, from its own buffer sizes.
    pub(crate) expected_bytes: f64,
}

impl Planned {
    /// A cell with its cost.
    pub(crate) fn of(cell: Cell) -> relgrad_kernels::Result<Self> {
        let Cost { flops, min_bytes, min_traffic_bytes, expected_bytes } = Task::of(&cell)?.cost()?;
        Ok(Self { cell, model: Model { flops, min_bytes, min_traffic_bytes }, expected_bytes })
    }
}

/// The cells of a sweep: every point once a round, each round shuffled from the seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The points, as cells of the first round.
    points: Vec<Planned>,
    /// Places of the points by their cells, for finding one.
    by_cell: Vec<u32>,
    /// Places of the points as the rounds visit them, round after round.
    order: Vec<u32>,
}

impl Plan {
    /// The cells of these settings.
    pub(crate) fn of(settings: &Settings) -> Result<Self, String> {
        Self::new(plan(settings)?, settings.rounds, settings.seed)
    }

    /// `points`, which are cells of the first round, in `rounds` rounds.
    pub(crate) fn new(points: Vec<Planned>, rounds: usize, seed: u64) -> Result<Self, String> {
        let places = 0..u32::try_from(points.len()).map_err(|_| "too many points".to_string())?;
        let cell = |place: u32| &points[place as usize].cell;
        let mut by_cell: Vec<u32> = places.clone().collect();
        by_cell.sort_unstable_by(|&a, &b| cell(a).cmp(cell(b)));
        if let Some([twice, _]) = by_cell.array_windows().find(|[a, b]| cell(*a) == cell(*b)) {
            let Cell { method, point: Point { dim, batch, layers, .. }, .. } = cell(*twice);
            let (dim, batch) = (grouped(*dim), grouped(*batch));
            return Err(format!("{method} at D = {dim}, N = {batch}, L = {layers} occurs twice in the plan"));
        }
        let order = |round| {
            let mut order: Vec<u32> = places.clone().collect();
            order::shuffle(&mut order, seed, round);
            order
        };
        Ok(Self { order: (0..rounds).flat_map(order).collect(), by_cell, points })
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn rounds(&self) -> usize {
        self.order.len().checked_div(self.points.len()).unwrap_or(0)
    }

    pub(crate) fn points(&self) -> &[Planned] {
        &self.points
    }

    /// The places of the points in the order of a round.
    pub(crate) fn round(&self, round: usize) -> &[u32] {
        let points = self.points.len();
        &self.order[round * points..(round + 1) * points]
    }

    /// The point of a cell, whatever its round.
    pub(crate) fn place_of(&self, cell: &Cell) -> Option<usize> {
        let wanted = Cell { round: 0, ..*cell };
        let found = self.by_cell.binary_search_by(|&place| self.points[place as usize].cell.cmp(&wanted));
        found.ok().map(|at| self.by_cell[at] as usize)
    }

    pub(crate) fn planned(&self, place: usize, round: usize) -> Planned {
        let mut planned = self.points[place].clone();
        planned.cell.round = round;
        planned
    }
}

/// The points of a sweep with their costs, as cells of the first round.
pub(crate) fn plan(settings: &Settings) -> Result<Vec<Planned>, String> {
    check_size(settings)?;
    let points = cells(settings).map(|cell| Planned::of(cell).map_err(|cause| cause.to_string()));
    let points = points.collect::<Result<Vec<_>, _>>()?;
    match settings.shard {
        Some(shard) => shards::part(points, shard),
        None => Ok(points),
    }
}

/// Counts the cells before there is memory for them.
fn check_size(settings: &Settings) -> Result<(), String> {
    match settings.cell_count() {
        Some(1..=Settings::MOST_CELLS) => Ok(()),
        Some(0) => Err("the plan has no cell: a list of its settings is empty".to_string()),
        _ => Err(format!(
            "the plan has more than {} cells: reduce the rounds or the values of an axis",
            Settings::MOST_CELLS
        )),
    }
}

/// The cells of the first round, in the order of the settings.
fn cells(settings: &Settings) -> impl Iterator<Item = Cell> {
    let points = points(settings);
    let pairs =
        settings.devices.iter().flat_map(|&device| settings.methods.iter().map(move |&method| (device, method)));
    pairs.flat_map(move |(device, method)| {
        points.clone().into_iter().map(move |(dim, convolution, held)| {
            let point = Point {
                device,
                dim,
                batch: held.batch,
                layers: held.layers,
                dtype: settings.dtype,
                math: math(settings, device),
                threads: held.threads,
                bias: settings.bias,
                activation: settings.activation,
                seed: settings.seed,
                convolution,
                update: settings.update,
                tuning: settings.tuning.of(method),
                ranks: held.ranks,
            };
            Cell { method: method.into(), point, round: 0 }
        })
    })
}

/// Every D with every N, every L, every number of threads and every number of ranks.
fn points(settings: &Settings) -> Vec<(usize, Option<Convolution>, Held)> {
    let mut points = Vec::new();
    for (dim, convolution) in axis(settings) {
        for batch in settings.batches() {
            for layers in settings.layer_counts() {
                for threads in settings.thread_counts() {
                    let of_ranks = |ranks| (dim, convolution, Held { batch, layers, threads, ranks });
                    points.extend(settings.rank_counts().map(of_ranks));
                }
            }
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
    let dim = |c: &Convolution| c.grid.iter().fold(c.channels, |product, &points| product.saturating_mul(points));
    convolution.grids.iter().map(of).map(|c| (dim(&c), Some(c))).collect()
}

/// The arithmetic of a device's products, where it is not that of the numbers.
fn math(settings: &Settings, device: DeviceKind) -> Option<Math> {
    Some(settings.arithmetic(device)).filter(|math| *math != Math::of(settings.dtype))
}

/// Cells, costs and records for tests of the plan, from formulas that stand beside nothing real.
#[cfg(test)]
pub(crate) mod testing {
    use relgrad_kernels::{Activation, Dtype, Method, Tuning};
    use relgrad_reports::record::{Outcome, Reason, Record};

    use super::*;

    /// A cell of L = 2, N = 100 with the leading terms of MATH.md §15.
    pub(crate) fn planned(method: Method, dim: usize, round: usize) -> Planned {
        let (d, n) = (dim as f64, 100.0);
        let (flops, bytes) = match method {
            Method::Relative => (14.0 * n * d * d, 16.0 * d * d + 20.0 * n * d),
            Method::Ordinary => (10.0 * n * d * d + 4.0 * d * d * d, 16.0 * d * d + 20.0 * n * d),
            _ => (8.0 * n * d * d * d, 16.0 * d * d + 16.0 * n * d * d),
        };
        let point = Point {
            device: DeviceKind::Cpu,
            dim,
            batch: 100,
            layers: 2,
            dtype: Dtype::F32,
            math: None,
            threads: 2,
            bias: false,
            activation: Activation::SmoothLeaky { alpha: 0.3 },
            seed: 0,
            convolution: None,
            update: None,
            tuning: Tuning::default(),
            ranks: 1,
        };
        let cell = Cell { method: method.into(), point, round };
        Planned { cell, model: Model { flops, min_bytes: bytes, min_traffic_bytes: bytes }, expected_bytes: bytes }
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
        let reason = Some(Reason::timed_out(wall_seconds));
        Record { outcome: Outcome::Failed, reason, ..blank(planned, wall_seconds) }
    }

    fn blank(planned: &Planned, wall_seconds: f64) -> Record {
        Record { wall_seconds, ..Record::blank(planned.cell, planned.model) }
    }
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::Method;

    use super::*;
    use crate::measure::default_settings;

    /// Every cell, in order.
    fn cells(settings: &Settings) -> Vec<Cell> {
        let plan = Plan::of(settings).expect("good settings");
        let round = |round| plan.round(round).iter().map(move |&place| (place, round));
        (0..plan.rounds()).flat_map(round).map(|(place, round)| plan.planned(place as usize, round).cell).collect()
    }

    fn settings() -> Settings {
        let methods = vec![Method::Relative, Method::Ordinary];
        Settings { dims: vec![10, 20, 50], methods, threads: 2, seed: 3, rounds: 2, ..default_settings() }
    }

    #[test]
    fn grids_are_the_axis_of_a_sweep_over_convolutions() {
        let grids = vec![[1, 10], [4, 4], [1, 50]];
        let convolution = relgrad_reports::run::Convolution { channels: 3, kernel: None, grids };
        let settings = Settings { dims: vec![30, 48, 150], convolution: Some(convolution), rounds: 1, ..settings() };
        let mut plan = plan(&settings).expect("a valid plan");
        plan.sort_by_key(|planned| (planned.cell.method, planned.cell.point.dim));
        let dims: Vec<usize> = plan.iter().map(|planned| planned.cell.point.dim).collect();
        assert_eq!(dims, [30, 48, 150, 30, 48, 150]);
        let square = plan[1].cell.point.convolution.expect("a convolution");
        assert_eq!((square.grid, square.kernel), ([4, 4], [4, 4]));
        // The determinants of 3×3 matrices cost far less than the products with 100 samples that both share.
        let [ordinary, relative] = [plan[2].model.flops, plan[5].model.flops];
        assert!(ordinary < 1.2 * relative && relative < 1.2 * ordinary, "{ordinary:e} {relative:e}");

        let (dense, any) = Method::ALL.into_iter().partition::<Vec<_>, _>(|method| method.needs_dense());
        assert!(super::plan(&Settings { methods: any, ..settings.clone() }).is_ok());
        for method in dense {
            let error = super::plan(&Settings { methods: vec![method], ..settings.clone() }).unwrap_err();
            assert!(error.contains("expected dense layers"), "{error}");
        }
        for method in [Method::Relative, Method::Transposed, Method::RelativeInPlace] {
            let mut window = Settings { methods: vec![method], ..settings.clone() };
            window.convolution.as_mut().expect("a convolution").kernel = Some([1, 3]);
            assert!(super::plan(&window).unwrap_err().contains("use `ordinary`"), "{method}");
        }
    }

    #[test]
    fn a_device_has_an_arithmetic_of_its_own_and_a_gpu_takes_more_jacobians_at_a_time() {
        let devices = DeviceKind::ALL.to_vec();
        let (tf32, bf16) = (Some(Math::Tf32), Some(Math::Bf16));
        for (math, on_cpu, on_cuda) in [(Math::Tf32, None, tf32), (Math::Bf16, bf16, None), (Math::F32, None, None)] {
            let settings = Settings { devices: devices.clone(), math: Some(math), ..settings() };
            for cell in cells(&settings) {
                let expected = if cell.point.device == DeviceKind::Cuda { on_cuda } else { on_cpu };
                assert_eq!(cell.point.math, expected, "{cell:?}");
            }
        }
        let methods = vec![Method::AutodiffStreamed];
        let streamed = plan(&Settings { devices, methods, dims: vec![1000], ..settings() }).expect("good settings");
        // 32 Jacobians of 4 MB in each of three panels instead of two.
        assert!(streamed[1].expected_bytes - streamed[0].expected_bytes > 300e6, "{streamed:?}");
    }

    #[test]
    fn every_point_stands_once_in_every_round_and_rounds_differ_in_order() {
        let other_batches = vec![10, 1000];
        let settings = Settings { other_batches, other_layers: vec![8], other_threads: vec![1], ..settings() };
        let cells = cells(&settings);
        let (first, second) = cells.split_at(2 * 3 * 3 * 2 * 2);
        assert_eq!(first.len(), second.len());
        assert!(first.iter().all(|cell| cell.round == 0) && second.iter().all(|cell| cell.round == 1));
        assert_eq!(cells.iter().collect::<std::collections::HashSet<_>>().len(), cells.len());
        let again = |cell: &Cell| Cell { round: 0, ..*cell };
        assert_ne!(first, second.iter().map(again).collect::<Vec<_>>());
        let at = |cell: &&Cell| cell.method == Method::Ordinary && cell.point.dim == 20;
        let mut points: Vec<_> = second.iter().filter(at).map(|cell| cell.point.held()).collect();
        points.sort_unstable();
        let held = |(batch, layers)| [1, 2].map(|threads| Held { batch, layers, threads, ranks: 1 });
        assert_eq!(points, [(10, 2), (10, 8), (100, 2), (100, 8), (1000, 2), (1000, 8)].map(held).concat());
        assert_eq!(cells, self::cells(&settings), "the same settings give the same order");
    }

    #[test]
    fn a_plan_that_is_too_large_is_refused_before_it_takes_memory() {
        for settings in [
            Settings { rounds: 1_000_000_000_000, ..settings() },
            Settings { rounds: usize::MAX, dims: vec![10; 3], ..settings() },
            Settings { dims: (1..300_000).collect(), ..settings() },
        ] {
            let told = Plan::of(&settings).map(|plan| plan.len()).unwrap_err();
            assert!(told.contains("more than 1000000 cells"), "{told}");
        }
        for settings in [
            Settings { devices: Vec::new(), ..settings() },
            Settings { dims: Vec::new(), ..settings() },
            Settings { rounds: 0, ..settings() },
        ] {
            assert!(Plan::of(&settings).map(|plan| plan.len()).unwrap_err().contains("no cell"));
        }
        let twice = Plan::of(&Settings { dims: vec![10, 10], ..settings() }).map(|plan| plan.len());
        assert!(twice.unwrap_err().contains("D = 10, N = 100, L = 2 occurs twice"));
    }

    #[test]
    fn costs_of_absurd_sizes_are_numbers() {
        let most = usize::MAX;
        let autodiff = vec![Method::Autodiff, Method::AutodiffStreamed];
        for settings in [
            Settings { batch: 1 << 63, layers: most, threads: most, seed: u64::MAX, ..settings() },
            Settings { batch: most, methods: autodiff, ..settings() },
        ] {
            for planned in plan(&settings).expect("sizes are not the plan's to refuse") {
                assert!(planned.model.flops > 1e20 && planned.expected_bytes > 1e18, "{planned:?}");
                let forecast = forecast::Calibration::default().forecast(&planned);
                assert!(forecast.evaluation_seconds > 1e10 && forecast.overhead_seconds.is_finite(), "{forecast:?}");
            }
        }
    }
}
