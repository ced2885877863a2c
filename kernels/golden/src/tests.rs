//! Reading golden files, whole and damaged.

use proptest::prelude::*;
use relgrad_adversary::{damage, damaged, judge};
use relgrad_kernels::{Base, Cpu, Dtype};
use serde_json::json;

use super::*;
use crate::tolerance::GROUPS;

fn array_of(shape: &[usize]) -> Value {
    let count: usize = shape.iter().product();
    let data: Vec<f64> = (0..count).map(|index| index as f64).collect();
    json!({"shape": shape, "layout": "row_major", "data": data})
}

/// A well-formed file with D = 2, L = 1, N = 3; its numbers mean nothing.
fn file() -> Value {
    let (square, wide, vector) = (array_of(&[2, 2]), array_of(&[2, 3]), array_of(&[2]));
    let direction = json!({"dW": [square.clone()], "db": [vector.clone()]});
    let samples = array_of(&[3]);
    let groups: serde_json::Map<String, Value> = GROUPS.iter().map(|group| (group.to_string(), json!(1e-12))).collect();
    json!({
        "schema": "relgrad-golden-1", "id": "tiny", "kind": "dense",
        "config": {
            "D": 2, "L": 1, "N": 3, "last_nonlinear": true, "bias": true, "base": "sech",
            "nonlinearity": {"name": "s_T", "alpha": 1.0, "beta": 0.1},
        },
        "inputs": {"W": [square], "b": [vector], "X": wide.clone()},
        "outputs": {
            "Y": [wide.clone()], "Z": wide.clone(), "delta": [wide.clone()],
            "loglik": {
                "mean": 1.0, "per_sample": samples.clone(), "Lp": samples.clone(), "L1J": samples,
                "L2J": 0.0, "L2J_per_layer": array_of(&[1]),
            },
            "ordinary": direction.clone(), "relative": direction.clone(), "transposed": direction,
            "inverse": {"S": array_of(&[2, 5]), "X": array_of(&[2, 5])},
        },
        "tol": {"f64": groups.clone(), "f64_autodiff": groups.clone(), "f32": groups},
    })
}

/// The complaint about the file after `damage`.
fn complaint(damage: impl FnOnce(&mut Value)) -> String {
    let mut value = file();
    damage(&mut value);
    match read(&value) {
        Err(complaint) => complaint,
        Ok(_) => panic!("the damage went unnoticed"),
    }
}

#[test]
fn sums_are_those_of_their_parts() {
    for field in ["mean", "L2J"] {
        let told = complaint(|file| file["outputs"]["loglik"][field] = json!(99.0));
        assert!(told.contains(&format!("outputs.loglik.{field}")) && told.contains("is 99"), "{told}");
    }
}

#[test]
fn a_whole_file_is_read_column_by_column() {
    let Ok(Case::Network(golden)) = read(&file()) else { panic!("a well-formed file was rejected") };
    assert_eq!((golden.x.rows, golden.x.cols), (2, 3));
    // The rows of the file are 0 1 2 and 3 4 5.
    assert_eq!(golden.x.data, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(golden.outputs.inverse.unwrap()[0].cols, 5);
    assert_eq!(golden.architecture.base, Base::SECH);
}

#[test]
fn damage_is_told_with_its_field() {
    let null = Value::Null;
    let cases: Vec<(String, &str)> = vec![
        (
            complaint(|file| file["schema"] = json!("relgrad-golden-2")),
            "schema: `relgrad-golden-2` is not relgrad-golden-1 or relgrad-golden-rivals-1",
        ),
        (complaint(|file| file["kind"] = json!("round")), "kind: `round` is not dense or conv"),
        (complaint(|file| file["config"]["D"] = json!(0)), "config.D: must be a whole number from 1 to 10000000"),
        (
            complaint(|file| file["config"]["base"] = json!("cauchy")),
            "config.base: `cauchy` is not normal, sech, logistic or laplace",
        ),
        (
            complaint(|file| file["config"]["nonlinearity"]["alpha"] = json!(-1.0)),
            "config: alpha = -1 must be positive and finite",
        ),
        (complaint(|file| file["inputs"]["b"] = null), "inputs.b: must not be null: config.bias is true"),
        (
            complaint(|file| file["inputs"]["W"] = json!([])),
            "inputs.W: must have one entry a layer, 1 in all, and has 0",
        ),
        (
            complaint(|file| file["inputs"]["X"]["shape"] = json!([3, 2])),
            "inputs.X.shape: must be [2, 3] and is [3, 2]",
        ),
        (complaint(|file| file["inputs"]["X"]["layout"] = json!("column_major")), "inputs.X.layout: must be row_major"),
        (
            complaint(|file| file["outputs"]["Y"][0]["data"][4] = json!("4")),
            "outputs.Y[0].data[4]: must be a finite number",
        ),
        (
            complaint(|file| file["outputs"]["Z"]["data"].as_array_mut().map_or((), |data| data.truncate(5))),
            "outputs.Z.data: must have 2·3 numbers and has 5",
        ),
        (complaint(|file| file["outputs"]["relative"] = json!(1)), "outputs.relative: must be an object"),
        (
            complaint(|file| file["tol"]["f32"]["delta"] = json!(0)),
            "tol.f32.delta: must be above 0 and below 1, or null",
        ),
        (
            complaint(|file| drop(file["tol"]["f64"].as_object_mut().and_then(|groups| groups.remove("parts")))),
            "tol.f64.parts: is missing",
        ),
    ];
    for (complaint, expected) in cases {
        assert_eq!(complaint, expected);
    }
}

#[test]
fn kinds_that_are_not_supported_are_told_apart_from_damage() {
    let mut conv = file();
    conv["kind"] = json!("conv");
    conv["config"]["conv"] = json!({"channels": 1, "grid": [1, 6], "support": [[0, 0], [0, 3]]});
    assert!(matches!(read(&conv), Ok(Case::Unsupported { reason, .. }) if reason.contains("no window")));
    conv["config"]["conv"]["support"] = json!([[0, 6]]);
    assert_eq!(read(&conv).err(), Some("config.conv.support[0][1]: must be a whole number from 0 to 5".into()));
    let mut conditional = file();
    conditional["config"]["conditional"] = json!({"kind": "mixture", "d": 2});
    assert!(matches!(read(&conditional), Ok(Case::Unsupported { reason, .. }) if reason.ends_with("of kind mixture")));
    conditional["config"]["conditional"]["kind"] = json!("location_scale_affine");
    assert_eq!(read(&conditional).err(), Some("tol.f64.conditional: is missing".into()));
}

#[test]
fn the_tolerance_of_autodiff_in_f32_follows_from_what_the_file_has() {
    let mut value = file();
    for (group, autodiff, f32) in
        [("ordinary", 1e-10, json!(1e-5)), ("loglik", 1e-4, json!(1e-5)), ("delta", 1e-12, json!(1e-5))]
    {
        value["tol"]["f64_autodiff"][group] = json!(autodiff);
        value["tol"]["f32"][group] = f32;
    }
    value["tol"]["f32"]["parts"] = Value::Null;
    value["check"] = json!({"jax_f64_vs_hp": {"delta": 3e-14}});
    let Ok(Case::Network(golden)) = read(&value) else { panic!("a well-formed file was rejected") };
    let of = |group| golden.tolerances.of(Dtype::F32, Conditioning::Product, group);
    let is = |group, expected: f64| assert!((of(group).expect("a tolerance") / expected - 1.0).abs() < 1e-9, "{group}");
    // Conditioning costs a factor of 100.
    is("ordinary", 1e-3);
    // A factor of 1e8 leaves nothing to expect, and so does null.
    assert_eq!(of("loglik"), None);
    assert_eq!(of("parts"), None);
    // Both tolerances of f64 are at their floor, but the measured error is 3e-14; eps(f32)/eps(f64) is 2^29.
    is("delta", 20.0 * 3e-14 * 2f64.powi(29));
    assert_eq!(golden.tolerances.of(Dtype::F64, Conditioning::Product, "ordinary"), Some(1e-10));
}

#[test]
fn an_index_lists_files_beside_it() {
    let parsed = |files: Value| {
        let text = json!({"schema": "relgrad-golden-1", "files": files}).to_string();
        parse(text.as_bytes())
    };
    let names = vec!["a.json".to_string(), "b.json".to_string()];
    assert!(matches!(parsed(json!(names)), Ok(File::Index(found)) if found == names));
    for name in ["../a.json", "/dev/zero", "", ".", "..", "a/b.json"] {
        let told = parsed(json!([name])).unwrap_err();
        assert_eq!(told, format!("files[0]: `{name}` is not the name of a file beside the index"));
    }
    assert_eq!(parsed(json!([7])).unwrap_err(), "files[0]: must be a text");
    assert!(matches!(parse(file().to_string().as_bytes()), Ok(File::Case(Case::Network(_)))));
}

#[test]
fn a_tolerance_that_anything_meets_is_refused() {
    for tolerance in [json!(1.0), json!(1e300), json!(-1e-3)] {
        let told = complaint(|file| file["tol"]["f64"]["loglik"] = tolerance.clone());
        assert_eq!(told, "tol.f64.loglik: must be above 0 and below 1, or null");
    }
    let told = complaint(|file| file["check"] = json!({"jax_f64_vs_hp": {"delta": -1.0}}));
    assert_eq!(told, "check.jax_f64_vs_hp.delta: must not be negative");
}

/// A case of each kind that can be compared.
fn whole_files() -> impl Strategy<Value = Vec<u8>> {
    let conditional = include_str!("../../tests/golden/p27_conditional.json");
    let convolution = include_str!("../../tests/golden/p28_conv1d.json");
    let index = json!({"schema": "relgrad-golden-1", "files": ["a.json"]}).to_string();
    let texts = [file().to_string(), index, conditional.to_string(), convolution.to_string()];
    prop_oneof![
        6 => Just(texts[0].clone()),
        1 => Just(texts[1].clone()),
        1 => Just(texts[2].clone()),
        1 => Just(texts[3].clone()),
    ]
    .prop_map(String::into_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_read_or_refused_with_its_field(whole in whole_files(), damage in damage()) {
        let text = damaged(&whole, &damage);
        judge(text.len(), || parse(&text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the reader lets through, no backend panics or hangs over it.
    #[test]
    fn what_is_read_of_a_damaged_file_can_be_compared(whole in whole_files(), damage in damage()) {
        let Ok(File::Case(case)) = parse(&damaged(&whole, &damage)) else { return Ok(()) };
        match case {
            Case::Network(golden) => drop(compare(&Cpu::new(1), Dtype::F32, &golden)),
            Case::Rivals(rivals) => drop(compare_rivals(&Cpu::new(1), Dtype::F32, &rivals)),
            Case::Unsupported { .. } => {}
        }
    }
}
