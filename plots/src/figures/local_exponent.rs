//! Exponents of time between neighbouring dimensions, at the middle of the two on the logarithmic axis.

use relgrad_reports::fit::LocalExponent;

use super::Spec;
use crate::chart::{self, Plot, Reference, Scale};
use crate::data::{self, Shown};
use crate::guides::Laws;
use crate::scene::Scene;

pub(super) const SPEC: Spec = Spec { name: "local-exponent", device: None, every_batch: false, needs, draw, caption };

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no method has measured times at two dimensions: run `relgrad sweep` with several --dims";
    super::require(shown.series().any(|s| !s.local_exponents.is_empty()), missing)
}

fn draw(shown: &Shown<'_>) -> Scene {
    let curves = shown.curves(|series| {
        let middle = |l: &LocalExponent| ((l.from as f64 * l.to as f64).sqrt(), data::sound(l.exponent));
        series.local_exponents.iter().filter(|l| l.exponent.value.is_finite()).map(middle).collect()
    });
    let levels = Laws::of(&shown.study.run.settings).labelled().map(|(power, label)| (power, label.to_string()));
    let plot = Plot {
        reference: Reference::Levels(levels.to_vec()),
        ..Plot::new("local exponent of time", Scale::Linear { low: 0.0, high: 3.0, farthest: 1.0 }, curves)
    };
    chart::draw(&shown.conditions(), &[plot])
}

fn caption(shown: &Shown<'_>) -> String {
    let laws = Laws::of(&shown.study.run.settings);
    format!(
        "Exponent of time between neighbouring dimensions, ln(t₂/t₁) / ln(D₂/D₁), at their geometric mean ({}). Bands \
         are 95 % confidence intervals, cut off at the edge of the panel. A power law is a horizontal line. A rise \
         towards {} or {} shows that the leading term dominates.",
        shown.conditions_of_machine(),
        laws.low,
        laws.high
    )
}
