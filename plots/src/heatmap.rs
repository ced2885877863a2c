//! Speed-up of relative over each baseline, over the data dimension and the batch size.

use std::collections::BTreeSet;

use plotters::style::RGBColor;
use relgrad_reports::study::Study;
use relgrad_reports::summary::{Series, Summary};
use relgrad_reports::units::{grouped, number, ratio};
use relgrad_vocabulary::Method;

use crate::chart;
use crate::data;
use crate::font::{self, Weight};
use crate::scene::{Align, Rect, Scene, Text};
use crate::style::{FAINT, GREY, INK, MARGIN, NORMAL, PAGE_WIDTH, PAPER, SMALL};

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

/// Whether a sweep varied the batch size, has speed-ups at two of them, and not more places than a map can show.
pub(crate) fn available(study: &Study, summary: &Summary) -> bool {
    Method::BASELINES.into_iter().any(|baseline| {
        let values = values(study, summary, baseline);
        let batches: BTreeSet<usize> = values.iter().map(|v| v.batch).collect();
        let dims: BTreeSet<usize> = values.iter().map(|v| v.dim).collect();
        (2..=MOST_ROWS).contains(&batches.len()) && dims.len() <= MOST_COLUMNS
    })
}

/// Draws a panel for each baseline that has speed-ups, below one another.
pub(crate) fn draw(study: &Study, summary: &Summary) -> Scene {
    let mut scene = Scene { width: PAGE_WIDTH, ..Scene::default() };
    let conditions = data::conditions_but_batch(study, data::main_device(summary));
    let heading = chart::heading(&conditions, PAGE_WIDTH);
    scene.text(Text::new(heading, (MARGIN, MARGIN + 0.76 * SMALL), SMALL).color(GREY));
    let mut top = MARGIN + SMALL + 8.0;
    for baseline in Method::BASELINES {
        let values = values(study, summary, baseline);
        if !values.is_empty() {
            top = draw_panel(&mut scene, &values, &format!("{} over {baseline}", Method::Relative), top) + 8.0;
        }
    }
    scene.height = top - 8.0 + MARGIN;
    scene
}

fn values(study: &Study, summary: &Summary, baseline: Method) -> Vec<Value> {
    let device = data::main_device(summary);
    let of_series = |series: &Series| -> Vec<Value> {
        let measured = data::measured(series, |p| data::speedup(p, baseline));
        let value = |(dim, e): (f64, _)| Value { dim: dim as usize, batch: series.batch, speedup: e };
        measured.into_iter().map(|(dim, e)| value((dim, e.value))).collect()
    };
    summary
        .series
        .iter()
        .filter(|s| s.method == Method::Relative && s.device == device && s.layers == study.run.settings.layers)
        .flat_map(of_series)
        .collect()
}

/// Draws one panel from `top` down and returns where it ends.
fn draw_panel(scene: &mut Scene, values: &[Value], title: &str, top: f64) -> f64 {
    let dims: Vec<usize> = values.iter().map(|v| v.dim).collect::<BTreeSet<_>>().into_iter().collect();
    let batches: Vec<usize> = values.iter().map(|v| v.batch).collect::<BTreeSet<_>>().into_iter().rev().collect();
    let row_label = |batch: usize| format!("N = {}", grouped(batch));
    let widest = batches.iter().map(|b| font::width(&row_label(*b), SMALL, Weight::Regular)).fold(0.0, f64::max);
    let left = MARGIN + widest + 5.0;
    let column = ((PAGE_WIDTH - MARGIN - left) / dims.len() as f64).min(WIDEST_COLUMN);
    scene.text(Text::new(title, (MARGIN, top + NORMAL), NORMAL).bold());
    let top = top + NORMAL + 6.0;
    for (row, &batch) in batches.iter().enumerate() {
        let y = top + row as f64 * ROW;
        let baseline = y + ROW / 2.0 + font::CAPITAL_HEIGHT / 2.0 * SMALL;
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
fn draw_dims(scene: &mut Scene, dims: &[usize], (left, column): (f64, f64), baseline: f64) {
    let widest = dims.iter().map(|d| font::width(&grouped(*d), SMALL, Weight::Regular)).fold(0.0, f64::max);
    let stride = ((widest + 3.0) / column).ceil().max(1.0) as usize;
    for (i, dim) in dims.iter().enumerate().step_by(stride) {
        let at = (left + (i as f64 + 0.5) * column, baseline);
        scene.text(Text::new(grouped(*dim), at, SMALL).align(Align::Center));
    }
}

fn draw_cell(scene: &mut Scene, cell: Rect, speedup: Option<f64>) {
    let corners =
        vec![(cell.left, cell.top), (cell.right, cell.top), (cell.right, cell.bottom), (cell.left, cell.bottom)];
    let (color, share) = match speedup {
        None => (FAINT, 0.0),
        Some(speedup) => {
            let share = (speedup.ln().abs() / FULL.ln()).min(1.0).sqrt();
            (mixed(if speedup >= 1.0 { FASTER } else { SLOWER }, share), share)
        }
    };
    scene.area(corners, color, 1.0);
    let ink = if share > 0.55 { PAPER } else { INK };
    let texts = speedup.map_or(vec!["–".to_string()], |s| vec![ratio(s), short(s)]);
    let fits = |text: &String| font::width(text, SMALL, Weight::Regular) <= cell.width() - 1.0;
    if let Some(text) = texts.into_iter().find(fits) {
        let baseline = (cell.top + cell.bottom) / 2.0 + font::CAPITAL_HEIGHT / 2.0 * SMALL;
        let at = ((cell.left + cell.right) / 2.0, baseline);
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
