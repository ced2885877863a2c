//! The trend of a history: how much each series changed since its first run, with the points where its level changed.

use std::collections::BTreeSet;

use relgrad_reports::export::{Chart, ChartAxis, ChartCurve, ChartPanel, ChartPoint};
use relgrad_reports::history::Series;
use relgrad_reports::summary::Estimate;
use relgrad_reports::units;

use crate::Drawing;
use crate::axis::{Axis, Tick};
use crate::chart;
use crate::error::{Error, Result};
use crate::legend::{self, Key, Sign};
use crate::panel::{Panel, Titles};
use crate::scene::{Rect, Scene, Stroke, Text};
use crate::style::{FAINT, GREY, Look, MARGIN, PAGE_WIDTH, SMALL, by_place};

/// Height of the panel, in points.
const PANEL_HEIGHT: f64 = 150.0;
/// Room above the panel for the revisions at the change points, in points.
const REVISION_ROOM: f64 = 46.0;
/// Most series that one figure can tell apart.
pub const MOST_TRENDS: usize = 6;

/// What a trend figure shows.
#[derive(Debug, Clone, Copy)]
pub struct Trend<'a> {
    /// What the numbers are, for instance `time`.
    pub quantity: &'a str,
    /// The line above the panel: what all series have in common.
    pub heading: &'a str,
    /// Short name of every run, oldest first; series refer to runs by their index.
    pub runs: &'a [String],
    /// At most [`MOST_TRENDS`].
    pub series: &'a [Series],
}

/// Draws a trend, 170 mm wide.
///
/// # Errors
/// [`Error::NoTrend`] without a series of two runs, or with more series than can be told apart; [`Error::Render`].
pub fn draw_trend(trend: &Trend<'_>) -> Result<Drawing> {
    let long_enough = trend.series.iter().any(|s| s.values.len() >= 2);
    if !long_enough || trend.series.len() > MOST_TRENDS {
        return Err(Error::NoTrend { most: MOST_TRENDS });
    }
    let title = format!("{} since the first run: {}", trend.quantity, trend.heading);
    Ok(Drawing { chart: Some(numbers(trend)), ..Drawing::of(scene(trend), title, 1.0)? })
}

/// The numbers with which a page's script draws it again; the page adds the words.
fn numbers(trend: &Trend<'_>) -> Chart {
    let point = |(run, percent): (f64, f64)| {
        let ratio = Estimate::exact(1.0 + percent / 100.0);
        ChartPoint::new(run, String::new(), Some(ratio), String::new())
    };
    let curve = |(series, look): (&Series, Look)| ChartCurve {
        name: series.name.clone(),
        color: chart::hex(look.color),
        marker: look.marker.name(),
        dash: look.dash.to_vec(),
        points: percents(series).map(point).collect(),
        processes: Vec::new(),
        stop: None,
        model: Vec::new(),
    };
    let marks =
        changed_runs(trend).into_iter().filter_map(|run| Some(((run + 1) as f64, trend.runs.get(run)?.clone())));
    let axis = |title: &str, unit| ChartAxis { title: title.into(), unit, log: false, least: None };
    let panel = ChartPanel {
        x: axis("run", "run"),
        y: axis(&format!("change of {}", trend.quantity), "change"),
        joined: true,
        curves: trend.series.iter().zip((0..).map(by_place)).map(curve).collect(),
        levels: vec![(1.0, String::new())],
        slopes: Vec::new(),
        marks: marks.collect(),
    };
    Chart { style: chart::style(), panels: vec![panel] }
}

fn scene(trend: &Trend<'_>) -> Scene {
    let mut scene = Scene::headed(PAGE_WIDTH, MARGIN, &[trend.heading.to_string()]);
    let panel = lay_out(trend);
    panel.draw_grid(&mut scene);
    if let (Some(left), Some(right)) = (panel.place(panel.x.low, 0.0), panel.place(panel.x.high, 0.0)) {
        scene.line(&[left, right], Stroke { color: GREY, width: 0.7, dash: &[] });
    }
    draw_changes(&mut scene, &panel, trend);
    let looks = || (0..).map(by_place);
    for (series, look) in trend.series.iter().zip(looks()) {
        let places = panel.places(percents(series));
        panel.line(&mut scene, &places, look.stroke(look.dash));
        for place in places.into_iter().filter(|place| panel.rect.holds(*place)) {
            scene.marker(look.marker, place, look.color, false);
        }
    }
    let title = format!("change of {} in %", trend.quantity);
    panel.draw_axes(&mut scene, Titles { x: "run", y: &title });
    let named = trend.series.iter().zip(looks());
    let keys = named.map(|(series, look)| Key { sign: Sign::Curve(look), text: series.name.clone() }).collect();
    let top = panel.rect.bottom + Panel::BOTTOM_ROOM + 5.0;
    legend::draw(&mut scene, &[keys], &[], top);
    scene
}

/// Run, counted from 1, and change since the first run of the series in percent.
fn percents(series: &Series) -> impl Iterator<Item = (f64, f64)> {
    let first = series.values.first().map_or(1.0, |(_, value)| *value);
    series.values.iter().map(move |(run, value)| ((run + 1) as f64, 100.0 * (value / first - 1.0)))
}

/// A line at every run where a level begins, with the run's name; names that would touch the one before are left out.
fn draw_changes(scene: &mut Scene, panel: &Panel, trend: &Trend<'_>) {
    let mut free_from = f64::NEG_INFINITY;
    for run in changed_runs(trend) {
        let Some((x, _)) = panel.place((run + 1) as f64, panel.y.low) else { continue };
        let Rect { top, bottom, .. } = panel.rect;
        scene.line(&[(x, top), (x, bottom)], Stroke { color: GREY, width: 0.9, dash: &[3.0, 2.0] });
        if let Some(name) = trend.runs.get(run).filter(|_| x > free_from) {
            let name = legend::shortened(name, REVISION_ROOM - 4.0, SMALL);
            scene.text(Text::new(name, (x + 0.38 * SMALL, top - 3.0), SMALL).color(GREY).upwards());
            free_from = x + 1.2 * SMALL;
        }
    }
    scene.line(
        &[(panel.rect.left, panel.rect.top), (panel.rect.right, panel.rect.top)],
        Stroke { color: FAINT, width: 0.5, dash: &[] },
    );
}

/// The runs where a level begins, ascending, each once.
fn changed_runs(trend: &Trend<'_>) -> BTreeSet<usize> {
    trend.series.iter().flat_map(|s| s.changes.iter().map(|c| c.index)).collect()
}

fn lay_out(trend: &Trend<'_>) -> Panel {
    let values: Vec<(f64, f64)> = trend.series.iter().flat_map(percents).collect();
    let bounds = |of: &dyn Fn(&(f64, f64)) -> f64| {
        values.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((first, last), (low, high)) = (bounds(&|v| v.0), bounds(&|v| v.1));
    let (low, high) = (low.min(0.0), high.max(0.0));
    let margin = 0.08 * (high - low).max(5.0);
    let y = Axis::stepped(low - margin, high + margin, PANEL_HEIGHT / 24.0, signed);
    let left = MARGIN + Panel::left_room(&y);
    let right = PAGE_WIDTH - MARGIN - SMALL;
    let x = Axis::stepped(first - 0.5, last + 0.5, (right - left) / 40.0, units::number);
    let whole = |tick: &Tick| tick.value.fract() == 0.0;
    let x = Axis { ticks: x.ticks.into_iter().filter(whole).collect(), ..x };
    let top = MARGIN + SMALL + REVISION_ROOM;
    Panel { rect: Rect { left, top, right, bottom: top + PANEL_HEIGHT }, x, y }
}

fn signed(value: f64) -> String {
    let size = units::number(value.abs());
    match value {
        v if v > 0.0 => format!("+{size}"),
        v if v < 0.0 => format!("−{size}"),
        _ => "0".into(),
    }
}

#[cfg(test)]
mod tests {
    use relgrad_reports::history::ChangePoint;
    use relgrad_vocabulary::Method;

    use super::*;
    use crate::scene::Shape;

    fn series(name: &str, values: &[f64], change: Option<usize>) -> Series {
        Series {
            machine: "machine".into(),
            name: name.into(),
            method: Method::Relative.into(),
            dim: 1000,
            values: values.iter().copied().enumerate().collect(),
            changes: change.map(|index| ChangePoint { index, factor: 1.2, probability: 0.001 }).into_iter().collect(),
        }
    }

    fn runs(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("{i:07x}")).collect()
    }

    #[test]
    fn a_trend_shows_every_run_its_change_and_where_it_begins() {
        let mut values = vec![1e-3; 12];
        values.extend([1.2e-3; 9]);
        let trend = Trend {
            quantity: "time",
            heading: "Example CPU",
            runs: &runs(21),
            series: &[series("relative/D=1000", &values, Some(12))],
        };
        let drawing = draw_trend(&trend).expect("a trend");
        let markers = drawing.scene.shapes.iter().filter(|s| matches!(s, Shape::Disc { .. })).count();
        // Two discs a marker, and one marker in the legend.
        assert_eq!(markers, 2 * (21 + 1));
        assert!(drawing.svg().contains("000000c"), "the revision of the change is named");
        assert!(drawing.svg().contains("+20"), "the axis reaches the change");
    }

    #[test]
    fn nothing_to_compare_and_too_much_are_refused() {
        let one = [series("a", &[1.0], None)];
        let many: Vec<Series> = (0..7).map(|i| series(&i.to_string(), &[1.0, 1.1], None)).collect();
        for series in [&one[..], &many] {
            let trend = Trend { quantity: "time", heading: "", runs: &runs(2), series };
            assert!(matches!(draw_trend(&trend), Err(Error::NoTrend { .. })));
        }
    }
}
