//! The errata of the paper, in numbers.

use relgrad_kernels::reference::errata::{self, Erratum};
use relgrad_reports::experiment::Dot;
use relgrad_reports::units;
use serde_json::json;

use super::{Context, Findings, dots, signed, table, texts};
use crate::error::{Error, Result};

/// What the paper has, what it should have, and where; y = Wz throughout. MATH.md §17 has the others, which are of
/// words and counts.
const PLACES: [(&str, &str, &str); 6] = [
    ("E1", "(P.6) and below (P.19): ΔW from z δᵀ", "δ zᵀ"),
    ("E2", "(P.19): W_{k+1} δ_{k+1}", "W_{k+1}ᵀ δ_{k+1}"),
    ("E3", "(P.15), (P.20), (P.21): z δᵀ WᵀW", "δ zᵀ WᵀW"),
    ("E4", "App. A: steps of −μ", "+μ"),
    ("E6", "App. F: the last row of the gradient of log|det| is zero", "−bᵀW^{-T}, projected out"),
    ("E7", "(P.33): Δb without + b", "+ b, the share of log|det|"),
];

/// D = 6, L = 3, f64; seconds.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let measured = errata::measure(context.seed).map_err(|cause| Error::Diverged(cause.to_string()))?;
    let found = |label: &str| measured.iter().find(|erratum| erratum.label == label).copied();
    let known: Vec<_> = PLACES.iter().filter_map(|place| Some((place, found(place.0)?))).collect();
    let size = |label: &str, value: f64| match label {
        "E4" => format!("{} nats a step", signed(value, 4)),
        "E6" => signed(value, 2),
        _ => units::scientific(value),
    };
    let row = |((label, printed, corrected), erratum): &(&(&str, &str, &str), Erratum)| {
        let [as_printed, as_corrected] = [erratum.printed, erratum.corrected].map(|value| size(label, value));
        texts([label, printed, &as_printed, corrected, if *label == "E6" { "–" } else { &as_corrected }])
    };
    let number = |(_, Erratum { label, printed, corrected }): &(_, Erratum)| {
        let (printed, corrected) = (*printed, *corrected);
        json!({ "erratum": label, "printed": printed, "corrected": corrected })
    };
    let dot = |(_, Erratum { label, printed, corrected }): &(_, Erratum)| {
        let named = |words: &str, value: f64| Dot {
            name: format!("{label}, {words}"),
            value: Some(value),
            interval: None,
            note: units::scientific(value),
        };
        [named("printed", *printed), named("corrected", *corrected)]
    };
    let is_error = |(_, erratum): &&(_, Erratum)| ["E1", "E2", "E3", "E7"].contains(&erratum.label);
    let columns = ["erratum", "as printed", "error or effect", "corrected", "error or effect"];
    Ok(Findings {
        numbers: json!({ "errata": known.iter().map(number).collect::<Vec<_>>() }),
        table: table(columns, known.iter().map(row).collect()),
        notes: texts([
            "Errors are ‖a − b‖/‖b‖ against automatic differentiation through the full Jacobian, the largest of three \
             layers; D = 6, 20 samples, f64. E4: by what the mean log-likelihood changes in a step of 0.01. E6: the \
             largest entry of that row.",
            "kernels/MATH.md, section 17, lists all errata; those not here are of words and counts.",
        ]),
        figure: dots("relative error", None, known.iter().filter(is_error).flat_map(dot).collect()),
    })
}
