//! Figure 4: memory over time of one gradient, relative beside autodiff.

use relgrad_reports::record::{Outcome, Record};
use relgrad_reports::study::Study;
use relgrad_reports::units::{self, grouped, number};
use relgrad_vocabulary::{DeviceKind, Method};

use super::Spec;
use crate::axis::{Axis, Room, Unit};
use crate::clear::Clear;
use crate::data::Shown;
use crate::panel::{Panel, Titles};
use crate::scene::{Align, Place, Rect, Scene, Stroke, Text};
use crate::style::{BAND, INK, MARGIN, MODEL, NORMAL, PAGE_WIDTH, SMALL, look};

pub(super) const SPEC: Spec = Spec { name: "fig4", device: None, every_batch: false, needs, draw, caption };

/// Height of the panels, in points.
const PANEL_HEIGHT: f64 = 150.0;
/// Between the panels, in points.
const BETWEEN: f64 = 18.0;
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
    let settings = &study.run.settings;
    let is_main = |r: &&Record| (r.cell.point.batch, r.cell.point.layers) == (settings.batch, settings.layers);
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

/// Draws the pair at the width of a page.
fn draw(shown: &Shown<'_>) -> Scene {
    let Some(pair) = pair(shown.study) else { return Scene::default() };
    let y = memory_axis(pair);
    let top = MARGIN + SMALL + 8.0 + NORMAL + 6.0;
    let left = MARGIN + Panel::left_room(&y);
    let right = PAGE_WIDTH - MARGIN - 10.0;
    let width = (right - left - BETWEEN) / 2.0;
    let cell = &pair.relative.cell;
    let heading = [vec![format!("D = {}", grouped(cell.point.dim))], on_device(shown, pair).conditions()].concat();
    let mut scene = Scene::headed(PAGE_WIDTH, left, &heading);
    for (i, record) in [pair.relative, pair.autodiff].into_iter().enumerate() {
        let left = left + i as f64 * (width + BETWEEN);
        let rect = Rect { left, top, right: left + width, bottom: top + PANEL_HEIGHT };
        let x = Axis::linear(duration(record), Unit::Seconds, Room { length: width, label: 38.0 });
        let title = if i == 0 { memory_title(cell.point.device, &y) } else { String::new() };
        draw_panel(&mut scene, &Panel { rect, x, y: y.clone() }, record, &title);
    }
    scene.height = top + PANEL_HEIGHT + Panel::BOTTOM_ROOM + MARGIN;
    scene
}

/// The pair may be of another device than the speed-ups.
fn on_device<'a>(shown: &Shown<'a>, pair: Pair<'_>) -> Shown<'a> {
    Shown { study: shown.study, summary: shown.summary.clone(), device: pair.relative.cell.point.device }
}

fn caption(shown: &Shown<'_>) -> String {
    let Some(pair) = pair(shown.study) else { return "Memory over time of one gradient.".into() };
    let [relative, autodiff] = [pair.relative, pair.autodiff].map(peak);
    format!(
        "Resident memory over time from the allocation of the problem to the end of its first gradient, relative \
         and autodiff, at D = {} ({}). The panels share the memory axis; each has its own time axis. Dashed: the lower \
         bound of the memory model. The peak of autodiff is {} times that of relative ({} and {}).",
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
    let labelled = draw_bound(scene, panel, record, &places);
    panel.line(scene, &places, look.stroke(&[]));
    let x_title = format!("time ({})", panel.x.unit_label);
    panel.draw_axes(scene, Titles { x: &x_title, y: y_title });
    let baseline = top - 5.0;
    let name = Text::new(record.cell.method.name(), (left, baseline), NORMAL).bold().color(look.color);
    scene.text(name);
    let [peak, end, bound] =
        [units::bytes(peak(record)), units::seconds(duration(record)), units::bytes(record.model.min_bytes)];
    let figures = if labelled {
        format!("peak {peak} · ends after {end}")
    } else {
        format!("peak {peak} · bound (dashed) {bound}")
    };
    scene.text(Text::new(figures, (right, baseline), SMALL).align(Align::Right));
}

/// The model's lower bound, labelled where the trace leaves room; whether it did.
fn draw_bound(scene: &mut Scene, panel: &Panel, record: &Record, trace: &[Place]) -> bool {
    let bound = record.model.min_bytes;
    let Some((_, y)) = panel.place(panel.x.high, bound) else { return true };
    let Rect { left, right, .. } = panel.rect;
    scene.line(&[(left, y), (right, y)], Stroke { color: INK, width: 0.9, dash: MODEL });
    let mut clear = Clear::new(panel.rect);
    clear.take_line(trace, 1.6);
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
    scene.first_clear(&clear, candidates.map(label)).is_some()
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
        Axis::log_between(low / 10.0, high * 2.0, Unit::Bytes, room)
    } else {
        Axis::linear(high * 1.1, Unit::Bytes, Room { length: PANEL_HEIGHT, label: 24.0 })
    }
}

fn memory_title(device: DeviceKind, axis: &Axis) -> String {
    let memory = if device == DeviceKind::Cpu { "resident memory" } else { "device memory" };
    if axis.unit_label.is_empty() { memory.into() } else { format!("{memory} ({})", axis.unit_label) }
}

/// The trace on the page: clamped to the panel, and thinned to what a printer can tell apart.
fn places(panel: &Panel, record: &Record) -> Vec<Place> {
    let mut points: Vec<_> = record
        .memory_trace
        .iter()
        .filter(|p| p.seconds.is_finite() && p.bytes.is_finite())
        .map(|p| (p.seconds, p.bytes.clamp(panel.y.low, panel.y.high)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    thinned(&panel.places(points))
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

fn duration(record: &Record) -> f64 {
    record.memory_trace.iter().map(|p| p.seconds).filter(|s| s.is_finite()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

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
