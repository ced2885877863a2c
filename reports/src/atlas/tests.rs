use relgrad_vocabulary::{DeviceKind, Math, Method};

use super::cholesky::Cholesky;
use super::collect::{Data, Datum, Folder};
use super::covariance::{Located, Variances};
use super::page::left_out_table;
use super::trial::{LeftOut, Score, choose_anchors, leave_one_out};
use super::{Anchor, Atlas, AtlasCell, AtlasSeries, Predictor, file, machine_name};
use crate::fixture;
use crate::record::run::Machine;
use crate::record::study::Study;
use crate::statistics::random::Random;
use crate::summary::Estimate;

const METHODS: [Method; 3] = [Method::Relative, Method::Ordinary, Method::Autodiff];
const DIMS: [usize; 7] = [10, 30, 100, 300, 1000, 3000, 10_000];

/// What simulated machines are drawn from.
const TRUTH: Variances = Variances {
    length: 2.5,
    shape: 0.6,
    method_shape: 0.2,
    machine: 0.03,
    machine_shape: 0.02,
    machine_method: 0.01,
    machine_method_shape: 0.01,
    cell: 0.004,
    process: 0.001,
};

fn cell(method: Method, dim: usize) -> AtlasCell {
    let series = AtlasSeries { method, device: DeviceKind::Cpu, math: Math::F32, threads: 2, batch: 100, layers: 2 };
    AtlasCell { series, dim }
}

/// Cells of some machines, drawn from [`TRUTH`] with three processes each.
fn simulated(machines: usize, seed: u64) -> Data {
    let mut random = Random::new(seed);
    let of_machine = |machine| METHODS.iter().flat_map(move |&method| DIMS.map(|dim| (machine, cell(method, dim))));
    let cells: Vec<(usize, AtlasCell)> = (0..machines).flat_map(of_machine).collect();
    let places: Vec<Located> = cells.iter().map(|(machine, cell)| Located::new(*machine, *cell)).collect();
    let entry = |i: usize, j: usize| TRUTH.covariance(&places[i], &places[j]) + if i == j { TRUTH.cell } else { 0.0 };
    let factor = Cholesky::of(cells.len(), entry).unwrap();
    let drawn = factor.times(&cells.iter().map(|_| random.normal()).collect::<Vec<_>>());
    let mut data = Data {
        machines: (0..machines).map(|machine| format!("machine {machine}")).collect(),
        scatter: vec![(0.0, 0); machines],
        ..Data::default()
    };
    for ((machine, cell), y) in cells.into_iter().zip(drawn) {
        let logs: [f64; 3] = std::array::from_fn(|_| y + TRUTH.process.sqrt() * random.normal());
        let log_ratio = logs.iter().sum::<f64>() / 3.0;
        let scatter = &mut data.scatter[machine];
        *scatter = (scatter.0 + logs.iter().map(|log| (log - log_ratio).powi(2)).sum::<f64>(), scatter.1 + 2);
        data.data.push(Datum { machine, cell, log_ratio, processes: 3, early: (logs[0], 1), model_seconds: 1e-3 });
    }
    data
}

/// Over six simulated archives of eight machines each.
#[test]
fn the_components_of_the_variance_are_found_again() {
    let fits: Vec<Variances> = (0..6).map(|seed| Atlas::fit(&simulated(8, seed)).unwrap().variances).collect();
    let mean = |of: fn(&Variances) -> f64| (fits.iter().map(|v| of(v).ln()).sum::<f64>() / 6.0).exp() / of(&TRUTH);
    for (what, ratio, most) in [
        ("process", mean(|v| v.process), 1.15),
        ("cell", mean(|v| v.cell), 1.6),
        ("between machines", mean(|v| v.machine + v.machine_shape), 2.0),
        ("between methods on machines", mean(|v| v.machine_method + v.machine_method_shape), 2.0),
    ] {
        assert!((1.0 / most..most).contains(&ratio), "{what}: {ratio} times the truth");
    }
}

/// Over ten simulated archives of five machines: what is left out shares its intercepts, so fifty machines are what
/// counts, and 95 % of them have a standard error of 3 %.
#[test]
fn intervals_cover_machines_that_were_left_out() {
    let left_out: Vec<LeftOut> = (100..110).flat_map(|seed| leave_one_out(&simulated(5, seed)).unwrap()).collect();
    let all = |of: fn(&LeftOut) -> &Vec<(Estimate, f64)>| {
        Score::of(&left_out.iter().flat_map(|one| of(one).clone()).collect::<Vec<_>>()).unwrap()
    };
    let (plain, anchored) = (all(|one| &one.plain), all(|one| &one.anchored));
    for Score { cells, covered, .. } in [plain, anchored] {
        let share = covered as f64 / cells as f64;
        assert!((0.90..=0.995).contains(&share), "{plain:?} {anchored:?}");
    }
    assert!(anchored.median_error < 0.8 * plain.median_error, "{plain:?} {anchored:?}");
}

/// A study on a machine `factor` times as slow in everything.
fn slower(factor: f64) -> Study {
    let mut study = fixture::study();
    study.run.machine.cpu = format!("Chip {factor}");
    study.records.iter_mut().for_each(|record| record.seconds.iter_mut().for_each(|seconds| *seconds *= factor));
    for roofline in &mut study.run.rooflines {
        roofline.rates.iter_mut().flat_map(|rate| &mut rate.seconds).for_each(|seconds| *seconds *= factor);
        roofline.bandwidths.iter_mut().flat_map(|stream| &mut stream.seconds).for_each(|seconds| *seconds *= factor);
    }
    study
}

fn data(studies: &[Study]) -> Data {
    let folders: Vec<Folder> =
        studies.iter().enumerate().map(|(i, study)| Folder::of(format!("study {i}"), study)).collect();
    Data::of(&folders)
}

#[test]
fn a_machine_that_is_slower_in_everything_is_predicted_by_its_ceilings() {
    let data = data(&[slower(1.0), slower(2.0), slower(3.0)]);
    assert_eq!((data.machines.len(), data.told.as_slice()), (3, &[][..]));
    let atlas = Atlas::fit(&data).unwrap();
    let further = slower(10.0);
    let predictor = |anchors: &[Anchor]| {
        Predictor::new(&atlas, &further.run.machine, further.run.rooflines.clone(), anchors).unwrap()
    };
    assert!(!predictor(&[]).is_known());
    let measured = further.records.iter().filter(|record| record.is_valid() && record.cell.round == 0);
    for record in measured {
        let seconds = crate::statistics::median(&record.seconds).unwrap();
        let predicted = predictor(&[]).seconds(&record.cell, &record.model, 1).unwrap();
        assert!((predicted.value / seconds - 1.0).abs() < 0.1, "{:?}: {predicted:?} {seconds}", record.cell);
        let anchor = Anchor { cell: record.cell, model: record.model, seconds: vec![2.0 * seconds; 2] };
        let moved = predictor(std::slice::from_ref(&anchor)).seconds(&record.cell, &record.model, 1).unwrap();
        assert!(moved.value > 1.1 * predicted.value, "{moved:?} {predicted:?}");
    }
}

#[test]
fn what_cannot_be_used_is_told() {
    let mut blind = slower(4.0);
    blind.run.rooflines.clear();
    let known = data(&[slower(1.0), blind]);
    assert_eq!(known.machines.len(), 1);
    let told = &known.told[0];
    assert!(told.starts_with("study 1: ") && told.contains("no folder has the ceilings"), "{told}");
    let told = Atlas::fit(&known).unwrap_err();
    assert!(told.contains("two machines") && told.ends_with("here are: one with cpu"), "{told}");
    let told = leave_one_out(&data(&[slower(1.0), slower(2.0)])).unwrap_err();
    assert!(told.starts_with("without Chip 1, ") && told.contains("two machines"), "{told}");
}

#[test]
fn processors_of_one_name_are_told_apart_by_what_they_have() {
    let zen = |simd: &str, cache: &str| Machine {
        cpu: "AMD EPYC Processor".into(),
        simd: simd.into(),
        logical_cores: 2,
        caches: vec!["L1 32K data".into(), cache.into()],
        gpus: vec!["NVIDIA H200, 140 GiB, driver 580".into()],
        ..Machine::default()
    };
    let (old, new) = (zen("avx2+fma", "L3 8192K unified, shared by cores 0-1"), zen("avx512", "L3 32768K"));
    assert_eq!(machine_name(&old, DeviceKind::Cpu), "AMD EPYC, avx2+fma, 2 cores, L3 8192K");
    assert_eq!(machine_name(&new, DeviceKind::Cpu), "AMD EPYC, avx512, 2 cores, L3 32768K");
    assert_eq!(machine_name(&old, DeviceKind::Cuda), "NVIDIA H200, 140 GiB");
}

#[test]
fn anchors_are_the_ends_and_the_middle_of_what_is_quick() {
    let quick = |dim: usize| (cell(Method::Relative, dim), 1e-6 * dim as f64);
    let mut cells: Vec<_> = [10, 200, 2000, 10_000, 1_000_000].map(quick).to_vec();
    cells.push((cell(Method::Autodiff, 10), 3.0));
    let mut few = cell(Method::Relative, 50);
    few.series.batch = 1;
    cells.push((few, 1e-6));
    assert_eq!(choose_anchors(&cells), [0, 1, 3]);
    assert_eq!(choose_anchors(&[quick(20)]), [0]);
}

#[test]
fn a_file_reads_back_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("atlas.json");
    let atlas = Atlas::fit(&simulated(3, 1)).unwrap();
    atlas.write(&path).unwrap();
    assert_eq!(Atlas::read(&path).unwrap(), atlas);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() > 9, "a line of the file for each of the atlas");
    for (from, to, told) in [
        ("\"schema\":1", "\"schema\":2", "schema version 2"),
        ("\"machine\":2", "\"machine\":3", "machine 3 of 3"),
        ("\"math\":\"f32\"", "\"math\":\"tf32\"", "does not know"),
        ("[10,", "[0,", "D is 0"),
        (",3]", ",0]", "processes is 0"),
        ("\"length\":", "\"long\":", "missing field `length`"),
        ("machine 1", "machine 0", "named twice"),
        ("\"cell\":", "\"cell\":-", "variance"),
    ] {
        assert!(text.contains(from), "{from}");
        let damaged = text.replacen(from, to, 1);
        let error = file::parse(&path, damaged.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("is no atlas"), "{from}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_table_has_a_row_a_machine_and_one_for_all() {
    let estimate = |value: f64| Estimate { value, low: 0.8 * value, high: 1.25 * value };
    let compared = |errors: &[f64]| errors.iter().map(|error| (estimate(1.0 + error), 1.0)).collect::<Vec<_>>();
    let known = LeftOut {
        machine: "AMD EPYC, avx512, 2 cores, L3 32768K".into(),
        plain: compared(&[0.1, -0.05, 0.4, 0.02]),
        anchored: compared(&[0.01, 0.02, -0.03]),
        anchors: 1,
    };
    let alone = LeftOut {
        machine: "NVIDIA H200, 140 GiB".into(),
        plain: Vec::new(),
        anchored: compared(&[0.12, 0.5]),
        anchors: 6,
    };
    insta::assert_snapshot!(left_out_table(&[known, alone]).text());
}
