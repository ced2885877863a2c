//! What other programs build on: the roofline as JSON, the case for other implementations, the bare evaluation.

mod common;

use common::{ends, words};
use serde_json::Value;

fn json(line: &str) -> Value {
    serde_json::from_str(&ends(&mut words(line), 0).0).expect("JSON")
}

#[test]
fn the_roofline_as_json_has_every_rate_at_every_type_and_thread_count() {
    let value = json("roofline --quick --json --threads 1,2 --batch 10");
    assert_eq!(value["schema"], 1);
    let roofline = &value["roofline"];
    let rates = roofline["rates"].as_array().expect("rates");
    for dtype in ["f32", "f64"] {
        for threads in [1, 2] {
            for operation in ["square-product", "forward-product", "pull-back-product", "outer-product", "inverse"] {
                let found = rates.iter().filter(|rate| {
                    rate["operation"] == operation && rate["dtype"] == dtype && rate["threads"] == threads
                });
                for rate in found.clone() {
                    let flops = rate["flops"].as_f64().expect("a count");
                    let mut seconds: Vec<f64> = serde_json::from_value(rate["seconds"].clone()).expect("samples");
                    seconds.sort_by(f64::total_cmp);
                    let (low, high) = (flops / seconds[seconds.len() - 1], flops / seconds[0]);
                    let rate = rate["flops_per_second"].as_f64().expect("a rate");
                    assert!(low <= rate && rate <= high, "{rate} is not between {low} and {high}");
                }
                assert!(found.count() >= 1, "{operation} in {dtype} on {threads} threads");
            }
        }
    }
    assert_eq!(roofline["bandwidths"].as_array().map(Vec::len), Some(4));
    assert_eq!(roofline["regions"].as_array().map(Vec::len), Some(2));
}

/// The matrix product of column-major D×D matrices.
fn product(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let entry = |i: usize, j: usize| (0..dim).map(|k| a[i + k * dim] * b[k + j * dim]).sum();
    (0..dim * dim).map(|at| entry(at % dim, at / dim)).collect()
}

fn transpose(a: &[f64], dim: usize) -> Vec<f64> {
    (0..dim * dim).map(|at| a[at / dim + (at % dim) * dim]).collect()
}

/// The results of a case hang together by algebra alone: ΔW = G WᵀW, the step is W + μΔW, and autodiff agrees.
#[test]
fn the_results_of_a_case_are_those_of_its_inputs() {
    const DIM: usize = 6;
    let case = json("peer-case --dim 6 --batch 4 --dtype f64 --seed 3");
    let arrays = |value: &Value| -> Vec<Vec<f64>> { serde_json::from_value(value.clone()).expect("arrays") };
    let (weights, results) = (arrays(&case["weights"]), &case["results"]);
    let mu = case["step_size"].as_f64().expect("a step size");
    assert_eq!(case["x"].as_array().map(Vec::len), Some(4 * DIM));
    for (k, w) in weights.iter().enumerate() {
        let of = |method: &str| arrays(&results[method]).swap_remove(k);
        let (ordinary, relative) = (of("ordinary"), of("relative"));
        let close = |a: &[f64], b: &[f64]| {
            let scale = b.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-10 * scale)
        };
        assert!(!close(&relative, &ordinary), "a factor WᵀW must show");
        let gram = product(&transpose(w, DIM), w, DIM);
        assert!(close(&relative, &product(&ordinary, &gram, DIM)), "layer {k}");
        let stepped: Vec<f64> = w.iter().zip(&relative).map(|(w, d)| w + mu * d).collect();
        assert!(close(&of("relative-inplace"), &stepped), "layer {k}");
        assert!(close(&of("autodiff"), &ordinary) && close(&of("autodiff-streamed"), &ordinary), "layer {k}");
    }
}

/// One layer of one dimension: ℓ(x) = −(wx)²/2 − ½ log 2π + log|w|.
#[test]
fn the_likelihood_of_a_case_is_that_of_its_inputs() {
    let case = json("peer-case --dim 1 --layers 1 --batch 5 --dtype f64");
    let w = case["weights"][0][0].as_f64().expect("a weight");
    let x: Vec<f64> = serde_json::from_value(case["x"].clone()).expect("a batch");
    let data = x.iter().map(|x| -0.5 * (w * x).powi(2)).sum::<f64>() / x.len() as f64;
    let expected = data - 0.5 * std::f64::consts::TAU.ln() + w.abs().ln();
    let found = case["log_likelihood"].as_f64().expect("a likelihood");
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[test]
fn the_models_of_a_case_come_without_numbers() {
    let case = json("peer-case --dim 1000 --models");
    assert_eq!(case["models"]["relative"]["flops"].as_f64(), Some(1.4e9));
    assert!(case.get("weights").is_none() && case.get("results").is_none());
}

#[test]
fn an_evaluation_prints_nothing() {
    assert_eq!(ends(&mut words("evaluate --dim 10 --count 3"), 0), (String::new(), String::new()));
}
