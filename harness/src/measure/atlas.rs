//! What an atlas says of this machine: its ceilings, a few cells measured at once, and the predictions from both.

use std::path::Path;
use std::time::Duration;

use relgrad_reports::atlas::{ANCHOR_ROUNDS, Anchor, Atlas, AtlasCell, Predictor, choose_anchors};
use relgrad_reports::record::Reason;
use relgrad_reports::roofline::Roofline;
use relgrad_reports::run::Settings;
use relgrad_reports::statistics::median;

use super::cell::sampling::Rules;
use super::cell::{Reply, Spec};
use super::plan::Planned;
use super::roofline;
use super::run::interrupt::Events;
use super::run::process::{self, ChildLimits};
use super::run::{address_space, identity};
use super::workload::DeviceKind;
use crate::error::{Error, Result};

/// The name of the atlas that the program carries.
pub(crate) const BUILT_IN: &str = "built-in";
/// An anchor is sampled for half a second; building and checking it come on top.
const ANCHOR_RULES: Rules =
    Rules { min_samples: 5, sampling_seconds: 0.5, cell_seconds: Some(3.0), deadline_seconds: None };
/// Seconds after which the process of an anchor is killed.
const ANCHOR_KILL: Duration = Duration::from_secs(30);

/// The atlas of a file, or the one that the program carries.
pub(crate) fn read(name: &Path) -> Result<Atlas> {
    let atlas = if name == Path::new(BUILT_IN) { Atlas::built_in() } else { Atlas::read(name) };
    atlas.map_err(|cause| Error::Input(cause.to_string()))
}

/// The ceilings that the cells of these settings need.
pub(crate) fn ceilings(settings: &Settings, events: &mut Events) -> Result<Vec<Roofline>> {
    let mut rooflines = Vec::new();
    for &device in &settings.devices {
        match roofline::measure_isolated(device, settings, events, |_| None)? {
            Some(Ok(roofline)) => rooflines.push(roofline),
            Some(Err(reason)) => return Err(Error::Output(format!("the ceilings were not measured: {reason}"))),
            None => return Err(Error::Interrupted("stopped before the ceilings were known".to_string())),
        }
    }
    Ok(rooflines)
}

/// Measures the anchors among these points: those that the atlas chooses and that fit into memory, in several processes
/// each. One that fails is told and left out.
pub(crate) fn anchors(
    points: &[Planned],
    settings: &Settings,
    predictor: &Predictor,
    events: &mut Events,
) -> Result<Vec<Anchor>> {
    let fits = |planned: &&Planned| {
        let on_gpu = planned.cell.point.device == DeviceKind::Cuda;
        let limit = settings.device_memory_limit_bytes.filter(|_| on_gpu).unwrap_or(settings.memory_limit_bytes);
        planned.expected_bytes <= limit as f64
    };
    let (places, cells): (Vec<&Planned>, Vec<(AtlasCell, f64)>) = points
        .iter()
        .filter(fits)
        .filter_map(|planned| {
            let seconds = predictor.expected_seconds(&planned.cell, &planned.model)?;
            Some((planned, (AtlasCell::of(&planned.cell)?, seconds)))
        })
        .unzip();
    let chosen = choose_anchors(&cells).into_iter().map(|at| places[at]);
    let mut anchors: Vec<(&Planned, Vec<f64>)> = chosen.map(|planned| (planned, Vec::new())).collect();
    for _ in 0..ANCHOR_ROUNDS {
        let mut kept = Vec::new();
        for (planned, mut seconds) in anchors {
            match anchor(planned, settings, events)? {
                Some(Ok(median)) => {
                    seconds.push(median);
                    kept.push((planned, seconds));
                }
                Some(Err(reason)) => {
                    let (method, dim) = (planned.cell.method, planned.cell.point.dim);
                    note!("relgrad: {method} at D = {dim} was not measured: {reason}");
                }
                None => return Err(Error::Interrupted("stopped before all anchors were measured".to_string())),
            }
        }
        anchors = kept;
    }
    let of = |(planned, seconds): (&Planned, _)| Anchor { cell: planned.cell, model: planned.model, seconds };
    Ok(anchors.into_iter().map(of).collect())
}

/// Median seconds of one cell in a process of its own, or why there are none; nothing when a signal cut it off.
fn anchor(planned: &Planned, settings: &Settings, events: &mut Events) -> Result<Option<Result<f64, Reason>>> {
    let point = &planned.cell.point;
    let spec = Spec { cell: planned.cell, rules: Some(ANCHOR_RULES), inject: None, transport: None };
    let limits = ChildLimits {
        address_space_bytes: address_space(point.device, settings.memory_limit_bytes, point.threads),
        kill_after: Some(ANCHOR_KILL),
    };
    let reply = process::reply::<Reply>(spec.command(&identity::program()?)?, limits, events, |_| None);
    let reply = reply.map_err(|cause| Error::Output(format!("cannot start the process of a cell: {cause}")))?;
    Ok(reply.map(|reply| match reply? {
        Reply::Measured(measurement) => median(&measurement.seconds).ok_or_else(|| Reason::from("it took no samples")),
        Reply::Failed(failed) => Err(failed.reason),
        Reply::Ready(_) => Err(Reason::from("it took no samples")),
    }))
}
