//! The atlas of the archive: what the program carries, and what it is worth on machines that it does not know.

use std::path::Path;

use relgrad_reports::atlas::{Atlas, Data, Folder, LeftOut, Score, leave_one_out};
use relgrad_reports::summary::Estimate;

/// The folders that the built-in atlas is fitted to, below `reports/archive`.
const FOLDERS: [&str; 18] = [
    "2026-11-24-zen3-2-cores",
    "2026-11-24-zen3-2-cores-peers",
    "2026-11-26-xeon-2-cores",
    "2026-11-26-xeon-2-cores-peers",
    "2026-11-26-zen5-2-cores",
    "2026-11-26-zen5-2-cores-peers",
    "2026-11-26-zen1-2-cores-peers",
    "2026-11-26-nvidia-h200/f32",
    "2026-11-26-nvidia-h200/tf32",
    "2026-11-26-nvidia-h200/peers",
    "2026-11-29-few-samples",
    "2026-11-29-xeon-batches/f32",
    "2026-11-29-xeon-batches/f64",
    "2026-11-29-rivals",
    "2026-11-29-threads",
    "2026-11-29-bf16/f32",
    "2026-11-29-bf16/bf16",
    "2026-11-29-dim-50000",
];

fn data(folders: &[&str]) -> Data {
    let read = |name: &&str| {
        Folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("reports/archive").join(name)).unwrap()
    };
    Data::of(&folders.iter().map(read).collect::<Vec<_>>())
}

#[test]
fn the_built_in_atlas_has_the_cells_of_the_archive() {
    let data = data(&FOLDERS);
    let atlas = Atlas::built_in().unwrap();
    assert_eq!(atlas.machines, data.machines);
    let cells: usize = atlas.lines.iter().map(|line| line.points.len()).sum();
    assert_eq!(cells, data.data.len());
    for datum in &data.data {
        let is_point = |(dim, log_ratio, processes): &(usize, f64, usize)| {
            *dim == datum.cell.dim && *processes == datum.processes && (log_ratio - datum.log_ratio).abs() < 1e-9
        };
        let lines = atlas.lines.iter().filter(|line| line.machine == datum.machine);
        assert!(lines.flat_map(|line| &line.points).any(is_point), "{datum:?}");
    }
}

/// The sweeps at the settings of the paper alone: D by three or four methods, on five machines.
#[test]
fn machines_of_the_archive_are_predicted_from_the_others() {
    let left_out = leave_one_out(&data(&FOLDERS[..8])).unwrap();
    let all = |of: fn(&LeftOut) -> &Vec<(Estimate, f64)>| {
        Score::of(&left_out.iter().flat_map(|one| of(one).clone()).collect::<Vec<_>>()).unwrap()
    };
    let (plain, anchored) = (all(|one| &one.plain), all(|one| &one.anchored));
    assert!(plain.cells > 150 && anchored.cells > 100, "{plain:?} {anchored:?}");
    for score in [plain, anchored] {
        assert!(score.covered as f64 >= 0.9 * score.cells as f64, "{plain:?} {anchored:?}");
    }
    assert!(plain.median_error < 0.15 && anchored.median_error < 0.12, "{plain:?} {anchored:?}");
}
