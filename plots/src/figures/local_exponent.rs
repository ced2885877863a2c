//! Exponents of time between neighbouring dimensions, at the middle of the two on the logarithmic axis.

use relgrad_reports::fit::LocalExponent;

use super::Spec;
use crate::chart::{self, Intervals, Plot, Reference, Scale};
use crate::data::{self, Shown};
use crate::guides::Laws;
use crate::scene::Scene;

pub(super) const SPEC: Spec = Spec { name: "local-exponent", device: None, every_batch: false, needs, draw, caption };

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no method has measured times at two dimensions: run `relgrad sweep` with several --dims";
    super::require(shown.series().any(|s| !s.local_exponents.is_empty()), missing)
}

fn draw(shown: &Shown<'_>) -> Scene {
    chart::draw(shown.paper, &shown.conditions(), &[plot(shown)])
}

fn plot(shown: &Shown<'_>) -> Plot<'static> {
    let curves = shown.curves(|series| {
        let middle = |l: &LocalExponent| ((l.from as f64 * l.to as f64).sqrt(), data::sound(l.exponent));
        let finite = series.local_exponents.iter().filter(|l| l.exponent.value.is_finite());
        (finite.map(middle).collect(), Vec::new())
    });
    let levels = Laws::of(&shown.study.run.settings).labelled().map(|(power, label)| (power, label.to_string()));
    Plot {
        intervals: Intervals::Bars,
        reference: Reference::Levels(levels.to_vec()),
        ..Plot::new("local exponent of time", Scale::Linear { low: 0.0, high: 3.0 }, curves)
    }
}

fn caption(shown: &Shown<'_>) -> String {
    let laws = Laws::of(&shown.study.run.settings);
    format!(
        "Exponent of time between neighbouring dimensions, ln(t₂/t₁) / ln(D₂/D₁), at their geometric mean, \
         where the methods stand next to one another ({}).{} The markers of a power law have one height. A rise \
         towards {} or {} shows that the leading term dominates.",
        shown.conditions_of_machine(),
        chart::explained(&[plot(shown)]),
        laws.low,
        laws.high
    )
}
