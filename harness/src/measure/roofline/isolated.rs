//! The ceilings of a sweep: the short form, in a process of its own as every cell has.

use std::process::Command;
use std::time::Duration;

use relgrad_reports::roofline::Roofline;
use relgrad_reports::run::Settings;

use super::Output;
use crate::error::{Error, Result};
use crate::measure::run::interrupt::Events;
use crate::measure::run::process::{self, ChildLimits};
use crate::measure::run::{address_space, identity, keep_arithmetic};
use crate::measure::workload::DeviceKind;

/// Time after which the process is killed; it takes some three seconds on a quiet machine, ten on a GPU.
const KILL_AFTER: Duration = Duration::from_secs(60);

/// Measures the ceilings that the cells of `settings` on one device need: those, or why they are not known; nothing when
/// a signal cut it off. Calls `tick` as [`process::run_watched`] does.
pub(crate) fn measure(
    device: DeviceKind,
    settings: &Settings,
    events: &mut Events,
    tick: impl FnMut(Duration) -> Option<Duration>,
) -> Result<Option<Result<Roofline, String>>> {
    let threads = if settings.threads == 1 { "1".to_string() } else { format!("1,{}", settings.threads) };
    let mut command = Command::new(identity::program()?);
    command.args(["roofline", "--quick", "--json", "--device", device.name()]);
    command.args(["--threads", &threads, "--batch", &settings.batch.to_string()]);
    match &settings.math {
        Some(math) if device == DeviceKind::Cuda => command.args(["--math", math]),
        _ => command.args(["--dtype", &settings.dtype]),
    };
    keep_arithmetic(&mut command, settings.math.as_deref());
    let address_space_bytes = address_space(device, settings.memory_limit_bytes, settings.threads);
    let limits = ChildLimits { address_space_bytes, kill_after: Some(KILL_AFTER) };
    let reply = process::reply::<Output>(command, limits, events, tick);
    let reply = reply.map_err(|cause| Error::Output(format!("cannot run the process of the ceilings: {cause}")))?;
    Ok(reply.map(|reply| reply.map(|output| output.roofline)))
}
