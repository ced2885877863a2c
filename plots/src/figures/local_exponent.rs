//! Exponents of time between neighbouring dimensions, at the middle of the two on the logarithmic axis.

use relgrad_reports::export::cell_key;
use relgrad_reports::fit::LocalExponent;
use relgrad_reports::summary::Series;

use super::{Content, Spec};
use crate::chart::{self, Intervals, Plot, Reference, Scale};
use crate::data::{self, Along, Shown};
use crate::guides::Laws;

pub(super) const SPEC: Spec =
    Spec { name: "local-exponent", device: None, along: Along::Dim, needs, content: CONTENT, caption };

const CONTENT: Content = Content::Panels(|shown| vec![plot(shown)]);

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no method has measured times at two dimensions: run `relgrad sweep` with several --dims";
    super::require(shown.series().any(|s| !s.local_exponents.is_empty()), missing)
}

fn plot(shown: &Shown<'_>) -> Plot<'static> {
    let mut curves = shown.curves(|series| {
        let middle = |l: &LocalExponent| ((l.from as f64 * l.to as f64).sqrt(), data::sound(l.exponent));
        (finite(series).map(middle).collect(), Vec::new())
    });
    let with_cells = shown.series().filter(|series| finite(series).next().is_some());
    for (curve, series) in curves.iter_mut().zip(with_cells) {
        curve.cells = finite(series).map(|l| [l.from, l.to].map(|dim| cell_key(series, dim)).into()).collect();
    }
    let levels = Laws::of(&shown.study.run.settings).labelled().map(|(power, label)| (power, label.to_string()));
    Plot {
        intervals: Intervals::Bars,
        reference: Reference::Levels(levels.to_vec()),
        ..Plot::new("local exponent of time", Scale::Linear { low: 0.0, high: 3.0 }, curves)
    }
}

fn finite(series: &Series) -> impl Iterator<Item = &LocalExponent> {
    series.local_exponents.iter().filter(|l| l.exponent.value.is_finite())
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
