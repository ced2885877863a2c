//! The files of a report, from the synthetic study.

use std::fs;

use relgrad_reports::export::{Figure, Format, REPORT, Report, cell_key, write_all};
use relgrad_reports::fixture;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;

const MARKDOWN: Format = REPORT[0];
const HTML: Format = REPORT[1];
const JSON: Format = REPORT[2];
const CSV: Format = REPORT[3];

fn figures() -> Vec<Figure> {
    let svg = "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 120\">\
               <path d=\"M40 100 L600 20\" stroke=\"#0072b2\" stroke-width=\"3\"/></svg>\n";
    vec![Figure {
        name: "time".into(),
        caption: "Time of one gradient against D; bands are 95 % intervals.".into(),
        svg: svg.into(),
        chart: None,
    }]
}

fn render(format: Format, study: &Study) -> String {
    let summary = Summary::of(study);
    (format.render)(&Report { study, summary: &summary, figures: &figures() })
}

#[test]
fn markdown() {
    insta::assert_snapshot!(render(MARKDOWN, &fixture::study()));
}

/// The table of threads, and what else of a report says that there were several.
#[test]
fn markdown_of_threads() {
    let mut study = fixture::study_with_threads();
    study.run.settings.dims = vec![100, 10_000];
    study.records.retain(|record| [100, 10_000].contains(&record.cell.point.dim));
    let text = render(MARKDOWN, &study);
    let section = text.split("### How time falls with threads").nth(1).expect("the table").split("\n#").next().unwrap();
    insta::assert_snapshot!(section);
    for told in ["1, 2, 4 threads", "### relative on cpu, 4 threads", "| relative on cpu, 2 threads |"] {
        assert!(text.contains(told), "{told} is missing:\n{text}");
    }
    assert!(!render(MARKDOWN, &fixture::study()).contains("falls with threads"));
}

/// The table of ranks, and the names of their series.
#[test]
fn markdown_of_ranks() {
    let text = render(MARKDOWN, &fixture::study_with_ranks());
    for told in ["### How time changes with ranks", "faster than on 1 rank [95 %]", "### relative on cpu, 4 ranks"] {
        assert!(text.contains(told), "{told} is missing:\n{text}");
    }
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // 3·L·N·D·(p − 1) numbers of four bytes.
    assert!(words.contains("| relative | 1,000 | 4 | MPI |") && words.contains("| 6.87 MiB |"), "{text}");
    assert!(!render(MARKDOWN, &fixture::study()).contains("changes with ranks"));
}

#[test]
fn a_column_without_a_value_is_left_out() {
    let text = render(MARKDOWN, &fixture::study());
    for (method, other) in [("ordinary", "autodiff"), ("autodiff", "ordinary")] {
        let table = text.split(&format!("### {method} on cpu")).nth(1).expect("a table of this method");
        let header = table.lines().find(|line| line.starts_with('|')).expect("its header");
        assert!(header.contains(&format!("over {other}")), "{header}");
        assert!(!header.contains(&format!("over {method}")), "{header}");
    }
}

#[test]
fn csv() {
    insta::assert_snapshot!(render(CSV, &fixture::study()));
}

#[test]
fn csv_rows_have_as_many_fields_as_the_header() {
    let text = render(CSV, &fixture::study_with_gpu());
    // The fixture's text holds no comma or quote, so fields can be counted by commas.
    let counts: Vec<usize> = text.lines().map(|l| l.split(',').count()).collect();
    assert_eq!(counts.len(), 1 + 2 * 3 * 8);
    assert!(counts.iter().all(|&n| n == counts[0]), "{counts:?}");
}

#[test]
fn json_reads_back_as_the_summary() {
    let study = fixture::study();
    let text = render(JSON, &study);
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), Summary::of(&study));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["run"]["command"][0], "relgrad");
}

#[test]
fn html_is_one_file_that_needs_no_other() {
    let text = render(HTML, &fixture::study());
    assert!(text.contains("<path d=\"M40 100 L600 20\""), "the figure must be inline");
    assert!(!text.contains("<?xml"));
    for outside in ["<link", "<script src", " src=", "@import", "url(h", "url(\"", "//www"] {
        let found = text.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "{outside} would fetch something");
    }
}

/// What a page's script shows, and how much of it there is.
#[test]
fn html_has_its_numbers_once_and_its_script_is_small() {
    let study = fixture::study();
    let text = render(HTML, &study);
    let elements: Vec<&str> =
        text.split("<script").skip(1).map(|rest| rest.split_once("</script>").unwrap().0).collect();
    let [data, script] = elements[..] else { panic!("{} script elements", elements.len()) };
    assert!(script.len() < 100_000, "{} bytes of script", script.len());
    let data: serde_json::Value = serde_json::from_str(data.split_once('>').unwrap().1).unwrap();
    let summary = Summary::of(&study);
    let mut points = 0;
    for series in &summary.series {
        for point in &series.points {
            let cell = &data["cells"][cell_key(series, point.dim)];
            assert_eq!(cell["y"][0].as_f64(), Some(point.seconds.value));
            let processes = cell["processes"].as_array().unwrap();
            assert_eq!(processes.len(), point.rounds);
            for process in processes {
                let (at, seconds) = (process["at"].as_array().unwrap(), process["seconds"].as_array().unwrap());
                assert!(at.len() == seconds.len() && !at.is_empty() && at.len() <= 120);
                assert!(at.iter().all(|t| t.as_u64().unwrap() <= 1000));
            }
            points += 1;
        }
    }
    assert_eq!(data["cells"].as_object().unwrap().len(), points);
    // A table's cell has the number that it shows, for sorting.
    assert!(text.contains("<td data-value=\"1e1\" class=\"n\">10</td>"));
}

#[test]
fn html_and_markdown_keep_text_that_looks_like_marks_literal() {
    let mut study = fixture::study();
    study.run.machine.cpu = "<script>alert(1)</script> & |*co*|".into();
    study.run.command.push("it's; rm <x>".into());
    let html = render(HTML, &study);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; |*co*|"));
    assert!(html.contains("&#39;it&#39;\\&#39;&#39;s; rm &lt;x&gt;&#39;"));
    assert!(!html.contains("<script>alert") && html.matches("<script").count() == 2);
    let markdown = render(MARKDOWN, &study);
    assert!(markdown.contains("\\<script\\>alert(1)\\</script\\> & \\|\\*co\\*\\|"));
}

#[test]
fn every_file_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let study = fixture::study();
    let summary = Summary::of(&study);
    let report = Report { study: &study, summary: &summary, figures: &[] };
    let paths = write_all(dir.path(), &report).unwrap();
    let names: Vec<_> = paths.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["report.md", "report.html", "summary.json", "summary.csv"]);
    for path in paths {
        assert!(fs::metadata(path).unwrap().len() > 1000);
    }
}

#[test]
fn a_study_without_measurements_still_makes_a_report() {
    let mut study = fixture::study();
    study.records.clear();
    let markdown = render(MARKDOWN, &study);
    assert!(markdown.contains("72 of 72 cells have no record"), "{markdown}");
}
