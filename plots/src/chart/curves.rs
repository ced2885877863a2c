//! The curves of a panel: intervals, lines, processes, markers, and the marks of what goes beyond an axis.

use plotters::style::RGBColor;
use relgrad_reports::summary::Estimate;

use super::{Curve, Intervals, Plot, StopMark, spread};
use crate::font::{self, Weight};
use crate::panel::Panel;
use crate::scene::{Place, Rect, Scene, Stroke, Text};
use crate::style::{BAND, INK, Look, MODEL, PREDICTED, SMALL};

/// Distance of two curves' bars, and of their marks at the end of an axis, in points.
const BAR_STEP: f64 = 3.6;
const MARK_STEP: f64 = 4.6;
/// Most that bars and marks next to one another take, in points: with more of them they overlap, and stay on the page.
const WIDEST: f64 = 26.0;

/// How far to the right of their places the bars and markers of each curve stand: next to one another.
pub(super) fn shifts(plot: &Plot<'_>) -> impl Iterator<Item = f64> {
    let (curves, is_bars) = (plot.curves.len(), plot.intervals == Intervals::Bars);
    (0..curves).map(move |i| if is_bars { beside(i, curves, BAR_STEP) } else { 0.0 })
}

/// The distance from the middle of the `i`-th of some things next to one another.
fn beside(i: usize, count: usize, step: f64) -> f64 {
    step.min(WIDEST / (count as f64 - 1.0).max(1.0)) * (i as f64 - (count as f64 - 1.0) / 2.0)
}

/// Draws intervals, lines and markers; the first series is the one a reader looks for, and lies on top.
pub(super) fn draw_curves(scene: &mut Scene, panel: &Panel, plot: &Plot<'_>) {
    let is_bars = plot.intervals == Intervals::Bars;
    let mut curves: Vec<(&Curve, f64)> = plot.curves.iter().zip(shifts(plot)).collect();
    curves.reverse();
    for (curve, shift) in &curves {
        if is_bars {
            let stroke = Stroke { color: curve.look.color, width: 0.8, dash: &[] };
            bars(panel, curve, *shift).iter().for_each(|bar| scene.line(bar, stroke));
        } else {
            draw_band(scene, panel, &curve.measured, curve.look.color);
        }
    }
    for (curve, shift) in &curves {
        let look = curve.look;
        panel.line(scene, &panel.places(curve.model.iter().copied()), look.thin(MODEL));
        if let Some(line) = predicted_line(panel, curve) {
            panel.line(scene, &line, look.stroke(PREDICTED));
        }
        if !is_bars {
            panel.line(scene, &measured_places(panel, curve), look.stroke(look.dash));
        }
        let processes = panel.places(curve.processes.iter().copied());
        for (x, y) in processes.into_iter().filter(|place| panel.rect.holds(*place)) {
            scene.dot((x + shift, y), look.color);
        }
    }
    for (curve, shift) in &curves {
        for ((x, y), (_, e)) in measured_places(panel, curve).into_iter().zip(&curve.measured) {
            let place = (x + shift, y);
            if panel.rect.holds(place) {
                if plot.exceeds(e.value) {
                    scene.ring(place, INK);
                }
                scene.marker(curve.look.marker, place, curve.look.color, false);
            }
        }
        draw_stop(scene, panel, curve);
    }
    draw_marks(scene, panel, plot);
}

/// From the end of a curve to its label, in points.
pub(super) const TO_LABEL: f64 = 5.0;

/// Draws the labels of the curves to the right of their ends, those that would overlap below one another; a thin line
/// leads to one that had to move.
pub(super) fn draw_labels(scene: &mut Scene, panel: &Panel, plot: &Plot<'_>) {
    const MOVED: f64 = 0.6 * SMALL;
    for Label { curve, end, at } in place_labels(panel, plot) {
        let Curve { label, look, .. } = curve;
        if (at - end.1).abs() > MOVED {
            let stroke = Stroke { color: look.color, width: 0.4, dash: &[] };
            scene.line(&[end, (end.0 + TO_LABEL - 1.0, at)], stroke);
        }
        scene.text(Text::new(label, (end.0 + TO_LABEL, font::baseline(at)), SMALL).color(look.color));
    }
}

/// A label, the end of its curve, and the height at which it stands.
pub(super) struct Label<'a> {
    curve: &'a Curve,
    end: Place,
    at: f64,
}

impl Label<'_> {
    /// The line through the middle of its text.
    pub(super) fn line(&self) -> [Place; 2] {
        let start = self.end.0 + TO_LABEL;
        [(start, self.at), (start + font::width(&self.curve.label, SMALL, Weight::Regular), self.at)]
    }
}

pub(super) fn place_labels<'a>(panel: &Panel, plot: &'a Plot<'_>) -> Vec<Label<'a>> {
    const APART: f64 = SMALL + 1.5;
    let labelled = plot.curves.iter().filter(|curve| !curve.label.is_empty());
    let end = |curve: &'a Curve| {
        let places = if curve.measured.is_empty() {
            panel.places(curve.model.iter().copied())
        } else {
            measured_places(panel, curve)
        };
        Some(Label { curve, end: *places.last()?, at: 0.0 })
    };
    let mut labels: Vec<Label<'_>> = labelled.filter_map(end).collect();
    labels.sort_by(|a, b| a.end.1.total_cmp(&b.end.1));
    // Only labels at the same height and one beside another overlap: curves may end at different places.
    let meets = |a: &Label<'_>, b: &Label<'_>| {
        let [a, b] = [a.line(), b.line()];
        a[0].0 < b[1].0 && b[0].0 < a[1].0
    };
    // From the top down, and from the bottom up where that pushed them out of the panel.
    for i in 0..labels.len() {
        let above = labels[..i].iter().filter(|other| meets(other, &labels[i])).map(|other| other.at + APART);
        labels[i].at = above.fold(labels[i].end.1.max(panel.rect.top + SMALL / 2.0), f64::max);
    }
    for i in (0..labels.len()).rev() {
        let below = labels[i + 1..].iter().filter(|other| meets(other, &labels[i])).map(|other| other.at - APART);
        labels[i].at = below.fold(labels[i].at.min(panel.rect.bottom - SMALL / 2.0), f64::min);
    }
    labels
}

fn draw_stop(scene: &mut Scene, panel: &Panel, curve: &Curve) {
    let Look { color, marker, .. } = curve.look;
    let Some(stop) = &curve.stop else { return };
    match stop.predicted.and_then(|p| panel.place(stop.dim, p.value)) {
        Some(place) if panel.rect.holds(place) => {
            draw_prediction_interval(scene, panel, stop, color);
            scene.marker(marker, place, color, true);
        }
        Some(_) => {}
        None => {
            if let Some((x, _)) = panel.place(stop.dim, panel.y.high) {
                scene.cross((x, panel.rect.top + 4.0), color);
            }
        }
    }
}

/// The dimensions at which something of a curve goes beyond the vertical axis, each with the end of the axis.
pub(super) fn clipped(panel: &Panel, curve: &Curve) -> Vec<(f64, bool)> {
    let is_outside = |(_, value): &(f64, f64)| *value < panel.y.low || *value > panel.y.high;
    let mut clipped: Vec<_> = spread(curve).filter(is_outside).map(|(dim, v)| (dim, v > panel.y.high)).collect();
    clipped.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    clipped.dedup();
    clipped
}

pub(super) fn clips(panel: &Panel, plot: &Plot<'_>) -> bool {
    plot.curves.iter().any(|curve| !clipped(panel, curve).is_empty())
}

/// Triangles at the ends of the axis that point to where intervals and processes go on, those of several curves next to
/// one another.
fn draw_marks(scene: &mut Scene, panel: &Panel, plot: &Plot<'_>) {
    let of_curve = |curve: &Curve| clipped(panel, curve).into_iter().map(|place| (place, curve.look.color)).collect();
    let marks: Vec<Vec<((f64, bool), RGBColor)>> = plot.curves.iter().map(of_curve).collect();
    for (marks_of_curve, shift) in marks.iter().zip(shifts(plot)) {
        for &(place, color) in marks_of_curve {
            let Some((x, _)) = panel.place(place.0, panel.y.high) else { continue };
            let shift = if plot.intervals == Intervals::Bars {
                shift
            } else {
                let same: Vec<RGBColor> =
                    marks.iter().flatten().filter(|(p, _)| *p == place).map(|(_, c)| *c).collect();
                beside(same.iter().position(|c| *c == color).unwrap_or(0), same.len(), MARK_STEP)
            };
            let Rect { left, right, top, bottom } = panel.rect;
            scene.wedge(((x + shift).clamp(left, right), if place.1 { top } else { bottom }), place.1, color);
        }
    }
}

/// A bar at each value of a curve, `shift` points to the right.
pub(super) fn bars(panel: &Panel, curve: &Curve, shift: f64) -> Vec<Vec<Place>> {
    let has_bar = curve.measured.iter().filter(|(_, e)| e.low < e.high);
    let ends = has_bar.map(|(dim, e)| [e.low, e.high].map(|end| (*dim, end.clamp(panel.y.low, panel.y.high))));
    ends.map(|ends| panel.places(ends).into_iter().map(|(x, y)| (x + shift, y)).collect()).collect()
}

/// A thin bar with caps: what is expected is not measured.
fn draw_prediction_interval(scene: &mut Scene, panel: &Panel, stop: &StopMark, color: RGBColor) {
    const CAP: f64 = 2.0;
    let Some(Estimate { low, high, .. }) = stop.predicted.filter(|p| p.low < p.high) else { return };
    let inside = |value: f64| panel.place(stop.dim, value.clamp(panel.y.low, panel.y.high));
    let (Some(low), Some(high)) = (inside(low), inside(high)) else { return };
    let stroke = Stroke { color, width: 0.8, dash: &[] };
    scene.line(&[low, high], stroke);
    for (x, y) in [low, high] {
        scene.line(&[(x - CAP, y), (x + CAP, y)], stroke);
    }
}

/// The 95 % band; a single point gets a bar.
fn draw_band(scene: &mut Scene, panel: &Panel, measured: &[(f64, Estimate)], color: RGBColor) {
    if !has_interval(measured) {
        return;
    }
    let inside = |value: f64| value.clamp(panel.y.low, panel.y.high);
    let highs = panel.places(measured.iter().map(|(dim, e)| (*dim, inside(e.high))));
    let mut lows = panel.places(measured.iter().map(|(dim, e)| (*dim, inside(e.low))));
    if let ([low], [high]) = (&lows[..], &highs[..]) {
        scene.line(&[*low, *high], Stroke { color, width: 1.0, dash: &[] });
        return;
    }
    lows.reverse();
    scene.area([highs, lows].concat(), color, BAND);
}

pub(super) fn measured_places(panel: &Panel, curve: &Curve) -> Vec<Place> {
    panel.places(curve.measured.iter().map(|(dim, e)| (*dim, e.value)))
}

/// From the last measured place to the predicted one.
pub(super) fn predicted_line(panel: &Panel, curve: &Curve) -> Option<[Place; 2]> {
    let stop = curve.stop.as_ref()?;
    let to = panel.place(stop.dim, stop.predicted?.value)?;
    let from = measured_places(panel, curve).last().copied().unwrap_or(to);
    Some([from, to])
}

pub(super) fn has_interval(measured: &[(f64, Estimate)]) -> bool {
    measured.iter().any(|(_, e)| e.low < e.high)
}
