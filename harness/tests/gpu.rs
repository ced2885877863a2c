//! A study of a GPU, made up: what people get to see of one. None is needed.

mod common;

use common::{ends, relgrad};
use relgrad_kernels::{DeviceKind, Math};
use relgrad_reports::fixture;
use relgrad_reports::record::{Gpu, GpuState, Outcome};
use relgrad_reports::study::Study;

/// A sweep on both devices, the GPU's products in TF32; one of its cells was throttled, and the driver's books differ
/// from ours in another.
fn study() -> Study {
    let mut study = fixture::study_with_gpu();
    study.run.settings.math = Some(Math::Tf32);
    for record in study.records.iter_mut().filter(|record| record.cell.point.device == DeviceKind::Cuda) {
        record.cell.point.math = Some(Math::Tf32);
        if record.outcome == Outcome::Measured {
            let unexplained = if record.cell.point.dim == 100 { 1 << 30 } else { 1 << 20 };
            let driver_bytes = record.peak_bytes.unwrap_or(0) + unexplained;
            let mut gpu = Gpu { driver_bytes, ..fixture::gpu(record) };
            if record.cell.point.dim == 1000 {
                gpu.after = Some(GpuState { throttled_by: vec!["sw_power_cap".to_string()], ..GpuState::default() });
            }
            record.gpu = Some(gpu);
        }
    }
    study
}

#[test]
fn figure_1_left_and_a_report_come_from_a_study_of_a_gpu() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    fixture::write(dir.path(), &study()).expect("a writable folder");
    let folder = dir.path().to_str().expect("a plain path");
    ends(relgrad().args(["plot", folder, "--figure", "fig1-left"]), 0);
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
    let figure = read("figures/fig1-left.svg");
    for label in ["GPU · N = 100 · L = 2 · tf32", "relative", "ordinary", "time of one gradient"] {
        assert!(figure.contains(label), "{label}");
    }

    ends(relgrad().args(["report", folder]), 0);
    let report = read("report.md");
    for part in [
        "Example GPU, 80 GiB",
        "rounded to 11 bits",
        "the GPU was throttled; records.jsonl states the reasons",
        "free device memory fell by another amount than our buffers",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}
