//! What must hold of every figure of an experiment.

use relgrad_reports::experiment::{
    Curve, DensityPanel, DensityRow, Dot, DotPanel, Figure, Level, LinePanel, Pictures, ScalpMap, ScalpMaps,
    ScatterPanel, ScatterPoint,
};
use relgrad_vocabulary::Method;

use crate::tests::assert_legible;
use crate::{Error, draw_experiment};

fn curve(name: &str, slope: f64) -> Curve {
    Curve { name: name.into(), points: (0..50).map(|i| (f64::from(i), slope * f64::from(i) - 1400.0)).collect() }
}

fn panel(x_title: &str) -> LinePanel {
    LinePanel {
        x_title: x_title.into(),
        logarithmic: x_title == "seconds",
        y_title: "log-likelihood (nats)".into(),
        y_range: None,
        curves: vec![curve("relative", 0.5), curve("relative", 0.4), curve("ordinary", 0.1), curve("Adam", -0.1)],
        levels: vec![Level { name: "paper: −1375.2".into(), value: -1375.2 }],
    }
}

/// One point for each method, and one that has no place.
fn scatter(of: &str) -> ScatterPanel {
    let place = |i: usize| (0.001 * 1.7_f64.powi(i as i32), 0.5 * 1.9_f64.powi(i as i32));
    let point = |(name, (x, y)): (&str, (f64, f64))| ScatterPoint { name: name.into(), x, y };
    let methods = Method::ALL.iter().enumerate().map(|(i, method)| point((method.name(), place(i))));
    let points = methods.chain([point(("nowhere", (0.0, 1.0)))]).collect();
    ScatterPanel { x_title: format!("{of}: relative error"), y_title: "time over relative".into(), points }
}

fn figures() -> Vec<(&'static str, Figure)> {
    let density = |title: &str| DensityPanel {
        title: title.into(),
        side: 16,
        values: (0..256).map(|i| if i == 7 { f32::NAN } else { i as f32 }).collect(),
    };
    let row = |name: &str| DensityRow {
        name: name.into(),
        window: [-4.0, 4.0, -4.0, 4.0],
        samples: vec![[0.0, 0.0], [9.0, 0.0], [-4.0, 4.0]],
        densities: vec![density("relative, SGD: −1.23 nats (entropy 1.20), a long title"), density("Adam")],
    };
    let dot = |name: &str, value: Option<f64>| Dot {
        name: name.into(),
        value,
        interval: value.map(|v| (0.9 * v, 1.2 * v)),
        note: "a note beside it that is rather long for the room it has".into(),
    };
    let dots = |logarithmic| {
        Figure::Dots(DotPanel {
            x_title: "seconds an epoch".into(),
            logarithmic,
            reference: Some(Level { name: "the paper".into(), value: 1.0 }),
            rows: vec![dot("relative", Some(3.0)), dot("autodiff (scaled)", Some(412.0)), dot("gas", None)],
        })
    };
    let pictures = Pictures {
        across: 4,
        size: (3, 2),
        pictures: vec![vec![0, 50, 100, 150, 200, 255]; 7],
        lines: vec!["drawn from the model".into()],
    };
    let map = |i: usize| ScalpMap { title: format!("{i}: 12.5 % of all"), values: vec![i as f64, -1.0, f64::NAN] };
    let maps = ScalpMaps {
        across: 3,
        electrodes: vec![[0.0, 0.5], [-0.5, 0.1], [0.3, -0.3]],
        maps: (1..=4).map(map).collect(),
    };
    let stack = Figure::Stack {
        parts: vec![
            Figure::Lines { panels: vec![panel("steps"), panel("segments"), panel("seconds"), panel("epoch")] },
            Figure::Lines { panels: vec![] },
            Figure::Maps(maps.clone()),
        ],
    };
    vec![
        ("one panel", Figure::Lines { panels: vec![panel("epoch")] }),
        ("two panels", Figure::Lines { panels: vec![panel("epoch"), panel("seconds")] }),
        ("densities", Figure::Densities { rows: vec![row("moons"), row("checkerboard")] }),
        ("dots", dots(false)),
        ("logarithmic dots", dots(true)),
        ("points", Figure::Scatter { panels: vec![scatter("D = 64"), scatter("D = 256")] }),
        ("pictures", Figure::Pictures(pictures)),
        ("maps", Figure::Maps(maps)),
        ("stack", stack),
    ]
}

#[test]
fn nothing_is_clipped_overlapping_or_too_small() {
    for (name, figure) in figures() {
        assert_legible(name, &draw_experiment(&figure, name).unwrap().scene);
    }
}

#[test]
fn pictures_are_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for (name, figure) in figures() {
        let drawing = draw_experiment(&figure, name).unwrap();
        let svg = drawing.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{name}");
        let expected = match &figure {
            Figure::Densities { rows } => rows.iter().map(|row| row.densities.len()).sum(),
            Figure::Pictures(pictures) => pictures.pictures.len(),
            Figure::Maps(_) | Figure::Stack { .. } => 4,
            _ => 0,
        };
        assert_eq!(svg.matches("<image ").count(), expected, "{name}");
        for (file, magic) in [("a.png", &b"\x89PNG"[..]), ("a.pdf", b"%PDF-")] {
            let path = folder.path().join(file);
            drawing.write(&path).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(magic), "{name}");
        }
    }
}

#[test]
fn a_figure_without_values_says_so() {
    let nothing = [
        Figure::Lines { panels: vec![] },
        Figure::Lines { panels: vec![LinePanel { curves: vec![], ..panel("epoch") }] },
        Figure::Densities { rows: vec![] },
        Figure::Pictures(Pictures { across: 2, size: (2, 2), pictures: vec![], lines: vec![] }),
        Figure::Maps(ScalpMaps { across: 2, electrodes: vec![[0.0, 0.0]], maps: vec![] }),
        Figure::Stack { parts: vec![Figure::Lines { panels: vec![] }] },
    ];
    for figure in nothing {
        assert!(matches!(draw_experiment(&figure, "nothing"), Err(Error::Empty)));
    }
}
