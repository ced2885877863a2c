//! How time grows: exponents, laws, terms, breaks, crossovers.

use super::{Block, label, or_none};
use crate::record::run::Settings;
use crate::statistics::fit::{Choice, Crossover, Law, TwoTerm};
use crate::statistics::summary::{Axis, Overtaking, Scaling, Series, Summary};
use crate::table::Table;
use crate::units::{self, grouped};

const RULES: &str = "p of time ∝ Dᵖ, by weighted least squares on logarithms over the asymptotic range: the dimensions \
    from a tenth of the largest measured one up, or the three largest when that holds fewer. Below it call overheads \
    flatten the curve. The law is the one of D, D², D² log D and D³ that describes the same range best, when its AICc \
    is lower than the next by 4 or more. The terms are non-negative and fitted to all dimensions; where the cubic term \
    equals the quadratic one both cost the same. A bend is told where two power laws describe all dimensions decidedly \
    better than one (AICc lower by 4 or more).";

const GRID_AXIS: &str = "The layers are convolutions and D = c·n with a fixed number c of channels, so that p is also \
    the exponent of the number n of grid points.";

/// Every table of growth that has a row.
pub(super) fn of(summary: &Summary, settings: &Settings) -> Vec<Block<'static>> {
    let fitted = summary.series.iter().filter(|s| !s.points.is_empty());
    let rows: Vec<_> = fitted.map(|series| growth(series, settings)).collect();
    let mut blocks = Vec::new();
    if !rows.is_empty() {
        let columns = "method | >exponent p [95 %] | >fitted on D | law there | a·D² + b·D³ + c | >terms equal at D | \
                       >bend at D";
        blocks.push(Block::Subheading("How time grows with D".into()));
        blocks.push(Block::Table(Table::new(columns, rows)));
        blocks.push(Block::Paragraph(match settings.convolution {
            Some(_) => format!("{RULES} {GRID_AXIS}"),
            None => RULES.into(),
        }));
    }
    blocks.extend(scaling(&summary.scaling, settings));
    blocks.extend(crossovers(&summary.overtakings, settings));
    blocks
}

fn growth(series: &Series, settings: &Settings) -> Vec<String> {
    let range = |from, to| format!("{} – {}", grouped(from), grouped(to));
    vec![
        label(series, settings),
        or_none(series.fit.map(|fit| units::exponent(&fit.exponent))),
        series.fit.map_or("fewer than 3 dimensions".into(), |fit| range(fit.from, fit.to)),
        or_none(series.law.as_ref().map(law)),
        or_none(series.terms.as_ref().map(terms)),
        or_none(series.terms.and_then(|t| t.crossover).map(|place| units::place(&place))),
        or_none(
            series.breakpoint.map(|bend| format!("{}: {:.2} to {:.2}", units::place(&bend.at), bend.below, bend.above)),
        ),
    ]
}

fn law(choice: &Choice) -> String {
    let name = match choice.law {
        Some(Law::Linear) => "D",
        Some(Law::Quadratic) => "D²",
        Some(Law::QuadraticLog) => "D² log D",
        Some(Law::Cubic) => "D³",
        None => "undecided",
    };
    format!("{name} (AICc margin {:.1})", choice.margin)
}

fn terms(terms: &TwoTerm) -> String {
    let [a, b, c] =
        [terms.quadratic, terms.cubic, terms.constant].map(|v| if v > 0.0 { units::seconds(v) } else { "0".into() });
    format!("{a} · D² + {b} · D³ + {c} (± {})", units::percent(terms.relative_residual))
}

fn scaling(scaling: &[Scaling], settings: &Settings) -> Vec<Block<'static>> {
    if scaling.is_empty() {
        return Vec::new();
    }
    let row = |s: &Scaling| {
        vec![
            format!("{} on {}", s.method, s.device),
            format!("{} ({})", s.axis.symbol(), fixed(s.axis, Some(s.dim), settings)),
            units::exponent(&s.fit.exponent),
            format!("{} – {}", grouped(s.fit.from), grouped(s.fit.to)),
            s.fit.points.to_string(),
        ]
    };
    let table = Table::new("method | axis | >exponent [95 %] | >fitted on | >points", scaling.iter().map(row));
    vec![Block::Subheading("How time grows with N and L".into()), Block::Table(table)]
}

fn crossovers(overtakings: &[Overtaking], settings: &Settings) -> Vec<Block<'static>> {
    if overtakings.is_empty() {
        return Vec::new();
    }
    let row = |o: &Overtaking| {
        let (from, to) = (grouped(o.range.0), grouped(o.range.1));
        let place = match &o.crossover {
            Crossover::At(place) => units::place(place),
            Crossover::BelowRange => "none in range: faster all over it".into(),
            Crossover::AboveRange => "none in range: not faster at its end".into(),
        };
        vec![
            format!("{} over {} on {}", o.method, o.over, o.device),
            match fixed(o.axis, o.dim, settings) {
                fixed if fixed.is_empty() => o.axis.symbol().into(),
                fixed => format!("{} ({fixed})", o.axis.symbol()),
            },
            place,
            format!("{from} – {to}"),
        ]
    };
    let columns = "faster from there on | axis | >crossover [95 %] | >measured on";
    let table = Table::new(columns, overtakings.iter().map(row));
    vec![Block::Subheading("Where methods overtake one another".into()), Block::Table(table)]
}

/// What is held fixed along an axis.
fn fixed(axis: Axis, dim: Option<usize>, settings: &Settings) -> String {
    let mut parts: Vec<String> = dim.map(|dim| format!("D = {}", grouped(dim))).into_iter().collect();
    if axis == Axis::Batch && settings.layer_counts().count() > 1 {
        parts.push(format!("L = {}", settings.layers));
    }
    if axis == Axis::Layers && settings.batches().count() > 1 {
        parts.push(format!("N = {}", settings.batch));
    }
    parts.join(", ")
}
