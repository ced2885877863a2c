//! Claims against hand-made results.

use relgrad_reports::fixture;
use relgrad_reports::run::Settings;
use relgrad_reports::study::Study;
use relgrad_reports::summary::{Exponent, Summary};
use serde_json::json;

use super::super::evidence::{Evidence, Kept};
use super::*;

/// The verdicts of a part's claims.
fn judged(claims: Vec<Claim>, evidence: &Evidence) -> Vec<(String, String, Agreement)> {
    claims
        .into_iter()
        .map(|claim| {
            let (ours, agreement) = claim.judge(evidence);
            (claim.what, ours, agreement)
        })
        .collect()
}

fn sweep(change: impl FnOnce(&mut Study, &mut Summary)) -> Evidence {
    let mut study = fixture::study();
    let mut summary = Summary::of(&study);
    change(&mut study, &mut summary);
    Evidence::Sweep(Box::new((study, summary)))
}

fn experiment(numbers: Value) -> Evidence {
    let text = json!({ "schema": 1, "name": "n", "command": ["relgrad"], "started": "", "seconds": 1.0,
        "machine": fixture::study().run.machine, "numbers": numbers,
        "table": { "columns": [], "rows": [] }, "notes": [] });
    Evidence::Experiment(Box::new(serde_json::from_value::<Kept>(text).unwrap()))
}

fn agreement(of: &[(String, String, Agreement)], what: &str) -> Agreement {
    of.iter().find(|claim| claim.0.contains(what)).unwrap_or_else(|| panic!("no claim of {what}")).2
}

#[test]
fn an_exponent_agrees_within_a_tenth_of_the_papers() {
    for (value, expected) in
        [(2.0, Agreement::Agrees), (1.85, Agreement::Agrees), (1.7, Agreement::Differs), (2.6, Agreement::Differs)]
    {
        let evidence = sweep(|_, summary| {
            let exponent = Estimate { value, low: value - 0.1, high: value + 0.1 };
            let relative = summary.series.iter_mut().find(|series| series.method == Method::Relative).unwrap();
            relative.fit = Some(Exponent { exponent, from: 100, to: 1000, points: 4 });
        });
        assert_eq!(agreement(&judged(time(), &evidence), "relative gradient"), expected, "{value}");
    }
    // An interval that holds both laws agrees with neither.
    let wide = sweep(|_, summary| {
        let exponent = Estimate { value: 2.4, low: 1.9, high: 3.1 };
        summary.series[0].fit = Some(Exponent { exponent, from: 100, to: 1000, points: 4 });
    });
    let told = judged(time(), &wide);
    assert!(told.iter().any(|claim| claim.2 == Agreement::NotMeasured && claim.1.contains("too uncertain")));
    let none = sweep(|_, summary| summary.series.clear());
    assert!(judged(time(), &none).iter().all(|claim| claim.2 == Agreement::NotMeasured));
}

#[test]
fn memory_agrees_from_the_bound_to_a_quarter_more() {
    for (gigabytes, expected) in [(6.4, Agreement::Agrees), (5.9, Agreement::Differs), (9.0, Agreement::Differs)] {
        let evidence = sweep(|_, summary| {
            let relative = summary.series.iter_mut().find(|series| series.method == Method::Relative).unwrap();
            let last = relative.points.last_mut().unwrap();
            (last.dim, last.peak_bytes) = (20_000, Some((gigabytes * 1e9) as u64));
        });
        let judged = judged(bounds(), &evidence);
        assert_eq!(agreement(&judged, "relative"), expected, "{gigabytes}");
        // No machine has the memory, and the reason says how much it would be.
        assert!(judged[1].2 == Agreement::NotMeasured && judged[1].1.contains("166 GB"), "{}", judged[1].1);
    }
}

#[test]
fn a_cell_that_stopped_says_why() {
    let evidence = sweep(|_, _| ());
    let (_, ours, agreement) = &judged(memory(), &evidence)[0];
    assert_eq!(*agreement, Agreement::NotMeasured);
    assert!(ours.contains("no measurement of relative at D = 5,000"), "{ours}");
    let nothing = Evidence::Nothing("no GPU".to_string());
    assert!(judged(time(), &nothing).iter().all(|(_, ours, a)| *a == Agreement::NotMeasured && ours == "no GPU"));
}

#[test]
fn fewer_runs_than_the_papers_differ() {
    let Settings { rounds, .. } = fixture::study().run.settings;
    assert!(rounds < 5);
    assert_eq!(agreement(&judged(time(), &sweep(|_, _| ())), "effort"), Agreement::Differs);
    let enough = sweep(|_, summary| {
        let all = summary.series.iter_mut().flat_map(|series| &mut series.points);
        all.for_each(|point| (point.rounds, point.samples) = (5, 50));
    });
    assert_eq!(agreement(&judged(time(), &enough), "effort"), Agreement::Agrees);
}

#[test]
fn epochs_are_compared_with_the_papers_ratios() {
    let timing = |method: &str, seconds: f64| json!({ "method": method, "batch": 10, "epoch_seconds": seconds });
    let of = |ordinary: f64, autodiff: f64| {
        let timings =
            [timing("relative", 2.0), timing("ordinary", 2.0 * ordinary), timing("autodiff-streamed", 2.0 * autodiff)];
        judged(epochs(), &experiment(json!({ "timings": timings })))
    };
    let near = of(4.5, 60.0);
    assert!(near.iter().all(|claim| claim.2 == Agreement::Agrees), "{near:?}");
    assert!(of(12.0, 122.0).iter().all(|claim| claim.2 == Agreement::Differs));
    assert!(near[0].1.starts_with("4.5×"), "{}", near[0].1);
}

#[test]
fn a_row_of_table_1_agrees_where_the_errors_overlap_and_a_subset_is_not_compared() {
    let row = |set: &str, provenance: &str, mean: f64| {
        let test = json!({ "mean": mean, "two_standard_errors": 0.9 });
        json!({ "set": set, "ours": { "provenance": provenance, "test": test } })
    };
    let rows = [
        row("BSDS300", "fresh-draw", 150.4),
        row("MNIST", "same-data", -1326.4),
        row("POWER", "subset", -1.4),
        json!({ "set": "GAS", "ours": null }),
    ];
    let judged = judged(likelihoods(), &experiment(json!({ "rows": rows })));
    let of = |set: &str| agreement(&judged, set);
    assert_eq!([of("BSDS300"), of("MNIST")], [Agreement::Agrees, Agreement::Differs]);
    assert_eq!([of("POWER"), of("GAS"), of("HEPMASS")], [Agreement::NotMeasured; 3]);
}

#[test]
fn starts_densities_and_learning_curves_are_read_from_their_numbers() {
    let runs = |method: &str, nats: f64| json!({ "method": method, "last_tenth_nats": [nats, nats] });
    let set = |starts: &str, relative: f64| {
        let shown = [runs("relative", relative), runs("ordinary", -0.23)];
        json!({ "starts": starts, "mixing": 0.9, "shown": shown })
    };
    let numbers = json!({ "sets": [set("orthogonal", -0.22), set("gaussian", -0.36)] });
    let found = judged(starts(), &experiment(numbers));
    assert_eq!([found[0].2, found[1].2], [Agreement::Agrees, Agreement::Differs]);

    let fit = |density: &str, mean: f64| {
        let outcome = json!({ "test": { "mean": mean } });
        json!({ "density": density, "minus_entropy_nats": -2.8, "outcome": outcome })
    };
    let of = |fits: Value| judged(densities(), &experiment(json!({ "fits": fits })))[0].2;
    // The better of two optimisers counts, and the worst of the densities.
    assert_eq!(of(json!([fit("a", -2.85), fit("a", -3.9)])), Agreement::Agrees);
    assert_eq!(of(json!([fit("a", -2.85), fit("b", -3.1)])), Agreement::Differs);

    let model = |first: f64, best: f64| {
        json!({ "settings": { "optimizer": "adam" }, "epochs": [{ "validation_nats": first }],
            "outcome": { "validation": { "mean": best } } })
    };
    let of = |first, best| {
        judged(learning_curves(), &experiment(json!({ "models": [model(-1500.0, -1300.0), model(first, best)] })))[0].2
    };
    assert_eq!([of(-1400.0, -1326.0), of(-1400.0, -1500.0)], [Agreement::Agrees, Agreement::Differs]);
}

#[test]
fn printed_formulas_differ_and_right_ones_would_agree() {
    let erratum = |label: &str, printed: f64| json!({ "erratum": label, "printed": printed, "corrected": 1e-14 });
    let of = |printed: f64, step: f64| {
        let all = ["E1", "E2", "E3", "E6", "E7"].map(|label| erratum(label, printed));
        let all = [all.to_vec(), vec![erratum("E4", step)]].concat();
        judged(errata(), &experiment(json!({ "errata": all })))
    };
    assert!(of(0.5, -0.03).iter().all(|claim| claim.2 == Agreement::Differs));
    assert!(of(1e-15, 0.03).iter().all(|claim| claim.2 == Agreement::Agrees));
}

#[test]
fn operations_have_an_exponent_each_and_the_modes_are_compared() {
    let primitive = |name: &str, p: f64, seconds: f64| {
        json!({ "primitive": name, "exponent": { "value": p, "low": p - 0.02, "high": p + 0.02 }, "from": 500,
            "to": 2000,            "times": [{ "dim": 2000, "round_median_seconds": [seconds, seconds] }] })
    };
    let numbers = json!({ "primitives": [
        primitive("matrix-vector", 2.01, 1.0),
        primitive("inverse", 2.7, 1.0),
        primitive("jacobian-forward", 2.95, 1.0),
        primitive("jacobian-reverse", 2.95, 0.8),
    ] });
    let found = judged(primitives(), &experiment(numbers));
    assert_eq!(agreement(&found, "matrix-vector"), Agreement::Agrees);
    assert_eq!(agreement(&found, "inverse"), Agreement::Differs);
    assert_eq!(agreement(&found, "determinant"), Agreement::NotMeasured);
    assert_eq!(agreement(&found, "forward and reverse"), Agreement::Agrees);
}
