//! `relgrad predict`: time and memory of a sweep on this machine, from its ceilings and an atlas.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use relgrad_reports::atlas::{Anchor, AtlasCell, Folder, Predictor, Score, machine_name};
use relgrad_reports::record::Cell;
use relgrad_reports::run::Settings;
use relgrad_reports::summary::Estimate;
use relgrad_reports::table::Table;
use relgrad_reports::units::{self, NONE, grouped};
use serde::{Deserialize, Serialize};

use super::sweep;
use crate::error::{Error, Result, code};
use crate::machine;
use crate::measure::atlas::{self, BUILT_IN};
use crate::measure::plan::Planned;
use crate::measure::plan::schedule::Schedule;
use crate::measure::run::interrupt::Events;
use crate::measure::workload::DeviceKind;

const EXAMPLES: &str = "\
Examples:
  relgrad predict --roofline                       a sweep with its defaults, on this machine
  relgrad predict --roofline --dims 100:5000 --methods relative,ordinary --batch 10,100
  relgrad predict --roofline --json > before.json
  relgrad predict --check results/here --before before.json    after the sweep: who was right?

It measures the ceilings (relgrad roofline --quick) and anchors: up to three cells of a method, of a
quarter of a second each at most, in three processes each. That takes about a minute. In an interval
lies, with 95 % probability, the time of the cell in a sweep with its rounds.
";

/// Version of what `--json` prints.
const PREDICTED_SCHEMA: u32 = 1;

/// Predicts time and memory of every cell of a sweep on this machine
#[derive(Debug, Args)]
#[command(after_help = super::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Measure the ceilings of this machine and predict from them
    #[arg(long, required_unless_present = "check")]
    roofline: bool,
    /// What relgrad atlas wrote, or built-in: that of the archive
    #[arg(long, value_name = "FILE", default_value = BUILT_IN)]
    atlas: PathBuf,
    /// Predict from the ceilings alone
    #[arg(long)]
    no_anchors: bool,
    /// Data dimensions D, as in a sweep [default: 10:20000]
    #[arg(long, value_name = "LIST")]
    dims: Option<String>,
    /// Methods, as in a sweep [default: relative,ordinary,autodiff]
    #[arg(long, value_name = "LIST")]
    methods: Option<String>,
    /// Samples in a batch, N: a number or a list [default: 100]
    #[arg(long, value_name = "N")]
    batch: Option<String>,
    /// Layers of the network, L: a number or a list [default: 2]
    #[arg(long, value_name = "L")]
    layers: Option<String>,
    /// Number type: f32 or f64
    #[arg(long, value_name = "TYPE")]
    dtype: Option<String>,
    /// Arithmetic of matrix products, as in a sweep
    #[arg(long, value_name = "NAME")]
    math: Option<String>,
    /// CPU threads: a number or a list [default: all available]
    #[arg(long, value_name = "COUNT")]
    threads: Option<String>,
    /// Devices: cpu, cuda or both
    #[arg(long, value_name = "LIST")]
    device: Option<String>,
    /// Print the prediction as JSON
    #[arg(long)]
    json: bool,
    /// Compare an earlier prediction with the sweep in STUDY
    #[arg(long, value_name = "STUDY", requires = "before", conflicts_with_all = ["roofline", "json"])]
    check: Option<PathBuf>,
    /// With --check: the prediction, as --json printed it
    #[arg(long, value_name = "FILE", requires = "check")]
    before: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PredictedSweep {
    schema: u32,
    version: String,
    machine: String,
    /// Whether the atlas has cells of it.
    known: bool,
    /// Machines of the atlas.
    atlas: Vec<String>,
    anchors: usize,
    /// Processes behind the mean that an interval is for.
    rounds: usize,
    /// Expected and longest time of the sweep without limits.
    sweep_seconds: [f64; 2],
    cells: Vec<PredictedCell>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PredictedCell {
    cell: Cell,
    /// Absent where the atlas says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<Estimate>,
    peak_bytes: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    if let (Some(study), Some(before)) = (&arguments.check, &arguments.before) {
        return check(study, before);
    }
    let start = Instant::now();
    let settings = sweep::settings_of(&arguments.words())?;
    sweep::require_devices(&settings)?;
    let predicted = predict(arguments, &settings)?;
    if arguments.json {
        super::print_json(&predicted)?;
        return Ok(0);
    }
    say_text!("{}\n", table(&predicted).text());
    let [expected, most] = predicted.sweep_seconds.map(units::seconds);
    let known = if predicted.known { "which the atlas has" } else { "which the atlas does not have" };
    say!(
        "{}, {known}; from {} of the atlas and {} measured here, in {}\nthe sweep without limits: {expected} to {most}",
        predicted.machine,
        units::counted(predicted.atlas.len(), "machine"),
        units::counted(predicted.anchors, "cell"),
        units::seconds(start.elapsed().as_secs_f64().round()),
    );
    Ok(0)
}

impl Arguments {
    /// The words of the `relgrad sweep` that is meant.
    fn words(&self) -> Vec<String> {
        let Self { dims, methods, batch, layers, dtype, math, threads, device, .. } = self;
        let all = [
            ("--dims", dims),
            ("--methods", methods),
            ("--batch", batch),
            ("--layers", layers),
            ("--dtype", dtype),
            ("--math", math),
            ("--threads", threads),
            ("--device", device),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some([name.to_string(), value.clone()?]));
        let limits = ["--budget", "none", "--cell-limit", "none"].map(str::to_string);
        given.flatten().chain(limits).collect()
    }
}

fn predict(arguments: &Arguments, settings: &Settings) -> Result<PredictedSweep> {
    let atlas = atlas::read(&arguments.atlas)?;
    let mut schedule = Schedule::of(settings)?;
    let machine = machine::facts();
    let mut events = Events::install()?;
    let rooflines = atlas::ceilings(settings, &mut events)?;
    let predictor =
        |anchors: &[Anchor]| Predictor::new(&atlas, &machine, rooflines.clone(), anchors).map_err(Error::Input);
    let from_ceilings = predictor(&[])?;
    let anchors = if arguments.no_anchors {
        Vec::new()
    } else {
        atlas::anchors(schedule.points(), settings, &from_ceilings, &mut events)?
    };
    let predictor = predictor(&anchors)?;
    schedule.expect(&predictor);
    let of = |planned: &Planned| PredictedCell {
        cell: planned.cell,
        seconds: predictor.seconds(&planned.cell, &planned.model, settings.rounds),
        peak_bytes: planned.expected_bytes,
    };
    let cells = schedule.points().iter().map(of).collect();
    let device = settings.devices.first().copied().unwrap_or(DeviceKind::Cpu);
    Ok(PredictedSweep {
        schema: PREDICTED_SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_string(),
        machine: machine_name(&machine, device),
        known: predictor.is_known(),
        atlas: atlas.machines.clone(),
        anchors: anchors.len(),
        rounds: settings.rounds,
        sweep_seconds: [schedule.remaining_seconds(0.0), schedule.most_seconds(0.0)],
        cells,
    })
}

fn table(predicted: &PredictedSweep) -> Table {
    let row = |PredictedCell { cell, seconds, peak_bytes }: &PredictedCell| {
        let seconds = seconds.as_ref().map_or(NONE.to_string(), units::seconds_estimate);
        [place(cell), vec![seconds, units::bytes(*peak_bytes)]].concat()
    };
    Table::new(&format!("{PLACE} | >time [95 %] | >memory"), predicted.cells.iter().map(row))
}

const PLACE: &str = "method | device | >D | >N | >L | >threads";

fn place(cell: &Cell) -> Vec<String> {
    let point = &cell.point;
    let counts = [point.dim, point.batch, point.layers, point.threads].map(grouped);
    [cell.method.to_string(), point.device.to_string()].into_iter().chain(counts).collect()
}

/// Shows an earlier prediction next to what a sweep measured.
fn check(study: &Path, before: &Path) -> Result<u8> {
    let text = fs::read(before).map_err(|cause| Error::input(before, cause))?;
    let no_prediction = |cause: String| {
        Error::Input(format!("{} is no prediction ({cause}): name what predict --json printed", before.display()))
    };
    let predicted: PredictedSweep = serde_json::from_slice(&text).map_err(|cause| no_prediction(cause.to_string()))?;
    if predicted.schema != PREDICTED_SCHEMA {
        return Err(no_prediction(format!("schema version {}", predicted.schema)));
    }
    let folder = Folder::read(study).map_err(|cause| Error::Input(cause.to_string()))?;
    let (mut rows, mut compared) = (Vec::new(), Vec::new());
    for (cell, measured, _) in folder.measured() {
        let is_it = |of: &&PredictedCell| AtlasCell::of(&of.cell) == Some(cell);
        let Some(found) = predicted.cells.iter().find(is_it) else { continue };
        let Some(seconds) = found.seconds else { continue };
        compared.push((seconds, measured));
        let is_within = (seconds.low..=seconds.high).contains(&measured);
        rows.push(
            [
                place(&found.cell),
                vec![
                    units::seconds_estimate(&seconds),
                    units::seconds(measured),
                    units::percent(seconds.value / measured - 1.0),
                    if is_within { "yes" } else { "no" }.to_string(),
                ],
            ]
            .concat(),
        );
    }
    let Some(Score { cells, covered, median_error }) = Score::of(&compared) else {
        note!("relgrad: no cell was both predicted and measured");
        return Ok(code::NOTHING_MEASURED);
    };
    let columns = format!("{PLACE} | >predicted [95 %] | >measured | >error | within");
    say_text!("{}\n", Table::new(&columns, rows).text());
    say!(
        "{covered} of {} within their intervals ({}); median error {}",
        units::counted(cells, "cell"),
        units::percent(covered as f64 / cells as f64),
        units::percent(median_error),
    );
    Ok(0)
}
