//! The ceilings of a sweep: the short form, in a process of its own as every cell has.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use relgrad_reports::roofline::Roofline;
use relgrad_reports::run::Settings;

use super::Output;
use crate::error::{Error, Result};
use crate::measure::run::interrupt::Events;
use crate::measure::run::process::{self, ChildLimits, End};
use crate::measure::run::{address_space, keep_arithmetic};
use crate::measure::workload::DeviceKind;

/// Seconds after which the process is killed; it takes some three on a quiet machine, ten on a GPU.
const KILL_SECONDS: f64 = 60.0;

/// How measuring them went.
pub(crate) enum Ceilings {
    Measured(Box<Roofline>),
    /// They are not, for this reason; a sweep is as good without, but for the fractions of its report.
    Failed(String),
    Interrupted,
}

/// Measures the ceilings that the cells of `settings` on one device need, calling `tick` as [`process::run_watched`]
/// does.
pub(crate) fn measure(
    program: &Path,
    device: DeviceKind,
    settings: &Settings,
    events: &mut Events,
    tick: impl FnMut(Duration) -> Option<Duration>,
) -> Result<Ceilings> {
    let mut threads = vec![1, settings.threads];
    threads.dedup();
    let threads: Vec<String> = threads.iter().map(ToString::to_string).collect();
    let batch = settings.batch.to_string();
    let mut command = Command::new(program);
    command.args(["roofline", "--quick", "--json", "--device", device.name()]);
    command.args(["--threads", &threads.join(","), "--batch", &batch]);
    match &settings.math {
        Some(math) if device == DeviceKind::Cuda => command.args(["--math", math]),
        _ => command.args(["--dtype", &settings.dtype]),
    };
    keep_arithmetic(&mut command, settings.math.as_deref());
    let limits = ChildLimits {
        address_space_bytes: address_space(device, settings.memory_limit_bytes, settings.threads),
        kill_after: Some(Duration::from_secs_f64(KILL_SECONDS)),
    };
    let end = process::run_watched(command, limits, events, tick)
        .map_err(|cause| Error::Output(format!("cannot run the process of the ceilings: {cause}")))?;
    Ok(match end {
        End::Interrupted => Ceilings::Interrupted,
        End::TimedOut => Ceilings::Failed(format!("no result after {KILL_SECONDS:.0} s")),
        End::Exited { status, stdout, stderr } => match serde_json::from_str::<Output>(stdout.trim()) {
            Ok(output) => Ceilings::Measured(Box::new(output.roofline)),
            Err(_) if events.interrupted() => Ceilings::Interrupted,
            Err(_) => Ceilings::Failed(process::cause_of_death(status, &stderr)),
        },
    })
}
