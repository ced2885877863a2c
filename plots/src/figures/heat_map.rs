//! Speed-up of relative over each baseline, over the data dimension and the batch size.

use std::collections::BTreeSet;

use plotters::style::RGBColor;
use relgrad_reports::summary::Series;
use relgrad_reports::units::{grouped, number, ratio};
use relgrad_vocabulary::Method;

use super::{Content, Spec};
use crate::data::{self, Along, Shown};
use crate::font::{self, Weight};
use crate::scene::{Align, Rect, Scene, Text};
use crate::style::{FAINT, INK, MARGIN, NORMAL, PAPER, SMALL};

pub(super) const SPEC: Spec = Spec {
    name: "heat-map",
    device: None,
    along: Along::Batch,
    needs,
    content: Content::Scene(draw, |_| None),
    caption,
};

/// Height of a row, in points.
const ROW: f64 = 17.0;
/// Widest column, in points.
const WIDEST_COLUMN: f64 = 64.0;
/// Most batch sizes and dimensions of a map: beyond them a cell could not be told from its neighbours.
const MOST_ROWS: usize = 60;
const MOST_COLUMNS: usize = 200;
/// White between two cells, in points.
const GAP: f64 = 0.8;
/// Colour where relative is faster, and where the baseline is.
const FASTER: RGBColor = RGBColor(0x00, 0x5a, 0x9c);
const SLOWER: RGBColor = RGBColor(0xb8, 0x4a, 0x00);
/// Speed-up of the full colour; beyond it nothing gets darker.
const FULL: f64 = 1000.0;

/// A speed-up at its place.
struct Value {
    dim: usize,
    batch: usize,
    speedup: f64,
}

/// Speed-ups at several batch sizes, and not more places than a map can show.
fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let is_map = |baseline| {
        let (dims, batches) = axes(&values(shown, baseline));
        (2..=MOST_ROWS).contains(&batches.len()) && dims.len() <= MOST_COLUMNS
    };
    let missing = "speed-ups exist at one batch size only, or at too many: run `relgrad sweep` with several, as in \
                   --batch 10,100,1000";
    super::require(Method::BASELINES.into_iter().any(is_map), missing)
}

/// Draws a panel for each baseline that has speed-ups, below one another.
fn draw(shown: &Shown<'_>) -> Scene {
    let mut scene = Scene::headed(shown.paper.page(), MARGIN, &shown.conditions());
    let mut top = MARGIN + SMALL + 8.0;
    for baseline in Method::BASELINES {
        let values = values(shown, baseline);
        if !values.is_empty() {
            top = draw_panel(&mut scene, &values, &format!("{} over {baseline}", Method::Relative), top) + 8.0;
        }
    }
    scene.height = top - 8.0 + MARGIN;
    scene
}

fn caption(shown: &Shown<'_>) -> String {
    format!(
        "Time of the baseline divided by that of relative, over the data dimension D and the batch size N ({}). \
         Blue: relative is faster; orange: the baseline is. Grey: one of the two has no measurement.",
        shown.conditions_of_machine()
    )
}

fn values(shown: &Shown<'_>, baseline: Method) -> Vec<Value> {
    let of_series = |series: &Series| {
        let measured = data::measured(series, |p| data::speedup(p, baseline));
        let batch = series.batch;
        measured.into_iter().map(move |(dim, e)| Value { dim: dim as usize, batch, speedup: e.value })
    };
    shown.series().filter(|s| s.method == Method::Relative).flat_map(of_series).collect()
}

/// The dimensions and batch sizes of some values, ascending.
fn axes(values: &[Value]) -> (BTreeSet<usize>, BTreeSet<usize>) {
    (values.iter().map(|v| v.dim).collect(), values.iter().map(|v| v.batch).collect())
}

/// Draws one panel from `top` down and returns where it ends.
fn draw_panel(scene: &mut Scene, values: &[Value], title: &str, top: f64) -> f64 {
    let (dims, batches) = axes(values);
    let row_label = |batch: usize| format!("N = {}", grouped(batch));
    let widest = font::widest(batches.iter().map(|b| row_label(*b)));
    let left = MARGIN + widest + 5.0;
    let column = ((scene.width - MARGIN - left) / dims.len() as f64).min(WIDEST_COLUMN);
    scene.text(Text::new(title, (MARGIN, top + NORMAL), NORMAL).bold());
    let top = top + NORMAL + 6.0;
    for (row, &batch) in batches.iter().rev().enumerate() {
        let y = top + row as f64 * ROW;
        let baseline = font::baseline(y + ROW / 2.0);
        scene.text(Text::new(row_label(batch), (left - 5.0, baseline), SMALL).align(Align::Right));
        for (i, &dim) in dims.iter().enumerate() {
            let x = left + i as f64 * column;
            let cell = Rect { left: x + GAP, top: y + GAP, right: x + column - GAP, bottom: y + ROW - GAP };
            let value = values.iter().find(|v| (v.dim, v.batch) == (dim, batch));
            draw_cell(scene, cell, value.map(|v| v.speedup));
        }
    }
    let bottom = top + batches.len() as f64 * ROW;
    draw_dims(scene, &dims, (left, column), bottom + 2.0 + 0.76 * SMALL);
    let title_at = (left + dims.len() as f64 * column / 2.0, bottom + SMALL + 5.0 + 0.76 * NORMAL);
    scene.text(Text::new("data dimension D", title_at, NORMAL).align(Align::Center));
    bottom + SMALL + 5.0 + 1.1 * NORMAL
}

/// As many labels as have room.
fn draw_dims(scene: &mut Scene, dims: &BTreeSet<usize>, (left, column): (f64, f64), baseline: f64) {
    let widest = font::widest(dims.iter().map(|d| grouped(*d)));
    let stride = ((widest + 3.0) / column).ceil().max(1.0) as usize;
    for (i, dim) in dims.iter().enumerate().step_by(stride) {
        let at = (left + (i as f64 + 0.5) * column, baseline);
        scene.text(Text::new(grouped(*dim), at, SMALL).align(Align::Center));
    }
}

fn draw_cell(scene: &mut Scene, cell: Rect, speedup: Option<f64>) {
    let (color, share) = match speedup {
        None => (FAINT, 0.0),
        Some(speedup) => {
            let share = (speedup.ln().abs() / FULL.ln()).min(1.0).sqrt();
            (mixed(if speedup >= 1.0 { FASTER } else { SLOWER }, share), share)
        }
    };
    scene.area(cell.corners().to_vec(), color, 1.0);
    let ink = if share > 0.55 { PAPER } else { INK };
    let texts = speedup.map_or(vec!["–".to_string()], |s| vec![ratio(s), short(s)]);
    let fits = |text: &String| font::width(text, SMALL, Weight::Regular) <= cell.width() - 1.0;
    if let Some(text) = texts.into_iter().find(fits) {
        let at = ((cell.left + cell.right) / 2.0, font::baseline((cell.top + cell.bottom) / 2.0));
        scene.text(Text::new(text, at, SMALL).align(Align::Center).color(ink));
    }
}

/// Two significant digits where there is no room for three and a sign.
fn short(speedup: f64) -> String {
    let unit = 10f64.powf(speedup.log10().floor() - 1.0);
    number((speedup / unit).round() * unit)
}

/// White mixed with `share` of a colour.
fn mixed(color: RGBColor, share: f64) -> RGBColor {
    let mix = |c: u8| (255.0 - share * (255.0 - f64::from(c))).round() as u8;
    RGBColor(mix(color.0), mix(color.1), mix(color.2))
}
