//! FORMAT.md against the code: what is written is described, and what is described exists.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{files, root};
use relgrad_reports::compare::{Comparison, Rules, Sides};
use relgrad_reports::export::{REPORT, Report};
use relgrad_reports::fixture;
use relgrad_reports::history::Entry;
use relgrad_reports::study::Study;
use relgrad_reports::summary::Summary;
use serde_json::{Value, to_value};

/// The fields that the tables of a section describe, by the section's heading; those of all sections for an empty one.
fn described(heading: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("FORMAT.md")).unwrap();
    let sections = text.split("\n## ").skip(1).filter(|section| section.starts_with(heading));
    let tables = sections.flat_map(|section| section.split_once("\n| field |").map(|(_, table)| table));
    let cells = tables.flat_map(|table| table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |")));
    let fields: BTreeSet<String> =
        cells.flat_map(|(cell, _)| cell.split(", ")).map(|field| field.replace('`', "")).collect();
    assert!(!fields.is_empty(), "FORMAT.md has no table of fields in the section {heading}");
    fields
}

/// Fails where `value` has a field that is not described. Estimates, and objects whose fields are described elsewhere,
/// are leaves.
fn require_described(fields: &BTreeSet<String>, path: &str, value: &Value, file: &str) {
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| require_described(fields, &format!("{path}[]"), item, file))
        }
        Value::Object(object) => {
            let front = if path.is_empty() { String::new() } else { format!("{path}.") };
            let is_estimate = object.keys().eq(["high", "low", "value"]) || object.keys().eq(["value", "low", "high"]);
            if is_estimate || !fields.iter().any(|field| field.starts_with(&front)) {
                return;
            }
            for (key, value) in object {
                let field = format!("{front}{key}");
                assert!(fields.contains(&field), "{file}: FORMAT.md does not describe {field}");
                require_described(fields, &field, value, file);
            }
        }
        _ => {}
    }
}

#[test]
fn every_field_of_a_study_and_of_what_follows_from_it_is_described() {
    let packed = files(&root().join("reports/archive"), "records.jsonl.gz");
    assert!(packed.len() > 4, "is this the archive?");
    let archived = packed.iter().map(|path| Study::read(path.parent().unwrap()).unwrap());
    let study = Study { run: fixture::study().run, ..fixture::study_with_batches() };
    let axes = [fixture::study_with_batches(), fixture::study_with_threads(), fixture::study_with_ranks()];
    for study in archived.chain([study, fixture::study_with_gpu()]).chain(axes) {
        let summary = Summary::of(&study);
        let json = REPORT.iter().find(|format| format.name == "json").unwrap();
        let json = (json.render)(&Report { study: &study, summary: &summary, figures: &[] });
        let sides = Sides { base: &study, new: &study, paired: false, absolute: true, first_round: 0 };
        let comparison = Comparison::of(&sides, &Rules::default());
        let written = [
            ("`run.json`", to_value(&study.run).unwrap()),
            ("`summary.json`", serde_json::from_str(&json).unwrap()),
            ("History store", to_value(Entry::of(&study)).unwrap()),
            ("Comparisons", to_value(&comparison).unwrap()),
        ];
        let records = study.records.iter().map(|record| ("`records.jsonl`", to_value(record).unwrap()));
        for (heading, value) in written.into_iter().chain(records) {
            require_described(&described(heading), "", &value, heading);
        }
    }
}

#[test]
fn every_field_of_an_archived_training_is_described() {
    let trainings = files(&root().join("reports/archive"), "training.json");
    assert!(trainings.len() > 10, "is this the archive?");
    for path in trainings {
        let value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        require_described(&described("`training.json`"), "", &value, &path.display().to_string());
    }
}

/// The fields of types that are written, as the sources declare them. Formats of other programs are theirs.
fn declared(source: &str) -> Vec<String> {
    let types =
        source.split("#[derive(").filter(|text| text.split(')').next().unwrap_or_default().contains("Serialize"));
    let lines = types.flat_map(|text| text.split("\n}").next().unwrap_or_default().lines());
    let fields = lines.filter_map(|line| line.strip_prefix("    pub ")?.split_once(':'));
    fields.map(|(name, _)| name.to_string()).filter(|name| !name.contains('(')).collect()
}

#[test]
fn every_declared_field_is_described_and_every_described_one_is_in_the_code() {
    let sources = files(&root().join("reports/src"), ".rs");
    // The numbers of a page are for its own script.
    let is_private = |path: &str| path.contains("export") && !path.ends_with("frame.rs") || path.ends_with("chart.rs");
    let sources = sources.iter().filter(|path| !is_private(&path.to_string_lossy()));
    let reports: String = sources.map(|path| fs::read_to_string(path).unwrap()).collect();
    let text = fs::read_to_string(root().join("FORMAT.md")).unwrap();
    let declared = declared(&reports);
    assert!(declared.len() > 200, "{}", declared.len());
    for name in declared {
        let is_named = [format!("`{name}`"), format!(".{name}`")].iter().any(|end| text.contains(end));
        assert!(is_named || text.contains(&format!("\"{name}\"")), "FORMAT.md does not describe the field {name}");
    }
    let training: String =
        files(&root().join("harness/src"), ".rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let code = reports + &training;
    for field in described("") {
        let name = field.rsplit(['.', ']']).next().unwrap_or_default();
        let is_name = |(at, _): (usize, &str)| {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            !code[..at].ends_with(is_word) && code[at + name.len()..].starts_with([':', '"', '\\'])
        };
        // summary.json holds run.json under this name.
        assert!(name == "run" || code.match_indices(name).any(is_name), "nothing in the code is called {field}");
    }
}
