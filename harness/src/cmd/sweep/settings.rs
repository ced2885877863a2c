//! The settings of a sweep, from its command line.

use relgrad_kernels::{Dtype, Math};
use relgrad_reports::run::{Convolution, Settings};
use relgrad_reports::units;

use super::Arguments;
use crate::cmd::{distinct, require_known};
use crate::error::{Error, Result};
use crate::machine::{self, gpu, mpi};
use crate::measure::plan::dims::{Dims, MAX_DIM};
use crate::measure::plan::grids::Grids;
use crate::measure::plan::limits::Limit;
use crate::measure::workload::DeviceKind;
use crate::quantity::{MemoryLimit, TimeLimit};

/// Four a decade over the range of the paper.
const DEFAULT_DIMS: &str = "10:20000";
/// D = 40 to 20,000 with the default number of channels.
const DEFAULT_GRIDS: &str = "10:5000";
const DEFAULT_CHANNELS: usize = 4;
const DEFAULT_BUDGET: TimeLimit = TimeLimit(Some(600.0));
const DEFAULT_CELL_LIMIT: TimeLimit = TimeLimit(Some(60.0));
const DEFAULT_MEMORY: MemoryLimit = MemoryLimit::Share(0.8);

/// The settings with defaults filled in for this machine.
pub(super) fn settings(arguments: &Arguments) -> Result<Settings> {
    let (dtype, math) = arithmetic(arguments)?;
    // Without a GPU the sweep ends before the limit could matter.
    let on_gpu = arguments.device.contains(&DeviceKind::Cuda);
    let device_memory = on_gpu.then(|| gpu::memory_bytes().ok()).flatten();
    let (batch, other_batches) = first_and_others(&arguments.batch);
    let (layers, other_layers) = first_and_others(&arguments.layers);
    let all = [machine::logical_cores()];
    let (threads, other_threads) = first_and_others(arguments.threads.as_deref().unwrap_or(&all));
    let (ranks, other_ranks) =
        first_and_others(arguments.ranks.as_deref().unwrap_or(&[mpi::started_as().map_or(1, |(_, ranks)| ranks)]));
    let convolution = convolution(arguments)?;
    if convolution.is_some() && math.is_some() {
        return Err(Error::Usage("--coupling conv requires --device cpu and no --math".to_string()));
    }
    if let Some(method) = arguments.methods.iter().find(|method| on_gpu && method.needs_cpu()) {
        return Err(Error::Usage(format!("{method} requires --device cpu; on a GPU use relative-inplace")));
    }
    let dims = match (&convolution, &arguments.dims) {
        (Some(c), _) => {
            c.grids.iter().map(|[rows, cols]| c.channels.saturating_mul(*rows).saturating_mul(*cols)).collect()
        }
        (None, Some(dims)) => dims.0.clone(),
        (None, None) => DEFAULT_DIMS.parse::<Dims>().map_err(Error::Usage)?.0,
    };
    let mem_limit = arguments.mem_limit.unwrap_or(DEFAULT_MEMORY);
    let settings = Settings {
        dims,
        methods: distinct(arguments.methods.iter().copied()),
        devices: distinct(arguments.device.iter().copied()),
        batch,
        other_batches,
        layers,
        other_layers,
        dtype,
        bias: arguments.bias,
        activation: arguments.activation,
        threads,
        other_threads,
        ranks,
        other_ranks,
        seed: arguments.seed,
        rounds: arguments.rounds,
        min_samples: arguments.min_samples,
        budget_seconds: arguments.budget.unwrap_or(DEFAULT_BUDGET).0,
        cell_limit_seconds: arguments.cell_limit.unwrap_or(DEFAULT_CELL_LIMIT).0,
        memory_limit_bytes: mem_limit.resolve(machine::available_bytes()),
        convolution,
        device_memory_limit_bytes: device_memory.map(|bytes| mem_limit.resolve(bytes)),
        math,
        update: arguments.step,
        tuning: arguments.tune,
        shard: arguments.shard,
    };
    settings.validate().map_err(Error::Usage)?;
    Ok(settings)
}

/// The number type, and the arithmetic of products where a GPU will be measured or it is another than that of the
/// numbers.
fn arithmetic(arguments: &Arguments) -> Result<(Dtype, Option<Math>)> {
    let on_gpu = arguments.device.contains(&DeviceKind::Cuda);
    let Some(math) = arguments.math else {
        let dtype = arguments.dtype.unwrap_or(Dtype::F32);
        return Ok((dtype, on_gpu.then_some(Math::of(dtype))));
    };
    require_known(math, &arguments.device)?;
    match arguments.dtype {
        Some(dtype) if dtype != math.dtype() => {
            Err(Error::Usage(format!("--math {math} requires --dtype {}, not {dtype}", math.dtype())))
        }
        _ => Ok((math.dtype(), Some(math).filter(|math| on_gpu || *math != Math::of(math.dtype())))),
    }
}

/// The first of a list, which clap keeps from being empty, and the others, ascending and without repeats.
fn first_and_others(list: &[usize]) -> (usize, Vec<usize>) {
    let first = list.first().copied().unwrap_or(1);
    let mut others: Vec<usize> = list.iter().copied().filter(|value| *value != first).collect();
    others.sort_unstable();
    others.dedup();
    (first, others)
}

/// The grids, channels and kernels of `--coupling conv`.
fn convolution(arguments: &Arguments) -> Result<Option<Convolution>> {
    let Arguments { coupling, grids, channels, kernel, .. } = arguments;
    if coupling == "dense" {
        return match (grids, channels, kernel) {
            (None, None, None) => Ok(None),
            _ => Err(Error::Usage("--grids, --channels and --kernel require --coupling conv".to_string())),
        };
    }
    if arguments.dims.is_some() {
        return Err(Error::Usage("--coupling conv requires --grids instead of --dims".to_string()));
    }
    let grids = match grids {
        Some(grids) => grids.0.clone(),
        None => DEFAULT_GRIDS.parse::<Grids>().map_err(Error::Usage)?.0,
    };
    let channels = channels.unwrap_or(DEFAULT_CHANNELS);
    let largest = grids.iter().map(|[rows, cols]| rows.saturating_mul(*cols).saturating_mul(channels)).max();
    if largest.is_some_and(|dim| dim > MAX_DIM) {
        return Err(Error::Usage(format!("D = channels times grid points must be at most {MAX_DIM}")));
    }
    Ok(Some(Convolution { channels, kernel: kernel.and_then(|kernel| kernel.0), grids }))
}

/// Takes the limits on the command line of `--resume` over into the settings of a sweep. Returns which of them are
/// higher than before, and what changed, a phrase each.
pub(super) fn change_limits(arguments: &Arguments, settings: &mut Settings) -> Result<(Vec<Limit>, Vec<String>)> {
    let (mut raised, mut changed) = (Vec::new(), Vec::new());
    let mut note = |limit, name: &str, old: f64, new: f64, show: fn(f64) -> String| {
        if new > old {
            raised.push(limit);
        }
        if new != old {
            changed.push(format!("{name}: {}, now {}", show(old), show(new)));
        }
    };
    let times = [
        (Limit::Budget, "budget", arguments.budget, &mut settings.budget_seconds),
        (Limit::Cell, "cell limit", arguments.cell_limit, &mut settings.cell_limit_seconds),
    ];
    for (limit, name, asked, known) in times {
        if let Some(TimeLimit(asked)) = asked {
            let seconds = |limit: Option<f64>| limit.unwrap_or(f64::INFINITY);
            note(limit, name, seconds(*known), seconds(asked), units::seconds);
            *known = asked;
        }
    }
    if let Some(asked) = arguments.mem_limit {
        let bytes = asked.resolve(machine::available_bytes());
        note(Limit::Memory, "memory limit", settings.memory_limit_bytes as f64, bytes as f64, units::bytes);
        settings.memory_limit_bytes = bytes;
        if let Some(known) = &mut settings.device_memory_limit_bytes {
            let bytes = asked.resolve(gpu::memory_bytes().map_err(gpu::told)?);
            note(Limit::Memory, "memory limit of the GPU", *known as f64, bytes as f64, units::bytes);
            *known = bytes;
        }
    }
    settings.validate().map_err(Error::Usage)?;
    Ok((raised, changed))
}
