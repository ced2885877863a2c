//! Figure 4: memory over time of one gradient, relative beside autodiff.

use relgrad_reports::export::{Chart, ChartAxis, ChartCurve, ChartPanel, ChartPoint};
use relgrad_reports::record::{Outcome, Record};
use relgrad_reports::study::Study;
use relgrad_reports::summary::Estimate;
use relgrad_reports::units::{self, grouped, number};
use relgrad_vocabulary::{DeviceKind, Method};

use super::{Content, Spec};
use crate::axis::{Axis, Room, Unit};
use crate::chart;
use crate::clear::Clear;
use crate::data::{Along, Shown};
use crate::font::{self, Weight};
use crate::panel::{Panel, Titles};
use crate::scene::{Align, Place, Rect, Scene, Stroke, Text};
use crate::style::{BAND, COLUMN_WIDTH, GREY, INK, MARGIN, MODEL, NORMAL, SMALL, look};

pub(super) const SPEC: Spec =
    Spec { name: "fig4", device: None, along: Along::Dim, needs, content: Content::Scene(draw, numbers), caption };

/// Height of the panels, in points.
const PANEL_HEIGHT: f64 = 150.0;
/// Between the panels, in points.
const BETWEEN: f64 = 18.0;
/// A page narrower than this, in points, has the panels below one another.
const LEAST_BESIDE: f64 = 1.5 * COLUMN_WIDTH;
/// The time before the gradient that is shown, as a share of the time axis.
const BEFORE: f64 = 0.08;
/// Above this quotient of the two peaks a linear axis would press the smaller trace onto the floor.
const LARGEST_LINEAR_RATIO: f64 = 12.0;

/// The two traces of the figure: of the same problem, in methods only different.
#[derive(Debug, Clone, Copy)]
struct Pair<'a> {
    relative: &'a Record,
    autodiff: &'a Record,
}

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no record has a memory trace: run `relgrad sweep` with relative and autodiff";
    super::require(shown.study.records.iter().any(has_trace), missing)?;
    let missing = "no dimension has a memory trace of both relative and autodiff: run `relgrad sweep` with both \
                   methods at the same D";
    super::require(pair(shown.study).is_some(), missing)
}

/// Whether a record is of a gradient that was measured and has a memory trace that shows something.
fn has_trace(record: &Record) -> bool {
    let valid = record.memory_trace.iter().filter(|p| p.seconds.is_finite() && p.bytes.is_finite());
    record.outcome == Outcome::Measured
        && valid.clone().count() >= 2
        && valid.clone().any(|p| p.seconds > 0.0)
        && peak(record) > 0.0
}

/// The pair at the largest D; among several, on the CPU, and of the earliest round.
fn pair(study: &Study) -> Option<Pair<'_>> {
    let held = study.run.settings.held();
    let is_main = |r: &&Record| r.cell.point.held() == held;
    let traced =
        |method: Method| study.records.iter().filter(is_main).filter(move |r| r.cell.method == method && has_trace(r));
    let pairs = traced(Method::Relative).flat_map(|relative| {
        let same = move |r: &&Record| r.cell.point == relative.cell.point;
        traced(Method::Autodiff).filter(same).map(move |autodiff| Pair { relative, autodiff })
    });
    pairs.min_by_key(|p| {
        let cell = &p.relative.cell;
        (std::cmp::Reverse(cell.point.dim), cell.point.device, cell.round, p.autodiff.cell.round)
    })
}

/// Largest bytes of a trace.
fn peak(record: &Record) -> f64 {
    record.memory_trace.iter().map(|p| p.bytes).filter(|b| b.is_finite()).fold(0.0, f64::max)
}

/// When the gradient of a trace began, in its seconds; `None` where the record does not tell. The trace ends with the
/// first evaluation, whose time is that of the first warm-up.
fn beginning(record: &Record) -> Option<f64> {
    let first = record.warmup_seconds.first()?;
    let beginning = end(record) - first;
    (*first > 0.0 && beginning >= 0.0).then_some(beginning)
}

/// The last second of a trace.
fn end(record: &Record) -> f64 {
    record.memory_trace.iter().map(|p| p.seconds).filter(|s| s.is_finite()).fold(0.0, f64::max)
}

/// Seconds of the gradient; of the whole trace where it is not known when the gradient began.
fn duration(record: &Record) -> f64 {
    end(record) - beginning(record).unwrap_or(0.0)
}

/// Draws the pair side by side, or below one another where the paper is narrow.
fn draw(shown: &Shown<'_>) -> Scene {
    let Some(pair) = pair(shown.study) else { return Scene::default() };
    let page = shown.paper.page();
    let is_narrow = page < LEAST_BESIDE;
    let y = memory_axis(pair);
    let mut top = MARGIN + SMALL + 8.0 + NORMAL + 6.0;
    let left = MARGIN + Panel::left_room(&y);
    let right = page - MARGIN - 10.0;
    let width = if is_narrow { right - left } else { (right - left - BETWEEN) / 2.0 };
    let cell = &pair.relative.cell;
    let heading = [vec![format!("D = {}", grouped(cell.point.dim))], on_device(shown, pair).conditions()].concat();
    let mut scene = Scene::headed(page, MARGIN, &heading);
    for (i, record) in [pair.relative, pair.autodiff].into_iter().enumerate() {
        let is_first = i == 0 || is_narrow;
        let left = if is_first { left } else { left + width + BETWEEN };
        let rect = Rect { left, top, right: left + width, bottom: top + PANEL_HEIGHT };
        let title = if is_first { memory_title(cell.point.device, &y) } else { String::new() };
        draw_panel(&mut scene, &Panel { rect, x: time_axis(record, width), y: y.clone() }, record, &title);
        scene.height = rect.bottom + Panel::BOTTOM_ROOM + MARGIN;
        if is_narrow {
            top = scene.height + NORMAL + 8.0;
        }
    }
    scene
}

/// From a little before the gradient begins, which is zero, to its end.
fn time_axis(record: &Record, width: f64) -> Axis {
    let axis = Axis::linear(duration(record), Unit::Seconds, Room { length: width, label: 38.0 });
    let before = beginning(record).map_or(0.0, |beginning| beginning.min(BEFORE * axis.high));
    Axis { low: -before, ..axis }
}

/// The traces for a page, in as many readings as its drawing can show.
fn numbers(shown: &Shown<'_>) -> Option<Chart> {
    /// Strips of a panel, of each of which four readings are kept.
    const STRIPS: f64 = 30.0;
    let pair = pair(shown.study)?;
    let memory = memory_axis(pair);
    let memory_of = memory_title(pair.relative.cell.point.device, &Axis { unit_label: "", ..memory.clone() });
    let panel = |record: &Record| {
        let (zero, time) = (beginning(record).unwrap_or(0.0), time_axis(record, COLUMN_WIDTH));
        let (cell, bound) = (&record.cell, record.model.min_bytes);
        let scale = STRIPS / 3.0 / (time.high - time.low);
        let readings = record.memory_trace.iter().filter(|p| p.seconds.is_finite() && p.bytes.is_finite());
        let readings = readings.map(|p| ((p.seconds - zero - time.low) * scale, p.bytes)).filter(|(x, _)| *x >= 0.0);
        let cells = on_device(shown, pair).cells(&[cell.method], cell.point.dim);
        let point = |(x, bytes): Place| {
            let seconds = x / scale + time.low;
            let side = if seconds < 0.0 { "before the gradient" } else { "of the gradient" };
            let at = format!("{} {side}", units::seconds(seconds.abs()));
            let y = Some(Estimate::exact(bytes));
            ChartPoint { cells: cells.clone(), ..ChartPoint::new(seconds, at, y, units::bytes(bytes)) }
        };
        ChartPanel {
            x: ChartAxis { title: "time of the gradient".into(), unit: "seconds", log: false, least: None },
            y: ChartAxis {
                title: format!("{memory_of} of {}", cell.method),
                unit: "bytes",
                log: memory.logarithmic,
                least: Some((memory.low, memory.high)),
            },
            joined: true,
            curves: vec![ChartCurve {
                name: cell.method.to_string(),
                color: chart::hex(look(cell.method).color),
                marker: "none",
                dash: Vec::new(),
                points: thinned(&readings.collect::<Vec<_>>()).into_iter().map(point).collect(),
                processes: Vec::new(),
                stop: None,
                model: Vec::new(),
            }],
            levels: vec![(bound, format!("lower bound of the model: {}", units::bytes(bound)))],
            slopes: Vec::new(),
            marks: beginning(record).map(|_| (0.0, "gradient begins".into())).into_iter().collect(),
        }
    };
    Some(Chart { style: chart::style(), panels: [pair.relative, pair.autodiff].map(panel).into() })
}

/// The pair may be of another device than the speed-ups.
fn on_device<'a>(shown: &Shown<'a>, pair: Pair<'_>) -> Shown<'a> {
    Shown { summary: shown.summary.clone(), device: pair.relative.cell.point.device, ..*shown }
}

fn caption(shown: &Shown<'_>) -> String {
    let Some(pair) = pair(shown.study) else { return "Memory over time of one gradient.".into() };
    let [relative, autodiff] = [pair.relative, pair.autodiff].map(peak);
    format!(
        "Resident memory over the time of the first gradient, relative and autodiff, at D = {} ({}). The gradient \
         begins at zero, with a mark; before it the problem and its work memory are allocated. The panels share the \
         memory axis; each has its own time axis. Dashed: the lower bound of the memory model. The peak of autodiff is \
         {} times that of relative ({} and {}).",
        grouped(pair.relative.cell.point.dim),
        on_device(shown, pair).conditions_of_machine(),
        number(autodiff / relative),
        units::bytes(autodiff),
        units::bytes(relative),
    )
}

fn draw_panel(scene: &mut Scene, panel: &Panel, record: &Record, y_title: &str) {
    let look = look(record.cell.method);
    let places = places(panel, record);
    panel.draw_grid(scene);
    let Rect { left, right, top, bottom } = panel.rect;
    if let (Some(first), Some(last), false) = (places.first(), places.last(), panel.y.logarithmic) {
        let corners = [&[(first.0, bottom)], &places[..], &[(last.0, bottom)]].concat();
        scene.area(corners, look.color, BAND);
    }
    let mut clear = Clear::new(panel.rect);
    clear.take_line(&places, 1.6);
    draw_beginning(scene, panel, record, &mut clear);
    let labelled = draw_bound(scene, panel, record, &mut clear);
    panel.line(scene, &places, look.stroke(&[]));
    let since = if beginning(record).is_some() { "time of the gradient" } else { "time" };
    let x_title = format!("{since} ({})", panel.x.unit_label);
    panel.draw_axes(scene, Titles { x: &x_title, y: y_title });
    let baseline = top - 5.0;
    let name = Text::new(record.cell.method.name(), (left, baseline), NORMAL).bold().color(look.color);
    scene.text(name);
    let [peak, end, bound] =
        [units::bytes(peak(record)), units::seconds(duration(record)), units::bytes(record.model.min_bytes)];
    let also = if labelled { format!("ends after {end}") } else { format!("bound (dashed) {bound}") };
    let room = right - left - 6.0 - font::width(record.cell.method.name(), NORMAL, Weight::Bold);
    let figures = [format!("peak {peak} · {also}"), format!("peak {peak}")];
    let fitting = figures.into_iter().find(|text| font::width(text, SMALL, Weight::Regular) <= room);
    scene.text(Text::new(fitting.unwrap_or_default(), (right, baseline), SMALL).align(Align::Right));
}

/// A line where the gradient begins, with its name where the trace leaves room.
fn draw_beginning(scene: &mut Scene, panel: &Panel, record: &Record, clear: &mut Clear) {
    let Some((x, _)) = beginning(record).and_then(|_| panel.place(0.0, panel.y.high)) else { return };
    let Rect { top, bottom, .. } = panel.rect;
    scene.line(&[(x, top), (x, bottom)], Stroke { color: GREY, width: 0.9, dash: &[] });
    clear.take_line(&[(x, top), (x, bottom)], 0.8);
    let label = |y: f64| Text::new("gradient begins", (x + 3.0, y), SMALL).color(GREY);
    let steps = ((bottom - top) / SMALL) as i32;
    if let Some(bounds) = scene.first_clear(clear, (1..steps).map(|i| label(top + f64::from(i) * SMALL))) {
        clear.take_line(&bounds.corners(), 1.0);
        let middle = (bounds.top + bounds.bottom) / 2.0;
        clear.take_line(&[(bounds.left, middle), (bounds.right, middle)], SMALL / 2.0);
    }
}

/// The model's lower bound, labelled where the trace leaves room; whether it did.
fn draw_bound(scene: &mut Scene, panel: &Panel, record: &Record, clear: &mut Clear) -> bool {
    let bound = record.model.min_bytes;
    let Some((_, y)) = panel.place(panel.x.high, bound) else { return true };
    let Rect { left, right, .. } = panel.rect;
    scene.line(&[(left, y), (right, y)], Stroke { color: INK, width: 0.9, dash: MODEL });
    clear.take_line(&[(left, y), (right, y)], 0.8);
    let text = format!("lower bound of the model: {}", units::bytes(bound));
    let xs = [(right - 4.0, Align::Right), ((left + right) / 2.0, Align::Center), (left + 4.0, Align::Left)];
    // Nearest to the line first, then farther from it, on either side.
    let candidates = (0..6).flat_map(|step| {
        let away = 2.0 + 4.0 * f64::from(step);
        let baselines = [y - away - 0.24 * SMALL, y + away + 0.76 * SMALL];
        baselines.into_iter().flat_map(move |b| xs.map(|(x, align)| ((x, b), align)))
    });
    let label = |(at, align)| Text::new(text.clone(), at, SMALL).align(align);
    scene.first_clear(clear, candidates.map(label)).is_some()
}

fn memory_axis(pair: Pair<'_>) -> Axis {
    let records = [pair.relative, pair.autodiff];
    let bounds = records.map(|r| r.model.min_bytes).into_iter().filter(|b| b.is_finite() && *b > 0.0);
    let peaks = records.map(peak);
    let heights = || peaks.into_iter().chain(bounds.clone());
    let high = heights().fold(0.0, f64::max);
    let low = heights().fold(f64::INFINITY, f64::min);
    if high / low > LARGEST_LINEAR_RATIO {
        let room = Room { length: PANEL_HEIGHT, label: 1.9 * SMALL };
        Axis::log_between(low / 4.0, high * 2.0, Unit::Bytes, room)
    } else {
        Axis::linear(high * 1.1, Unit::Bytes, Room { length: PANEL_HEIGHT, label: 24.0 })
    }
}

fn memory_title(device: DeviceKind, axis: &Axis) -> String {
    let memory = if device == DeviceKind::Cpu { "resident memory" } else { "device memory" };
    if axis.unit_label.is_empty() { memory.into() } else { format!("{memory} ({})", axis.unit_label) }
}

/// The trace on the page: clamped to the panel, and thinned to what a printer can tell apart. What came before the time
/// axis begins is one place at its beginning.
fn places(panel: &Panel, record: &Record) -> Vec<Place> {
    let zero = beginning(record).unwrap_or(0.0);
    let finite = record.memory_trace.iter().filter(|p| p.seconds.is_finite() && p.bytes.is_finite());
    let mut points: Vec<_> = finite.map(|p| (p.seconds - zero, p.bytes.clamp(panel.y.low, panel.y.high))).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let before = points.partition_point(|(seconds, _)| *seconds < panel.x.low);
    if let Some((seconds, _)) = points[..before].last_mut() {
        *seconds = panel.x.low;
    }
    thinned(&panel.places(points.into_iter().skip(before.saturating_sub(1))))
}

/// Keeps the first, lowest, highest and last place of each strip of a third of a point.
fn thinned(places: &[Place]) -> Vec<Place> {
    let strip = |p: &Place| (p.0 * 3.0).floor() as i64;
    let mut kept = Vec::new();
    for run in places.chunk_by(|a, b| strip(a) == strip(b)) {
        let by_height = |a: &usize, b: &usize| run[*a].1.total_cmp(&run[*b].1);
        let mut picked = vec![0, run.len() - 1];
        picked.extend((0..run.len()).min_by(by_height));
        picked.extend((0..run.len()).max_by(by_height));
        picked.sort_unstable();
        picked.dedup();
        kept.extend(picked.into_iter().map(|i| run[i]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use relgrad_reports::record::MemoryPoint;

    use super::*;

    /// A gradient of 2 s in a trace of 5 s: its memory over [0, 2], and a little of what was there before.
    #[test]
    fn time_begins_with_the_gradient() {
        let mut record = relgrad_reports::fixture::study().records.swap_remove(0);
        let point = |i: i32| MemoryPoint { seconds: 0.1 * f64::from(i), bytes: 1e6 * f64::from(i) };
        (record.memory_trace, record.warmup_seconds) = ((0..=50).map(point).collect(), vec![2.0, 1.0]);
        assert_eq!((beginning(&record), duration(&record)), (Some(3.0), 2.0));
        let x = time_axis(&record, 200.0);
        assert!(x.low < 0.0 && x.low > -0.3 && x.ticks[0].value == 0.0);
        let rect = Rect { left: 0.0, top: 0.0, right: 200.0, bottom: 100.0 };
        let panel = Panel { rect, x, y: Axis::linear(50e6, Unit::Bytes, Room { length: 100.0, label: 20.0 }) };
        let places = places(&panel, &record);
        let height = |bytes: f64| panel.place(0.0, bytes).unwrap().1;
        assert!(places[0].0.abs() < 1e-9 && (places[0].1 - height(28e6)).abs() < 1e-6, "{:?}", places[0]);
        // Times that do not belong together leave the trace as it is.
        record.warmup_seconds = vec![6.0];
        assert_eq!((beginning(&record), duration(&record), time_axis(&record, 200.0).low), (None, 5.0, -0.0));
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_peak() {
        let mut places: Vec<Place> = (0..10_000).map(|i| (i as f64 * 0.01, 50.0)).collect();
        places[5_003].1 = 7.0;
        let kept = thinned(&places);
        assert!(kept.len() < 1_300);
        assert_eq!((kept[0], kept[kept.len() - 1]), (places[0], places[9_999]));
        assert!(kept.contains(&places[5_003]));
    }
}
