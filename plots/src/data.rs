//! From a study's records and summary to the curves of a chart.

use std::borrow::Cow;
use std::collections::BTreeMap;

use relgrad_reports::export::cell_key;
pub(crate) use relgrad_reports::record::Model;
use relgrad_reports::record::{Held, Outcome, Record};
use relgrad_reports::statistics::median;
use relgrad_reports::study::Study;
use relgrad_reports::summary::{CellSummary, Estimate, Series, Stop, Summary};
use relgrad_reports::units::{counted, grouped};
use relgrad_vocabulary::{DeviceKind, Method, Subject, excerpt};

use crate::chart::{Curve, StopMark};
use crate::paper::Paper;
use crate::style::look;

/// Most processes of a series that a figure shows: more would be a blot.
const MOST_PROCESSES: usize = 2000;

/// What a figure is against, besides D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Along {
    Dim,
    Batch,
    Threads,
    Ranks,
}

/// What a figure shows of a study: one device, and but for its own axis the batch size, the number of layers and of
/// threads that the settings name first.
pub(crate) struct Shown<'a> {
    pub(crate) study: &'a Study,
    pub(crate) summary: Cow<'a, Summary>,
    pub(crate) device: DeviceKind,
    pub(crate) along: Along,
    pub(crate) paper: Paper,
}

/// Values of a series against D, and those of its processes.
pub(crate) type Values = (Vec<(f64, Estimate)>, Vec<(f64, f64)>);

impl<'a> Shown<'a> {
    /// `device`, or the CPU where it was measured, else the first device that was.
    pub(crate) fn of(study: &'a Study, summary: &'a Summary, device: Option<DeviceKind>, along: Along) -> Self {
        let settings = &study.run.settings;
        let main = settings.held();
        let is_main = |s: &Series| match along {
            Along::Dim => s.held() == main,
            Along::Batch => s.held() == Held { batch: s.batch, ..main },
            Along::Threads => s.held() == Held { threads: s.threads, ..main },
            Along::Ranks => s.held() == Held { ranks: s.ranks, ..main },
        };
        let mut summary = Cow::Borrowed(summary);
        if !summary.series.iter().all(is_main) {
            let series = summary.series.iter().filter(|s| is_main(s)).cloned().collect();
            summary = Cow::Owned(Summary { series, ..summary.into_owned() });
        }
        let mut devices = summary.series.iter().filter(|s| !s.points.is_empty()).map(|s| s.device);
        let first = devices.clone().next().unwrap_or(DeviceKind::Cpu);
        let device = device.unwrap_or_else(|| devices.find(|d| *d == DeviceKind::Cpu).unwrap_or(first));
        Self { study, summary, device, along, paper: Paper::default() }
    }

    /// The series on the device.
    pub(crate) fn series(&self) -> impl Iterator<Item = &Series> {
        self.summary.series.iter().filter(|s| s.device == self.device)
    }

    /// Whether some series has a point with this value.
    pub(crate) fn has(&self, value: impl Fn(&CellSummary) -> Option<Estimate>) -> bool {
        self.series().any(|s| !measured(s, &value).is_empty())
    }

    /// One curve a series that has values.
    pub(crate) fn curves(&self, values: impl Fn(&Series) -> Values) -> Vec<Curve> {
        self.all_curves(values, |_| None)
    }

    /// One curve a series: `value` of its points, `process` of its records, `predicted` of its first stop.
    pub(crate) fn stopped(
        &self,
        value: impl Fn(&CellSummary) -> Option<Estimate>,
        process: impl Fn(&Record) -> Option<f64>,
        predicted: impl Fn(&Stop) -> Option<Estimate>,
    ) -> Vec<Curve> {
        let stop = |series: &Series| {
            first_stop(series).map(|stop| StopMark {
                dim: stop.dim as f64,
                predicted: predicted(stop).filter(|p| p.value.is_finite() && p.value > 0.0).map(sound),
                note: note(series.method, stop),
            })
        };
        self.all_curves(|series| (measured(series, &value), self.processes(series, &process)), stop)
    }

    fn all_curves(&self, values: impl Fn(&Series) -> Values, stop: impl Fn(&Series) -> Option<StopMark>) -> Vec<Curve> {
        let curve = |series: &Series| {
            let (measured, processes) = values(series);
            let (name, look) = (series.method.to_string(), look(series.method));
            let cells = measured.iter().map(|(dim, _)| vec![cell_key(series, *dim as usize)]).collect();
            Curve { look, measured, cells, processes, stop: stop(series), ..Curve::named(name, look) }
        };
        self.series().map(curve).filter(|c| !c.measured.is_empty() || c.stop.is_some()).collect()
    }

    /// The valid records of a series.
    pub(crate) fn records(&self, series: &Series) -> impl Iterator<Item = &'a Record> {
        let of_series = (series.method, series.device, series.held());
        self.study
            .records
            .iter()
            .filter(move |r| r.is_valid() && (r.cell.method, r.cell.point.device, r.cell.point.held()) == of_series)
    }

    /// A positive value of each process of a series, against D.
    pub(crate) fn processes(&self, series: &Series, value: impl Fn(&Record) -> Option<f64>) -> Vec<(f64, f64)> {
        let values = self.records(series).filter_map(|r| Some((r.cell.point.dim as f64, value(r)?)));
        values.filter(|(_, v)| v.is_finite() && *v > 0.0).take(MOST_PROCESSES).collect()
    }

    /// The speed-up over one of [`Method::BASELINES`] in each round, against D.
    pub(crate) fn speedups_of_rounds(&self, baseline: Method) -> Vec<(f64, f64)> {
        let of = |method: Method| self.series().find(|s| s.method == method);
        let (Some(relative), Some(over)) = (of(Method::Relative), of(baseline)) else { return Vec::new() };
        let place = |r: &Record| (r.cell.point.dim, r.cell.round);
        let times: BTreeMap<_, _> = self.records(over).filter_map(|r| Some((place(r), seconds(r)?))).collect();
        self.processes(relative, |r| Some(times.get(&place(r))? / seconds(r)?))
    }

    /// The names in a page of the cells at a dimension of some methods.
    pub(crate) fn cells(&self, methods: &[Subject], dim: usize) -> Vec<String> {
        let of = |method: &Subject| self.series().find(|s| s.method == *method);
        methods.iter().filter_map(|method| Some(cell_key(of(method)?, dim))).collect()
    }

    /// How many times faster `relative` is than one of [`Method::BASELINES`], against D.
    pub(crate) fn speedups(&self, baseline: Method) -> Vec<(f64, Estimate)> {
        let relative = self.series().find(|s| s.method == Method::Relative);
        relative.map_or(Vec::new(), |series| measured(series, |p| speedup(p, baseline)))
    }

    /// The cost model of a method against D, from every record, run or not.
    pub(crate) fn models(&self, method: Method) -> Vec<(f64, Model)> {
        let held = self.study.run.settings.held();
        let is_main = |r: &Record| r.cell.point.held() == held;
        let of = |r: &&Record| r.cell.point.device == self.device && r.cell.method == method && is_main(r);
        let mut models: Vec<_> =
            self.study.records.iter().filter(of).map(|r| (r.cell.point.dim as f64, r.model)).collect();
        models.sort_by(|a, b| a.0.total_cmp(&b.0));
        models.dedup_by(|a, b| a.0 == b.0);
        models
    }

    /// What all measurements of a figure share, for its heading and caption.
    pub(crate) fn conditions(&self) -> Vec<String> {
        let settings = &self.study.run.settings;
        let is_cpu = self.device == DeviceKind::Cpu;
        let mut conditions = vec![match self.along {
            _ if !is_cpu => "GPU".to_string(),
            Along::Threads => "CPU".to_string(),
            Along::Dim | Along::Batch | Along::Ranks => format!("CPU, {}", counted(settings.threads, "thread")),
        }];
        conditions.extend((self.along != Along::Batch).then(|| format!("N = {}", grouped(settings.batch))));
        conditions.extend([format!("L = {}", settings.layers), settings.arithmetic(self.device).to_string()]);
        if let Some(convolution) = &settings.convolution {
            let kernel = match convolution.kernel {
                None => "full kernels".to_string(),
                Some([rows, cols]) => format!("{rows}×{cols} kernels"),
            };
            conditions.push(format!("D = c·n, c = {}, {kernel}", convolution.channels));
        }
        conditions
    }

    /// The same with the processor's or the GPU's name in front.
    pub(crate) fn conditions_of_machine(&self) -> String {
        let machine = &self.study.run.machine;
        let name = if self.device == DeviceKind::Cpu { Some(&machine.cpu) } else { machine.gpus.first() };
        let name = name.filter(|n| !n.is_empty()).map(|name| excerpt(name, 200));
        name.into_iter().chain(self.conditions()).collect::<Vec<_>>().join(", ")
    }
}

/// The median time of a process.
pub(crate) fn seconds(record: &Record) -> Option<f64> {
    median(&record.seconds)
}

/// The peak memory of a point; it has no interval.
pub(crate) fn peak_bytes(point: &CellSummary) -> Option<Estimate> {
    Some(exactly(point.peak_bytes? as f64))
}

/// A number without an interval.
pub(crate) fn exactly(value: f64) -> Estimate {
    Estimate { value, low: value, high: value }
}

/// The points of a series that have a positive value.
pub(crate) fn measured(series: &Series, value: impl Fn(&CellSummary) -> Option<Estimate>) -> Vec<(f64, Estimate)> {
    let valid = |e: &Estimate| e.value.is_finite() && e.value > 0.0;
    let points = series.points.iter().filter_map(|p| Some((p.dim as f64, value(p)?)));
    points.filter(|(_, e)| valid(e)).map(|(dim, e)| (dim, sound(e))).collect()
}

/// The speed-up of a point of `relative` over one of [`Method::BASELINES`].
pub(crate) fn speedup(point: &CellSummary, baseline: Method) -> Option<Estimate> {
    if baseline == Method::Ordinary { point.speedup_over_ordinary } else { point.speedup_over_autodiff }
}

/// The first dimension beyond the measured ones without a measurement.
fn first_stop(series: &Series) -> Option<&Stop> {
    let last = series.points.iter().map(|p| p.dim).max().unwrap_or(0);
    series.stops.iter().filter(|s| s.dim > last).min_by_key(|s| s.dim)
}

/// What a note below the panel says of a stop.
fn note(method: Subject, stop: &Stop) -> String {
    let dim = grouped(stop.dim);
    let reason = stop.reason.trim().trim_end_matches('.');
    let happened = if stop.outcome == Outcome::Failed { "failed at" } else { "not run from" };
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("{method} {happened} D\u{a0}=\u{a0}{dim}{colon}{reason}")
}

/// An estimate whose interval holds its value, also where an end is no number.
pub(crate) fn sound(estimate: Estimate) -> Estimate {
    let value = estimate.value;
    let end = |end: f64| if end.is_finite() { end } else { value };
    Estimate { value, low: end(estimate.low).min(value), high: end(estimate.high).max(value) }
}
