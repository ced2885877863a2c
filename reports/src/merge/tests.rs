use super::*;
use crate::fixture;
use crate::record::Outcome;

fn source(folder: &str, study: Study) -> Source {
    Source { folder: folder.to_string(), study }
}

/// The same study of another machine, `factor` times as slow.
fn elsewhere(factor: f64) -> Study {
    let mut study = fixture::study();
    study.run.machine.cpu = format!("Slow CPU {factor}");
    study.records.iter_mut().for_each(|record| record.seconds.iter_mut().for_each(|seconds| *seconds *= factor));
    study
}

fn half(keep: fn(usize) -> bool) -> Study {
    let mut study = fixture::study();
    study.records.retain(|record| keep(record.cell.point.dim));
    study
}

/// Precondition: both halves have records.
#[test]
fn parts_of_one_plan_on_one_machine_are_the_whole_again() {
    let (low, high) = (half(|dim| dim < 200), half(|dim| dim >= 200));
    assert!(!low.records.is_empty() && !high.records.is_empty());
    let merged = Merged::of(vec![source("low", low), source("high", high)]);
    assert_eq!((merged.machines.len(), merged.told.as_slice()), (1, &[][..]));
    let machine = &merged.machines[0];
    assert_eq!(machine.folders, ["low", "high"]);
    let whole = fixture::study();
    let sorted = |study: &Study| {
        let mut records = study.records.clone();
        records.sort_by_key(|record| record.cell);
        records
    };
    assert!(sorted(&machine.study) == sorted(&whole), "two halves have the records of the whole");
    assert_eq!(machine.summary.series.len(), Summary::of(&whole).series.len());
}

/// The firmware of a node keeps a little of its memory, not the same on each.
#[test]
fn nodes_of_one_kind_are_one_machine() {
    let with_memory = |share: f64| {
        let mut study = half(|dim| dim >= 200);
        study.run.machine.memory_bytes = (share * study.run.machine.memory_bytes as f64) as u64;
        study
    };
    let machines = |share| {
        let sources = vec![source("low", half(|dim| dim < 200)), source("high", with_memory(share))];
        Merged::of(sources).machines.len()
    };
    assert_eq!((machines(1.0), machines(0.995), machines(1.005), machines(0.5)), (1, 1, 1, 2));
}

#[test]
fn a_record_in_two_folders_counts_once_and_another_of_its_cell_is_a_further_round() {
    let study = fixture::study();
    let (records, rounds) = (study.records.len(), study.run.settings.rounds);
    let merged = Merged::of(vec![source("a", study.clone()), source("copy of a", study.clone())]);
    assert!(merged.machines[0].study == study, "a study and its copy are the study");
    assert_eq!(merged.told, [format!("{} stand in a and in copy of a; they count once.", counted(records, "record"))]);

    let mut again = study.clone();
    again.records.iter_mut().for_each(|record| record.started_unix_seconds += 86_400.0);
    let thrice = vec![source("a", study.clone()), source("next day", again.clone()), source("copy", again.clone())];
    let merged = Merged::of(thrice);
    assert_eq!(merged.machines[0].study.records.len(), 2 * records);
    assert!(merged.told[1].contains("count once"), "{:?}", merged.told);
    let merged = Merged::of(vec![source("a", study), source("next day", again)]);
    let whole = &merged.machines[0].study;
    assert_eq!((whole.records.len(), whole.run.settings.rounds), (2 * records, 2 * rounds));
    assert!(merged.told[0].contains("further rounds"), "{:?}", merged.told);
    let measured = |outcome| whole.records.iter().filter(|record| record.outcome == outcome).count();
    assert!(measured(Outcome::Measured) > 0);
    let folder = tempfile::tempdir().unwrap();
    crate::writer::write_study(folder.path(), whole).unwrap();
    assert_eq!(Study::read(folder.path()).unwrap().records.len(), 2 * records);
}

#[test]
fn machines_stay_apart_and_share_what_is_told_as_common() {
    let merged = Merged::of(vec![source("fast", fixture::study()), source("slow", elsewhere(3.0))]);
    let names: Vec<&str> = merged.machines.iter().map(|machine| machine.name.as_str()).collect();
    assert_eq!(names.len(), 2);
    assert!(names[1].starts_with("Slow 3 avx512"), "{names:?}");
    let rows = exponents(&merged);
    let relative = rows.iter().find(|row| row.series.starts_with("relative,")).unwrap();
    // A factor changes no exponent and no speed-up.
    let [Some(a), Some(b)] = relative.sides[..] else { panic!("{relative:?}") };
    assert!((a.value.value - b.value.value).abs() < 1e-9, "{a:?} {b:?}");
    assert!((relative.common.unwrap().value.value - a.value.value).abs() < 1e-6);
    let rows = speedups(&merged);
    assert!(rows.iter().any(|row| row.over == Some("ordinary") && row.dim == Some(1000)), "{rows:?}");
    for row in rows.iter().filter(|row| row.sides.iter().all(Option::is_some)) {
        let values: Vec<f64> = row.sides.iter().flatten().map(|side| side.value.value).collect();
        assert!((values[0] / values[1] - 1.0).abs() < 1e-9, "{row:?}");
    }
}

#[test]
fn another_seed_and_another_build_are_told() {
    let seeded = |seed: u64| {
        let mut study = fixture::study();
        study.run.settings.seed = seed;
        study.records.iter_mut().for_each(|record| record.cell.point.seed = seed);
        study
    };
    let merged = Merged::of(vec![source("a", seeded(0)), source("b", seeded(7))]);
    assert_eq!(merged.machines.len(), 2);
    assert_eq!(merged.told, ["a and b are of one machine and of different plans (seed: 0 and 7); they stay apart."]);
    assert_ne!(merged.machines[0].name, merged.machines[1].name);

    let mut other = half(|dim| dim >= 200);
    other.run.git_revision = Some("0123456".into());
    let merged = Merged::of(vec![source("a", half(|dim| dim < 200)), source("b", other)]);
    assert_eq!(merged.machines.len(), 1);
    assert!(merged.told[0].starts_with("b was measured by another build than a (revisions "), "{:?}", merged.told);
    assert_eq!(merged.machines[0].study.run.changes.len(), 1);
}

#[test]
fn the_page_has_a_column_a_machine() {
    let merged = Merged::of(vec![source("fast", fixture::study()), source("slow", elsewhere(3.0))]);
    let text = page(&merged, Vec::new()).markdown();
    for part in ["# relgrad on 2 machines", "  A |", "## Exponents", "## Speed-ups", "common [95 %]", "Slow 3"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
