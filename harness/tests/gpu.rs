//! A study of a GPU, made up: what people get to see of one. None is needed.

mod common;

use std::path::Path;

use common::{run, stderr, stdout};
use relgrad_kernels::{DeviceKind, Math};
use relgrad_reports::fixture;
use relgrad_reports::record::{Gpu, GpuState, Outcome};
use relgrad_reports::writer::{RecordWriter, write_run};

/// A sweep on both devices, the GPU's products in TF32; one of its cells was throttled, and the driver's books differ
/// from ours in another.
fn write(dir: &Path) {
    let mut study = fixture::study_with_gpu();
    study.run.settings.math = Some(Math::Tf32);
    write_run(dir, &study.run).expect("a writable folder");
    let mut writer = RecordWriter::open(dir).expect("a writable folder");
    for record in &mut study.records {
        if record.cell.point.device == DeviceKind::Cuda {
            record.cell.point.math = Some(Math::Tf32);
        }
        if record.cell.point.device == DeviceKind::Cuda && record.outcome == Outcome::Measured {
            let held_back = record.cell.point.dim == 1000;
            let reasons = if held_back { vec!["sw_power_cap".to_string()] } else { Vec::new() };
            let state = GpuState { sm_mhz: Some(1980.0), throttled_by: reasons, ..GpuState::default() };
            let unexplained = if record.cell.point.dim == 100 { 1 << 30 } else { 1 << 20 };
            record.gpu = Some(Gpu {
                event_seconds: record.seconds.clone(),
                first_call_seconds: 2.0,
                graph: record.cell.point.dim < 100,
                driver_bytes: record.peak_bytes.unwrap_or(0) + unexplained,
                before: Some(GpuState::default()),
                after: Some(state),
            });
        }
        writer.append(record).expect("a writable folder");
    }
}

#[test]
fn figure_1_left_and_a_report_come_from_a_study_of_a_gpu() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    write(dir.path());
    let folder = dir.path().to_str().expect("a plain path");
    let output = run(&["plot", folder, "--figure", "fig1-left"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
    let figure = read("figures/fig1-left.svg");
    for label in ["GPU · N = 100 · L = 2 · tf32", "relative", "ordinary", "time of one gradient"] {
        assert!(figure.contains(label), "{label}: {}", stdout(&output));
    }

    let output = run(&["report", folder]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report = read("report.md");
    for part in [
        "Example GPU, 80 GiB",
        "rounded to 11 bits",
        "the GPU held its clocks back; the records say why",
        "the driver's free memory fell by something else",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}
