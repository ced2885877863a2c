//! Every figure of studies at the edge of what readers accept: drawn without a panic, of a bounded size, as XML.

use relgrad_adversary::{Counting, judge};
use relgrad_plots::{Figure, Trend, draw, draw_trend};
use relgrad_reports::fixture;
use relgrad_reports::history::{ChangePoint, Series};
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use relgrad_vocabulary::Method;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Draws every figure that the study allows.
fn draw_all(study: &Study, summary: &Summary) -> Result<(), String> {
    for figure in Figure::ALL {
        if let Ok(drawing) = draw(figure, study, summary) {
            check(drawing.svg())?;
        }
    }
    Ok(())
}

fn check(svg: &str) -> Result<(), String> {
    assert!(svg.len() < 2_000_000, "{} bytes", svg.len());
    assert!(!svg.contains(|c: char| c.is_control() && c != '\n'), "control characters are no XML");
    assert!(!svg.contains("<script"), "an element came from a file");
    assert_eq!(svg.matches('<').count(), svg.matches('>').count(), "marks are escaped");
    Ok(())
}

#[test]
fn extreme_studies_are_drawn_within_bounds() {
    for seed in 0..150 {
        let study = fixture::extreme(seed);
        let summary = Summary::of(&study);
        judge(4 << 20, || draw_all(&study, &summary));
    }
}

#[test]
fn extreme_pictures_are_drawn_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        let study = fixture::extreme(seed);
        let summary = Summary::of(&study);
        for figure in Figure::ALL {
            if let Ok(drawing) = draw(figure, &study, &summary) {
                for (name, magic) in [("figure.png", &b"\x89PNG"[..]), ("figure.pdf", b"%PDF-")] {
                    let path = dir.path().join(name);
                    drawing.write(&path).unwrap();
                    assert!(std::fs::read(&path).unwrap().starts_with(magic));
                }
            }
        }
    }
}

/// A trend whose values lie as far apart as those of a store may.
#[test]
fn extreme_trends_are_drawn_within_bounds() {
    let values = [1e-12, 1e9, 1e-12, 3.0, 1e9, 5e-324, 1.7e308, 1.0];
    for from in 0..values.len() {
        let values: Vec<(usize, f64)> = values.iter().copied().cycle().skip(from).take(40).enumerate().collect();
        let changes = vec![ChangePoint { index: 12, factor: f64::INFINITY, probability: 0.001 }];
        let name = "\u{1b}[2J<script>".repeat(10_000);
        let series = [Series {
            machine: name.clone(),
            name: name.clone(),
            method: Method::Relative.into(),
            dim: 10,
            values,
            changes,
        }];
        let runs = vec![name.clone(); 40];
        let trend = Trend { quantity: "time", heading: &name, runs: &runs, series: &series };
        judge(4 << 20, || check(draw_trend(&trend).unwrap().svg()));
    }
}
