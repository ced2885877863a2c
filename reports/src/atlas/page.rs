//! Tables of an atlas.

use super::{Atlas, LeftOut, Score};
use crate::summary::Estimate;
use crate::table::Table;
use crate::units::{NONE, grouped, number, percent};

/// Machines with their cells.
pub fn machines_table(atlas: &Atlas) -> Table {
    let row = |(place, name): (usize, &String)| {
        let lines: Vec<_> = atlas.lines.iter().filter(|line| line.machine == place).collect();
        let mut methods: Vec<&str> = Vec::new();
        for line in &lines {
            if !methods.contains(&line.series.method.name()) {
                methods.push(line.series.method.name());
            }
        }
        let cells = lines.iter().map(|line| line.points.len()).sum();
        vec![name.clone(), grouped(cells), methods.join(" ")]
    };
    Table::new("machine | >cells | methods", atlas.machines.iter().enumerate().map(row))
}

/// The components of the variance, as standard deviations of ln t.
pub fn variances_table(atlas: &Atlas) -> Table {
    let v = &atlas.variances;
    let row = |(what, variance): (&str, f64)| vec![what.to_string(), percent(variance.sqrt())];
    let rows = [
        ("common function of D, N, L", v.shape),
        ("the same, by method", v.method_shape),
        ("between machines: factor", v.machine),
        ("between machines: function", v.machine_shape),
        ("between machines: factor of a method", v.machine_method),
        ("between machines: function of a method", v.machine_method_shape),
        ("between cells of a machine", v.cell),
        ("between processes of a cell", v.process),
    ];
    let length = vec!["length of the functions, in ln D".to_string(), number(v.length)];
    Table::new("component | >standard deviation", rows.into_iter().map(row).chain([length]))
}

/// Predictions of each machine from the others, and of all.
pub fn left_out_table(left_out: &[LeftOut]) -> Table {
    let all = |of: fn(&LeftOut) -> &Vec<(Estimate, f64)>| -> Vec<(Estimate, f64)> {
        left_out.iter().flat_map(|machine| of(machine).iter().copied()).collect()
    };
    let row = |name: &str, plain: &[(Estimate, f64)], anchors: usize, anchored: &[(Estimate, f64)]| {
        let first = vec![name.to_string()];
        [first, cells_of(plain), vec![grouped(anchors)], cells_of(anchored)].concat()
    };
    let rows = left_out.iter().map(|one| row(&one.machine, &one.plain, one.anchors, &one.anchored));
    let anchors = left_out.iter().map(|one| one.anchors).sum();
    let last = row("all", &all(|one| &one.plain), anchors, &all(|one| &one.anchored));
    let columns = "machine | >cells | >within 95 % | >median error | >anchors | >other cells | >within 95 % | \
                   >median error";
    Table::new(columns, rows.chain([last]))
}

/// Cells, coverage and median error.
fn cells_of(compared: &[(Estimate, f64)]) -> Vec<String> {
    match Score::of(compared) {
        None => [NONE; 3].map(str::to_string).to_vec(),
        Some(Score { cells, covered, median_error }) => {
            vec![grouped(cells), percent(covered as f64 / cells as f64), percent(median_error)]
        }
    }
}
