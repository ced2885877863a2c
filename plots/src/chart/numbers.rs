//! The numbers of panels, with which the script of a page draws them again.

use plotters::style::RGBColor;
use relgrad_reports::export::{Chart, ChartAxis, ChartCurve, ChartPanel, ChartPoint, ChartStyle};
use relgrad_reports::summary::Estimate;
use relgrad_reports::units;

use super::{Curve, Intervals, Plot, Reference, Scale};
use crate::axis::Unit;
use crate::style::{FAINT, GREY, INK, PAPER};

/// The panels of a figure against D.
pub(crate) fn numbers(plots: &[Plot<'_>]) -> Chart {
    Chart { style: style(), panels: plots.iter().map(panel).collect() }
}

/// The colours that all figures share.
pub(crate) fn style() -> ChartStyle {
    let [ink, grey, faint, paper] = [INK, GREY, FAINT, PAPER].map(hex);
    ChartStyle { ink, grey, faint, paper }
}

/// A colour as `#rrggbb`.
pub(crate) fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn panel(plot: &Plot<'_>) -> ChartPanel {
    let (unit, least) = match plot.scale {
        Scale::Logarithmic { unit, .. } => (unit, None),
        Scale::Linear { low, high } => (Unit::Count, Some((low, high))),
    };
    let axis = |title: &str, unit: Unit, log, least| ChartAxis { title: title.into(), unit: unit.name(), log, least };
    let levels = match &plot.reference {
        Reference::One => vec![(1.0, "equally fast".to_string())],
        _ => plot.levels().to_vec(),
    };
    let slopes = match plot.reference {
        Reference::Slopes(laws) => laws.labelled().map(|(power, label)| (power, label.to_string())).to_vec(),
        _ => Vec::new(),
    };
    ChartPanel {
        x: axis(plot.against.title(), Unit::Count, true, None),
        y: axis(plot.quantity, unit, least.is_none(), least),
        joined: plot.intervals == Intervals::Band,
        curves: plot.curves.iter().map(|curve| numbers_of(plot, curve, unit)).collect(),
        levels,
        slopes,
        marks: Vec::new(),
    }
}

fn numbers_of(plot: &Plot<'_>, curve: &Curve, unit: Unit) -> ChartCurve {
    let place = |x: f64| plot.against.place(x);
    let point =
        |(dim, estimate): &(f64, Estimate)| ChartPoint::new(*dim, place(*dim), Some(*estimate), unit.text_of(estimate));
    let measured = curve.measured.iter().zip(&curve.cells).map(|(value, cells)| ChartPoint {
        cells: cells.clone(),
        ringed: plot.exceeds(value.1.value),
        ..point(value)
    });
    let stop = curve.stop.as_ref().map(|stop| {
        let text = stop.predicted.as_ref().map(|p| unit.text_of(p));
        let text = text.map_or("not measured".into(), |text| format!("{text} predicted, not measured"));
        ChartPoint { note: stop.note.clone(), ..ChartPoint::new(stop.dim, place(stop.dim), stop.predicted, text) }
    });
    ChartCurve {
        name: if curve.label.is_empty() { curve.name.clone() } else { format!("{}, {}", curve.name, curve.label) },
        color: hex(curve.look.color),
        marker: curve.look.marker.name(),
        dash: curve.look.dash.to_vec(),
        points: measured.collect(),
        processes: curve.processes.clone(),
        stop,
        model: curve.model.clone(),
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }

    /// A value with its interval, as tables show it.
    fn text_of(self, estimate: &Estimate) -> String {
        match self {
            Self::Count => units::place(estimate),
            Self::Seconds => units::seconds_estimate(estimate),
            Self::Bytes => units::bytes(estimate.value),
            Self::Ratio => units::ratio_estimate(estimate),
        }
    }
}
