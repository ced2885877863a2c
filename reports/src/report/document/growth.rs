//! How time grows: exponents, laws, terms, breaks, crossovers.

use super::{Block, label, or_none};
use crate::record::run::Settings;
use crate::statistics::fit::{Choice, Crossover, Law, TwoTerm};
use crate::statistics::summary::{Axis, Overtaking, Scaling, Series, Summary};
use crate::table::Table;
use crate::units::{self, grouped};

/// The columns of the table.
const RULES: [(&str, &str); 6] = [
    ("exponent", "p of time ∝ Dᵖ, by weighted least squares on logarithms over the asymptotic range"),
    ("fitted on D", "from a tenth of the largest D up, at least three dimensions (the asymptotic range)"),
    (
        "law",
        "the best of D, D², D² log D and D³ in that range, if its AICc is lower by 4 or more and the times do not \
         contradict it; “none of these” if they contradict all four by more than chance (1 %)",
    ),
    ("c, l, a, b", "non-negative and fitted to all dimensions; the D² and D³ terms are equal at D = a/b"),
    ("bend", "listed if two power laws over all dimensions have an AICc lower by 4 or more than one, terms and a step"),
    ("step", "a jump between two dimensions, under the same condition"),
];

const GRID_AXIS: &str = "The layers are convolutions. D = c·n with a fixed number c of channels, so p is also the \
    exponent of the number n of grid points.";

/// Every table of growth that has a row.
pub(super) fn of(summary: &Summary, settings: &Settings) -> Vec<Block<'static>> {
    let fitted = summary.series.iter().filter(|s| !s.points.is_empty());
    let rows: Vec<_> = fitted.map(|series| growth(series, settings)).collect();
    let mut blocks = Vec::new();
    if !rows.is_empty() {
        let columns = "method | >exponent p [95 %] | >fitted on D | law | c + l·D + a·D² + b·D³ | >terms equal at D | \
                       >bend or step at D";
        blocks.push(Block::Subheading("How time grows with D".into()));
        blocks.push(Block::Table(Table::new(columns, rows)));
        blocks.push(Block::Facts(RULES.map(|(column, text)| (column, text.into())).into()));
        blocks.extend(settings.convolution.as_ref().map(|_| Block::Paragraph(GRID_AXIS.into())));
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
        or_none(bend(series)),
    ]
}

fn bend(series: &Series) -> Option<String> {
    let bend = series.breakpoint.map(|b| format!("{}: {:.2} to {:.2}", units::place(&b.at), b.below, b.above));
    let step = || {
        let step = series.step?;
        let factor = units::ratio_estimate(&step.factor);
        Some(format!("step {factor} between {} and {}", grouped(step.from), grouped(step.to)))
    };
    bend.or_else(step)
}

fn law(choice: &Choice) -> String {
    let name = match choice.law {
        Some(Law::Linear) => "D",
        Some(Law::Quadratic) => "D²",
        Some(Law::QuadraticLog) => "D² log D",
        Some(Law::Cubic) => "D³",
        None if choice.none_of_these => return "none of these".into(),
        None => "undecided",
    };
    format!("{name} (AICc margin {:.1})", choice.margin)
}

fn terms(terms: &TwoTerm) -> String {
    let named = [(terms.constant, ""), (terms.linear, " · D"), (terms.quadratic, " · D²"), (terms.cubic, " · D³")];
    let present = named.iter().filter(|(coefficient, _)| *coefficient > 0.0);
    let sum = present.map(|(coefficient, power)| format!("{}{power}", units::seconds(*coefficient)));
    format!("{} (± {})", sum.collect::<Vec<_>>().join(" + "), units::percent(terms.relative_residual))
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
            Crossover::BelowRange => "none: always faster in the range".into(),
            Crossover::AboveRange => "none: not faster at the end of the range".into(),
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
    let columns = "faster above the crossover | axis | >crossover [95 %] | >measured on";
    let table = Table::new(columns, overtakings.iter().map(row));
    vec![Block::Subheading("Crossovers".into()), Block::Table(table)]
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
