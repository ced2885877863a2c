//! Every figure of every awkward study: what must hold whatever was measured.

use std::collections::BTreeSet;

use relgrad_reports::export;
use relgrad_reports::fixture;
use relgrad_reports::run::Convolution;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use relgrad_vocabulary::{Method, Subject};

use crate::scene::{Place, Rect, Scene, Shape, Text};
use crate::{Drawing, Error, Figure, Format, Paper, draw, draw_on};

#[path = "../examples/awkward/mod.rs"]
mod awkward;

/// All drawings there are, by study and figure.
fn drawings() -> Vec<(String, Drawing)> {
    let studies = awkward::studies();
    let of = |(name, study): &(&str, Study)| {
        let summary = Summary::of(study);
        let drawn = Figure::ALL.map(|figure| {
            let drawing = draw(figure, study, &summary);
            assert_eq!(drawing.is_ok(), figure.available(study, &summary), "{name} {figure}");
            Some((format!("{name} {figure}"), drawing.ok()?))
        });
        drawn.into_iter().flatten().collect::<Vec<_>>()
    };
    studies.iter().flat_map(of).collect()
}

fn texts(scene: &Scene) -> Vec<&Text> {
    let mut texts = Vec::new();
    for shape in &scene.shapes {
        if let Shape::Text(text) = shape {
            texts.push(text);
        }
    }
    texts
}

fn places(shape: &Shape) -> Vec<Place> {
    match shape {
        Shape::Line { points, .. } | Shape::Area { points, .. } => points.clone(),
        Shape::Disc { center, .. } => vec![*center],
        Shape::Image { rect, .. } => vec![(rect.left, rect.top), (rect.right, rect.bottom)],
        Shape::Text(text) => vec![text.at],
    }
}

fn overlap(a: Rect, b: Rect) -> bool {
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}

fn named(figure: &str) -> Figure {
    figure.parse().unwrap()
}

fn plain() -> (Study, Summary) {
    let study = fixture::study();
    let summary = Summary::of(&study);
    (study, summary)
}

/// Text lies inside the page, apart from other text, and is at least 7 pt; every shape has finite places inside the
/// page (up to a marker's radius).
pub(crate) fn assert_legible(name: &str, scene: &Scene) {
    let page = Rect { left: 0.0, top: 0.0, right: scene.width, bottom: scene.height };
    for shape in &scene.shapes {
        for (x, y) in places(shape) {
            assert!(x.is_finite() && y.is_finite() && page.holds((x, y)), "{name}: {shape:?}");
        }
    }
    let texts = texts(scene);
    for (i, text) in texts.iter().enumerate() {
        let bounds = text.bounds();
        assert!(text.size >= 7.0, "{name}: {}", text.content);
        let inside = page.holds((bounds.left, bounds.top)) && page.holds((bounds.right, bounds.bottom));
        assert!(inside, "{name}: {} leaves the page: {bounds:?}", text.content);
        for other in &texts[..i] {
            let apart = !overlap(bounds, other.bounds());
            assert!(apart, "{name}: {} covers {}", text.content, other.content);
        }
    }
}

/// Precondition: the studies reach every figure.
#[test]
fn nothing_is_clipped_overlapping_or_too_small() {
    let drawings = drawings();
    let drawn: BTreeSet<_> = drawings.iter().filter_map(|(name, _)| name.split(' ').nth(1)).collect();
    assert_eq!(drawn.len(), Figure::ALL.len());
    drawings.iter().for_each(|(name, drawing)| assert_legible(name, &drawing.scene));
}

#[test]
fn no_text_names_what_is_not_a_number() {
    for (name, drawing) in drawings() {
        for word in ["NaN", "inf", "-0"] {
            let found = texts(&drawing.scene).into_iter().find(|t| t.content.split(' ').any(|w| w == word));
            assert_eq!(found, None, "{name}");
        }
    }
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let (study, summary) = plain();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.png"), folder.path().join("b.png"));
    let drawn = [&first, &second].map(|path| {
        let drawing = draw(named("speedup"), &study, &summary).unwrap();
        drawing.write(path).unwrap();
        drawing
    });
    assert_eq!(drawn[0], drawn[1]);
    let bytes = std::fs::read(first).unwrap();
    assert_eq!(bytes, std::fs::read(second).unwrap());
    assert!(bytes.starts_with(b"\x89PNG"));
    assert_eq!(bytes[16..20], 2000_u32.to_be_bytes(), "width of the header");
}

/// The content of each `<text>` element.
fn svg_texts(svg: &str) -> BTreeSet<String> {
    let element = |part: &str| {
        let content = &part[part.find('>').unwrap() + 1..part.find("</text>").unwrap()];
        content.trim().replace('\u{a0}', " ")
    };
    svg.split("<text ").skip(1).map(element).collect()
}

#[test]
fn each_figure_names_its_axes_units_and_series() {
    let study = fixture::study_with_gpu();
    let summary = Summary::of(&study);
    let stop = "ordinary not run from D = 10,000: predicted time of 5 samples";
    let expected: [(&str, &[&str]); 8] = [
        ("fig3", &["relative", "ordinary", "autodiff", "1 ms", "10 s", "10,000", "∝ D²", "∝ D³", "predicted", stop]),
        ("fig1-left", &["GPU · N = 100 · L = 2 · f32", "data dimension D", "time of one gradient"]),
        ("speedup", &["relative over ordinary", "1×", "100×", "equally fast", "ratio of model flops"]),
        ("memory", &["1 MiB", "4 GiB", "peak memory", "model’s lower bound"]),
        ("fig4", &["relative", "autodiff", "time of the gradient (ms)", "gradient begins", "resident memory"]),
        ("local-exponent", &["local exponent of time", "∝ D²", "∝ D³", "0", "1", "data dimension D"]),
        ("residuals", &["measured / fitted time", "the fitted power law", "ordinary"]),
        ("roofline", &["arithmetic (GFLOP/s)", "least traffic over time (GB/s)", "measured memory bandwidth: 40"]),
    ];
    for (figure, labels) in expected {
        let texts = svg_texts(draw(named(figure), &study, &summary).unwrap().svg());
        for label in labels {
            assert!(texts.contains(*label), "{figure} lacks {label}: {texts:?}");
        }
    }
}

#[test]
fn a_heat_map_shows_every_batch_size_and_other_figures_the_first() {
    let study = fixture::study_with_batches();
    let summary = Summary::of(&study);
    let texts = |figure| svg_texts(draw(figure, &study, &summary).unwrap().svg());
    let map = texts(named("heat-map"));
    for label in ["N = 10", "N = 100", "N = 1,000", "relative over ordinary", "12.5×", "–", "data dimension D"] {
        assert!(map.contains(label), "no {label}: {map:?}");
    }
    let of_batch = |batch| relgrad_reports::summary::Series { batch, ..summary.series[0].clone() };
    for (batches, fits) in [(60, true), (61, false)] {
        let many = Summary { series: (1..=batches).map(of_batch).collect(), ..summary.clone() };
        assert_eq!(draw(named("heat-map"), &study, &many).is_ok(), fits, "{batches} rows");
    }
    let time = draw(named("fig3"), &study, &summary).unwrap();
    let one = fixture::study();
    assert_eq!(time.svg(), draw(named("fig3"), &one, &Summary::of(&one)).unwrap().svg());
    let only = draw(named("heat-map"), &one, &Summary::of(&one)).unwrap_err().to_string();
    assert_eq!(
        only,
        "speed-ups exist at one batch size only, or at too many: run `relgrad sweep` with several, as in --batch \
         10,100,1000"
    );
}

#[test]
fn strong_scaling_names_its_curves_at_their_ends_and_other_figures_show_the_first_threads() {
    let study = fixture::study_with_threads();
    let summary = Summary::of(&study);
    let drawing = draw(named("strong-scaling"), &study, &summary).unwrap();
    let expected = "0|0.1|0.2|0.3|0.4|0.5|0.6|0.7|0.8|0.9|1|1×|2|2×|4|4×|95 % confidence|CPU · N = 100 · L = 2 · \
                    f32|D = 10|D = 20,000|D = 3,200|D = 320|autodiff|ideal|one round|ordinary|parallel \
                    efficiency|relative|speed-up|threads";
    assert_eq!(svg_texts(drawing.svg()).into_iter().collect::<Vec<_>>().join("|"), expected);
    let chart = drawing.chart().unwrap();
    let points = chart.panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
    let of_four = points.filter(|point| point.at == "4 threads");
    assert!(of_four.map(|point| assert_eq!(point.cells.len(), 2, "{point:?}")).count() > 4);
    let caption = named("strong-scaling").caption(&study, &summary);
    let told = "(Example CPU @ 2.60GHz, CPU, N = 100, L = 2, f32)";
    assert!(caption.contains(told) && caption.contains("relative at D = 20,000: 5."), "{caption}");

    let mut one = study.clone();
    one.records.retain(|r| r.cell.point.threads == 1);
    one.run.settings.other_threads.clear();
    let alone = Summary::of(&one);
    for figure in ["fig3", "speedup", "memory", "roofline"] {
        let svg = |study, summary| draw(named(figure), study, summary).unwrap().svg().to_string();
        assert_eq!(svg(&study, &summary), svg(&one, &alone), "{figure}");
    }
    let told = draw(named("strong-scaling"), &one, &alone).unwrap_err().to_string();
    assert!(told.ends_with("run `relgrad sweep` with a list, as in --threads 1,2,4"), "{told}");
}

#[test]
fn rank_scaling_has_measured_speedups_and_a_model_for_each_network() {
    let study = fixture::study_with_ranks();
    let summary = Summary::of(&study);
    let drawing = draw(named("rank-scaling"), &study, &summary).unwrap();
    let texts = svg_texts(drawing.svg());
    for text in
        ["D = 10", "D = 20,000", "ranks", "speed-up", "relative", "no waiting", "100 Gb/s", "25 Gb/s", "10 Gb/s"]
    {
        assert!(texts.contains(text), "{text}: {texts:?}");
    }
    let chart = drawing.chart().unwrap();
    let curves: Vec<_> = chart.panels.iter().flat_map(|panel| &panel.curves).collect();
    let last: Vec<f64> = curves.iter().filter_map(|curve| Some(curve.model.last()?.1)).collect();
    // Without a network's time four machines are four times as fast; slower networks leave less of it.
    assert!(last.len() == 4 && (last[0] - 4.0).abs() < 1e-9, "{last:?}");
    assert!(last.windows(2).all(|pair| pair[1] < pair[0]), "{last:?}");
    let caption = named("rank-scaling").caption(&study, &summary);
    assert!(caption.contains("a model of as many machines"), "{caption}");
    let (study, summary) = plain();
    let told = draw(named("rank-scaling"), &study, &summary).unwrap_err().to_string();
    assert!(told.ends_with("as in --ranks 1,2,4"), "{told}");
}

#[test]
fn an_svg_is_one_document_of_its_printed_size() {
    let (study, summary) = plain();
    for (figure, width) in [(named("memory"), "width=\"85.00mm\""), (named("fig4"), "width=\"170.00mm\"")] {
        let drawing = draw(figure, &study, &summary).unwrap();
        let svg = drawing.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains(width), "{figure}");
        assert_eq!(svg.matches("<svg").count(), 1);
        assert_eq!(svg.matches("<text ").count(), svg.matches("</text>").count());
        assert!(svg.contains("font-family=\"DejaVu Sans, Verdana, Arial, sans-serif\""));
    }
}

/// What comes from a file is text, not markup.
#[test]
fn names_are_escaped() {
    let (_, study) = awkward::studies().into_iter().find(|(name, _)| *name == "strange-names").unwrap();
    let drawing = draw(named("fig3"), &study, &Summary::of(&study)).unwrap();
    assert!(!drawing.svg().contains("<b>"));
    assert!(drawing.svg().contains("a&lt;b&gt;&amp;&quot;c&quot;"));
}

#[test]
fn what_is_missing_is_said_in_one_line() {
    let all: fn(Subject) -> bool = |_| true;
    let none: fn(Subject) -> bool = |_| false;
    let relative: fn(Subject) -> bool = |method| method == Method::Relative;
    for (figure, keep, message) in [
        ("fig1-left", all, "no record has a measured time on cuda: run `relgrad sweep --device cuda`"),
        ("fig3", none, "no record has a measured time on cpu: run `relgrad sweep --device cpu`"),
        (
            "speedup",
            relative,
            "no dimension has a measured time of relative and of ordinary or autodiff: run `relgrad sweep` with them",
        ),
        ("memory", none, "no record has a peak memory: run `relgrad sweep` on a system that reports resident memory"),
        ("fig4", none, "no record has a memory trace: run `relgrad sweep` with relative and autodiff"),
        (
            "fig4",
            relative,
            "no dimension has a memory trace of both relative and autodiff: run `relgrad sweep` with both methods at \
             the same D",
        ),
    ] {
        let mut study = fixture::study();
        study.records.retain(|r| keep(r.cell.method));
        assert_eq!(draw(named(figure), &study, &Summary::of(&study)).unwrap_err().to_string(), message);
    }
    let unknown = "fig2".parse::<Figure>().unwrap_err().to_string();
    assert_eq!(
        unknown,
        "unknown figure `fig2`: choose one of fig3, fig1-left, speedup, memory, local-exponent, residuals, fig4, \
         roofline, heat-map, strong-scaling, rank-scaling"
    );
}

#[test]
fn names_read_back() {
    for figure in Figure::ALL {
        assert_eq!(named(figure.name()).name(), figure.name());
    }
}

#[test]
fn an_unwritable_path_is_an_error_that_names_it() {
    let (study, summary) = plain();
    let drawing = draw(named("fig4"), &study, &summary).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for format in Format::ALL {
        let path = folder.path().join("missing").join(format!("a.{}", format.name()));
        let error = drawing.write(&path).unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error:?}");
        assert!(error.to_string().contains("missing"), "{error}");
    }
    let told = drawing.write(&folder.path().join("a.gif")).unwrap_err().to_string();
    assert!(told.ends_with("a.gif must end in .svg, .png or .pdf"), "{told}");
}

#[test]
fn captions_state_conditions_and_numbers() {
    let dense = fixture::study();
    let mut convolution = fixture::study();
    convolution.run.settings.convolution = Some(Convolution { channels: 4, kernel: None, grids: vec![[1, 10]] });
    for (study, figure, parts) in [
        (&dense, "fig3", ["(Example CPU @ 2.60GHz, CPU, 2 threads, N = 100, L = 2, f32)", "relative 2.0"]),
        (&dense, "fig3", [" for D from ", "slopes of D² and D³."]),
        (&dense, "fig4", ["at D = 320", "times that of relative"]),
        (&dense, "speedup", ["over autodiff at D = 320", "Bands are"]),
        (&convolution, "fig3", ["slopes of D and D³.", "c = 4"]),
        (&convolution, "local-exponent", ["A rise towards 1 or 3", "c = 4"]),
    ] {
        let caption = named(figure).caption(study, &Summary::of(study));
        assert!(parts.iter().all(|part| caption.contains(part)), "{parts:?}: {caption}");
    }
}

/// Whether a place lies in a polygon: a ray from it crosses the edge an odd number of times.
fn inside(polygon: &[Place], (x, y): Place) -> bool {
    let edges = polygon.iter().zip(polygon.iter().cycle().skip(1));
    let crossed = |(a, b): &(&Place, &Place)| (a.1 > y) != (b.1 > y) && x < a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0);
    edges.filter(crossed).count() % 2 == 1
}

/// Precondition: rounds that disagree by factors, as on a busy machine, so that bands are wide.
#[test]
fn guides_are_named_outside_the_bands() {
    let mut study = fixture::study();
    for record in &mut study.records {
        let factor = 4_f64.powi(record.cell.round as i32);
        record.seconds.iter_mut().for_each(|seconds| *seconds *= factor);
    }
    let summary = Summary::of(&study);
    let Drawing { scene, .. } = draw(named("fig3"), &study, &summary).unwrap();
    let bands: Vec<Vec<Place>> =
        scene.shapes.iter().filter(|shape| matches!(shape, Shape::Area { .. })).map(places).collect();
    assert!(bands.iter().any(|band| extent(band) > 60.0));
    let names: Vec<_> = texts(&scene).into_iter().filter(|text| text.content.starts_with('∝')).collect();
    assert!(!names.is_empty(), "no guide was drawn");
    for text in names {
        let Rect { left, top, right, bottom } = text.bounds();
        for corner in [(left, top), (right, top), (left, bottom), (right, bottom)] {
            assert!(!bands.iter().any(|band| inside(band, corner)), "{} at {corner:?}", text.content);
        }
    }
}

/// The height of some places.
fn extent(places: &[Place]) -> f64 {
    let ys = || places.iter().map(|place| place.1);
    ys().fold(f64::MIN, f64::max) - ys().fold(f64::MAX, f64::min)
}

/// Precondition: intervals of more than four decades, medians that the noise of the machine moves by factors of two.
#[test]
fn axes_follow_the_medians_and_mark_what_goes_beyond() {
    let (quiet, noisy) = (fixture::study(), fixture::noisy_study());
    let [of_quiet, of_noisy] = [&quiet, &noisy].map(Summary::of);
    let seconds = |summary: &Summary| -> Vec<_> {
        summary.series.iter().flat_map(|series| &series.points).map(|point| point.seconds).collect()
    };
    assert!(seconds(&of_noisy).iter().any(|e| e.high / e.low > 1e4));
    for figure in ["fig3", "speedup", "roofline", "local-exponent"].map(named) {
        let drawing = draw(figure, &noisy, &of_noisy).unwrap();
        let caption = figure.caption(&noisy, &of_noisy);
        assert!(svg_texts(drawing.svg()).contains("beyond the axis"), "{figure}");
        assert!(caption.contains("a triangle at its end marks"), "{figure}: {caption}");
        let drawing = draw(figure, &quiet, &of_quiet).unwrap();
        // There the interval of a prediction alone goes beyond.
        assert!(figure.name() == "fig3" || !svg_texts(drawing.svg()).contains("beyond the axis"), "{figure}");
    }
    // The curve has as much of the panel as on a quiet machine, but for what intervals may take at both ends.
    let line = |study, summary| {
        let Drawing { scene, .. } = draw(named("fig3"), study, summary).unwrap();
        let blue = crate::style::look(Method::Relative).color;
        let is_solid = |s: &&Shape| matches!(s, Shape::Line { color, width, .. } if *color == blue && *width == 1.2);
        scene.shapes.iter().filter(is_solid).map(|shape| extent(&places(shape))).fold(0.0, f64::max)
    };
    let [before, after] = [line(&quiet, &of_quiet), line(&noisy, &of_noisy)];
    assert!(after > 0.7 * before, "{after} of {before} points");
}

/// Every process has its point, where the figure is about times or memory.
#[test]
fn each_process_has_a_point() {
    let (study, summary) = plain();
    let valid = study.records.iter().filter(|record| record.is_valid()).count();
    for figure in ["fig3", "memory"] {
        let Drawing { scene, .. } = draw(named(figure), &study, &summary).unwrap();
        let dots = scene.shapes.iter().filter(|shape| matches!(shape, Shape::Disc { radius: 0.9, .. }));
        // One more in the legend.
        assert_eq!(dots.count(), valid + 1, "{figure}");
    }
}

/// Rates above the measured ceilings, as of a machine that was slower when it measured them.
#[test]
fn what_lies_above_a_ceiling_is_ringed() {
    let mut study = fixture::study();
    let texts = |study: &Study| {
        let summary = Summary::of(study);
        let texts = svg_texts(draw(named("roofline"), study, &summary).unwrap().svg());
        (texts.contains("above the ceiling"), named("roofline").caption(study, &summary))
    };
    assert!(!texts(&study).0);
    for rate in &mut study.run.rooflines[0].rates {
        rate.seconds.iter_mut().for_each(|seconds| *seconds *= 2.0);
    }
    let (is_ringed, caption) = texts(&study);
    assert!(is_ringed && caption.contains("arithmetic rates above the ceiling; the machine was slower"), "{caption}");
}

/// The narrowest papers, where panels stand below one another, and wide ones; texts as small and as large as allowed.
#[test]
fn figures_are_legible_in_every_size() {
    let several = [fixture::study_with_batches(), fixture::study_with_threads(), fixture::study_with_ranks()];
    let studies = [fixture::study_with_gpu(), fixture::noisy_study()].into_iter().chain(several);
    let studies: Vec<Study> = studies.collect();
    for (width, font_size, printed) in [
        (Some(55.0), None, "55.00mm"),
        (Some(85.0), Some(10.0), "85.00mm"),
        (Some(120.0), Some(9.0), "120.00mm"),
        (Some(400.0), Some(30.0), "400.00mm"),
        (None, Some(5.0), "85.00mm"),
    ] {
        let paper = Paper::new(width, font_size).unwrap();
        for study in &studies {
            let summary = Summary::of(study);
            for figure in Figure::ALL.into_iter().filter(|figure| figure.available(study, &summary)) {
                let drawing = draw_on(paper, figure, study, &summary).unwrap();
                assert_legible(&format!("{figure} on {paper:?}"), &drawing.scene);
                let is_page =
                    ["fig4", "roofline", "heat-map", "strong-scaling"].contains(&figure.name()) && width.is_none();
                let printed = format!("width=\"{}\"", if is_page { "170.00mm" } else { printed });
                assert!(drawing.svg().contains(&printed), "{figure} is not {printed}");
            }
        }
    }
    for (width, font_size) in [(Some(40.0), None), (Some(85.0), Some(12.0)), (None, Some(2.0)), (Some(f64::NAN), None)]
    {
        let told = Paper::new(width, font_size).unwrap_err().to_string();
        assert!(told.starts_with("a figure cannot be ") && told.contains("choose "), "{told}");
    }
}

/// What a page's script draws is what the figure shows, with the cells behind it.
#[test]
fn figures_hand_out_the_numbers_that_they_draw() {
    let (study, summary) = plain();
    let series: Vec<_> = summary.series.iter().filter(|s| !s.points.is_empty()).collect();
    let cells: BTreeSet<String> =
        series.iter().flat_map(|s| s.points.iter().map(|p| export::cell_key(s, p.dim))).collect();
    for figure in Figure::ALL.into_iter().filter(|figure| figure.available(&study, &summary)) {
        let drawing = draw(figure, &study, &summary).unwrap();
        let Some(chart) = drawing.chart() else {
            assert_eq!(figure.name(), "heat-map");
            continue;
        };
        let curves: Vec<_> = chart.panels.iter().flat_map(|panel| &panel.curves).collect();
        assert!(!curves.is_empty(), "{figure}");
        for point in curves.iter().flat_map(|curve| &curve.points) {
            assert!(!point.text.is_empty() && point.y.is_some(), "{figure} {point:?}");
            assert!(!point.cells.is_empty() && point.cells.iter().all(|c| cells.contains(c)), "{figure} {point:?}");
        }
        assert!(curves.iter().all(|c| drawing.svg().to_lowercase().contains(&c.color)), "{figure}");
        if figure.name() == "fig3" {
            let values: Vec<Vec<f64>> =
                series.iter().map(|s| s.points.iter().map(|p| p.seconds.value).collect()).collect();
            let drawn: Vec<Vec<f64>> =
                curves.iter().map(|c| c.points.iter().map(|p| p.y.unwrap()[0]).collect()).collect();
            assert_eq!(drawn, values);
        }
    }
}

/// The objects that a PDF's table of contents points to are there, and the page has the printed size.
#[test]
fn a_pdf_is_one_page_of_its_printed_size() {
    let (study, summary) = plain();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pdf");
    let paper = Paper::new(Some(100.0), Some(9.0)).unwrap();
    draw_on(paper, named("fig4"), &study, &summary).unwrap().write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("%PDF-1.") && text.trim_end().ends_with("%%EOF"));
    assert!(text.contains("/MediaBox [0 0 283.46"), "100 mm are 283.46 pt");
    for part in ["/Count 1", "/FontFile2", "/ToUnicode", "/DejaVuSans-Bold"] {
        assert!(text.contains(part), "no {part}");
    }
    draw_on(paper, named("fig4"), &study, &summary).unwrap().write(&path).unwrap();
    assert_eq!(bytes, std::fs::read(&path).unwrap(), "the same records give the same bytes");
}
