//! The report of several machines.

use super::{Common, Merged, OnMachine, Side, SideBySide, exponents, speedups};
use crate::export::Figure;
use crate::record::Outcome;
use crate::report::{Page, Piece};
use crate::table::Table;
use crate::units::{self, NONE, counted, grouped};

/// The page; the figures come last, and their files lie in `figures/`.
pub fn page(merged: &Merged, figures: Vec<Figure>) -> Page {
    let mut pieces = vec![
        Piece::Paragraph(format!(
            "{}. Medians, intervals, speed-ups and exponents are of one machine each; none is over machines but those \
             of the columns on the right.",
            counted(merged.machines.len(), "machine")
        )),
        Piece::Heading("Machines"),
        Piece::Table(machines(merged)),
    ];
    pieces.extend(merged.told.iter().cloned().map(Piece::Paragraph));
    pieces.extend([Piece::Heading("Exponents"), Piece::Paragraph(HOW_COMMON.into())]);
    pieces.push(table(merged, &exponents(merged), "series", units::exponent, |row| vec![row.series.clone()]));
    pieces.push(Piece::Heading("Speed-ups"));
    let head = |row: &SideBySide| {
        let over = row.over.unwrap_or_default();
        vec![format!("{} over {over}", row.series), row.dim.map_or(NONE.into(), grouped)]
    };
    pieces.push(table(merged, &speedups(merged), "series | >D", units::ratio_estimate, head));
    if !figures.is_empty() {
        pieces.extend([Piece::Heading("Figures"), Piece::Figures(figures)]);
    }
    Page { title: format!("relgrad on {}", counted(merged.machines.len(), "machine")), pieces }
}

const HOW_COMMON: &str = "Exponents p of time ∝ Dᵖ, over the range of D of each machine. Common: y = μ + machine + \
    error, the variance τ² between machines by Paule and Mandel, the interval of μ by Hartung and Knapp. A further \
    machine: where it lies with 95 % probability. Speed-ups are pooled by their logarithms.";

fn machines(merged: &Merged) -> Table {
    let row = |(i, machine): (usize, &OnMachine)| {
        let OnMachine { name, folders, study, .. } = machine;
        let facts = &study.run.machine;
        let count = |outcome| study.records.iter().filter(|record| record.outcome == outcome).count();
        vec![
            merged.letter(i),
            name.clone(),
            units::bytes(facts.memory_bytes as f64),
            if facts.gpus.is_empty() { facts.os.clone() } else { format!("{}; {}", facts.os, facts.gpus.join("; ")) },
            grouped(count(Outcome::Measured)),
            grouped(count(Outcome::Skipped) + count(Outcome::Failed)),
            grouped(study.run.settings.rounds),
            folders.join(", "),
        ]
    };
    let columns = " | machine | >memory | system | >cells measured | >not measured | >rounds | folders";
    Table::new(columns, merged.machines.iter().enumerate().map(row))
}

/// Rows with a column a machine, and what they have in common.
fn table(
    merged: &Merged,
    rows: &[SideBySide],
    head: &str,
    text: impl Fn(&crate::summary::Estimate) -> String,
    first: impl Fn(&SideBySide) -> Vec<String>,
) -> Piece {
    if rows.is_empty() {
        return Piece::Paragraph("No machine measured enough for it.".into());
    }
    let letters: String = (0..merged.machines.len()).map(|i| format!(" | >{}", merged.letter(i))).collect();
    let side = |side: &Option<Side>| side.map_or(NONE.to_string(), |side| text(&side.value));
    let of_common = |common: &Option<Common>| match common {
        None => [NONE, NONE, NONE].map(str::to_string),
        Some(Common { value, between, further, .. }) => {
            [text(value), units::plain(round(*between)), further.map_or(NONE.to_string(), |further| text(&further))]
        }
    };
    let row = |row: &SideBySide| {
        let sides = row.sides.iter().map(side);
        first(row).into_iter().chain(sides).chain(of_common(&row.common)).collect::<Vec<_>>()
    };
    let columns = format!("{head}{letters} | >common [95 %] | >τ | >a further machine");
    Piece::Table(Table::new(&columns, rows.iter().map(row)))
}

/// To three decimals.
fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}
