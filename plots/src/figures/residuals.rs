//! Measured over fitted times within the range of each fit.

use relgrad_reports::summary::{Estimate, Residual, Series};
use relgrad_reports::units::grouped;

use super::{Content, Spec};
use crate::chart::{self, Intervals, Plot, Reference, Scale};
use crate::data::{self, Along, Shown};

pub(super) const SPEC: Spec =
    Spec { name: "residuals", device: None, along: Along::Dim, needs, content: CONTENT, caption };

const CONTENT: Content = Content::Panels(|shown| vec![plot(shown)]);

fn needs(shown: &Shown<'_>) -> Result<(), String> {
    let missing = "no method has measured times at three dimensions to fit: run `relgrad sweep` with more --dims";
    super::require(shown.series().any(|s| s.fit.is_some()), missing)
}

fn plot(shown: &Shown<'_>) -> Plot<'static> {
    let curves = shown.curves(|series| {
        let is_inside = |r: &&Residual| series.fit.is_some_and(|fit| (fit.from..=fit.to).contains(&r.dim));
        let inside = series.residuals.iter().filter(is_inside);
        let finite = inside.filter(|r| r.ratio.is_finite() && r.ratio > 0.0);
        let measured: Vec<_> = finite.map(|r| (r.dim as f64, residual(series, r))).collect();
        let fitted = |dim: usize| {
            let at = measured.iter().find(|(of, _)| *of == dim as f64)?.1.value;
            Some(series.points.iter().find(|p| p.dim == dim)?.seconds.value / at)
        };
        let processes = shown.processes(series, |r| Some(data::seconds(r)? / fitted(r.cell.point.dim)?));
        (measured, processes)
    });
    Plot {
        intervals: Intervals::Bars,
        reference: Reference::Levels(vec![(1.0, "the fitted power law".to_string())]),
        ..Plot::new("measured / fitted time", Scale::Linear { low: 0.8, high: 1.2 }, curves)
    }
}

/// The ratio with the relative interval of the measured median.
fn residual(series: &Series, residual: &Residual) -> Estimate {
    let seconds = series.points.iter().find(|p| p.dim == residual.dim).map(|p| data::sound(p.seconds));
    let scaled = |end: f64, value: f64| residual.ratio * end / value;
    seconds.map_or(data::exactly(residual.ratio), |s| Estimate {
        value: residual.ratio,
        low: scaled(s.low, s.value),
        high: scaled(s.high, s.value),
    })
}

fn caption(shown: &Shown<'_>) -> String {
    let range = |s: &Series| {
        let fit = s.fit.as_ref()?;
        Some(format!("{} {} to {}", s.method, grouped(fit.from), grouped(fit.to)))
    };
    format!(
        "Measured median divided by the time of the fitted power law, within the range of the fit ({}).{} Fitted over \
         D: {}. A curved residual means that one power law does not describe the range.",
        shown.conditions_of_machine(),
        chart::explained(&[plot(shown)]),
        shown.series().filter_map(range).collect::<Vec<_>>().join(", ")
    )
}
