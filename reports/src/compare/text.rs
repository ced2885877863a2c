//! A comparison as people read it: a table for a terminal, Markdown for a pull request.

use std::fmt::Write;

use relgrad_vocabulary::excerpt;

use super::comparison::alike;
use super::{CellComparison, Comparison, Fault, Kind, Outcome, Quantity, SeriesComparison, Shift, Verdict};
use crate::record::{Failure, Point};
use crate::statistics::summary::Estimate;
use crate::table::{Table, escape};
use crate::units::{self, NONE, grouped, percent};

impl Comparison {
    /// The outcome in one sentence.
    pub fn sentence(&self) -> String {
        let names = self.culprits();
        match self.outcome {
            Outcome::Held => {
                format!("held: no cell is slower than {} allows", percent(self.rules.slowdown(self.same_machine)))
            }
            Outcome::Regression => format!("regression: {}", names.join("; ")),
            Outcome::Inconclusive { more_rounds: Some(more) } => {
                let where_ = if self.shared.is_some() { " of each side" } else { "" };
                format!("inconclusive: about {}{where_} needed", units::counted(more, "more round"))
            }
            Outcome::Inconclusive { more_rounds: None } if self.moved_together() => {
                "inconclusive: all methods are slower together, by the hour or by code they share; relgrad gate \
                 --against judges it"
                    .into()
            }
            Outcome::Inconclusive { more_rounds: None } => {
                "inconclusive: too few rounds to predict how many are needed".into()
            }
            Outcome::Nothing if !self.cells.is_empty() => {
                "nothing was judged; all quantities are informative only".into()
            }
            Outcome::Nothing => "nothing was measured on both sides".into(),
        }
    }

    /// What is wrong, a phrase each: faults first, then changes over several dimensions, then single cells.
    fn culprits(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for cell in &self.cells {
            if let Some(fault) = &cell.fault {
                names.push(format!("{} at D = {}: {}", cell.method, grouped(cell.point.dim), said(fault)));
            }
        }
        for series in &self.series {
            let worse = |c: &&CellComparison| {
                c.method == series.method
                    && alike(&c.point, &series.point)
                    && c.quantities.iter().any(|q| q.kind.is_time() && q.judged && q.verdict == Verdict::Worse)
            };
            let dims: Vec<String> = self.cells.iter().filter(worse).map(|c| grouped(c.point.dim)).collect();
            let what = series.shift.as_ref().map(moved).filter(|_| !dims.is_empty());
            if let Some(what) = what {
                names.push(format!("{} is slower at D = {}: {what}", series.method, dims.join(", ")));
            }
            if series.exponent.is_some_and(|q| q.judged && q.verdict == Verdict::Worse) && dims.is_empty() {
                names.push(format!("the exponent of {} rose", series.method));
            }
        }
        for cell in &self.cells {
            for quantity in cell.quantities.iter().filter(|q| q.judged && q.verdict == Verdict::Worse) {
                if !quantity.kind.is_time() {
                    let dim = grouped(cell.point.dim);
                    names.push(format!("{} of {} at D = {dim} got worse", kind(quantity.kind), cell.method));
                }
            }
        }
        names
    }

    /// A table of fixed-width columns, the changes over several dimensions, and the outcome.
    pub fn table(&self) -> String {
        let mut text = Table::new(COLUMNS, self.rows().into_iter().map(|(_, row)| row)).text();
        for line in self.shifts().into_iter().chain(self.notes.iter().cloned()).chain(self.legend()) {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "{}", self.sentence());
        text
    }

    /// A comment for a pull request: the outcome as heading, what is judged as a table, the rest folded away.
    pub fn markdown(&self) -> String {
        let mut text = format!("### relgrad: {}\n\n", escape(&self.sentence()));
        let revisions = [("base", &self.base_revision), ("new", &self.new_revision)];
        let named = |r: &Option<String>| excerpt(r.as_deref().unwrap_or("unknown"), 60).replace('`', "'");
        let named = revisions.map(|(side, revision)| format!("{side} `{}`", named(revision)));
        let how = if self.paired { "measured in turn in one run" } else { "measured in separate runs" };
        let _ = writeln!(
            text,
            "{}, {how}; tolerance {}, probability of error {} a bound.\n",
            named.join(", "),
            percent(self.rules.slowdown(self.same_machine)),
            percent(self.alpha)
        );
        for line in self.shifts().into_iter().chain(self.notes.iter().cloned()).chain(self.legend()) {
            let _ = writeln!(text, "- {}", escape(&line));
        }
        let (judged, shown): (Vec<_>, Vec<_>) = self.rows().into_iter().partition(|(judged, _)| *judged);
        text += "\n";
        text += &markdown_table(judged);
        if !shown.is_empty() {
            text += "\n<details><summary>Shown, not judged</summary>\n\n";
            text += &markdown_table(shown);
            text += "\n</details>\n";
        }
        text
    }

    /// Rows with whether they are judged.
    fn rows(&self) -> Vec<(bool, Vec<String>)> {
        let mut rows = Vec::new();
        let several = self.cells.windows(2).any(|pair| !alike(&pair[0].point, &pair[1].point));
        for cell in &self.cells {
            let head = [cell.method.to_string(), place(&cell.point, several)];
            if let Some(fault) = &cell.fault {
                let rest = [said(fault), NONE.into(), NONE.into(), NONE.into(), name(fault).into()];
                rows.push((true, [head.as_slice(), &rest].concat()));
            }
            rows.extend(cell.quantities.iter().map(|q| (q.judged, row(head.clone(), q))));
        }
        for series in &self.series {
            rows.extend(
                series
                    .exponent
                    .iter()
                    .map(|q| (q.judged, row([series.method.to_string(), all_dims(series, several)], q))),
            );
        }
        rows
    }

    /// What the numbers are.
    fn legend(&self) -> Option<String> {
        let has = |of: fn(&Quantity) -> bool| self.cells.iter().flat_map(|c| &c.quantities).any(of);
        let mut text = if self.paired {
            "Times: geometric means over rounds; their change: of the mean over rounds.".to_string()
        } else {
            "Times, ratios and speed-ups: medians over rounds, as in a report.".to_string()
        };
        if self.shared.is_some() {
            text += " \"Shared change out\": means over rounds, without what all methods share.";
        }
        has(|q| q.kind.is_time()).then_some(text)
    }

    fn shifts(&self) -> Vec<String> {
        let said = |s: &SeriesComparison| Some(format!("{}: {}", s.method, moved(s.shift.as_ref()?)));
        self.series.iter().filter_map(said).collect()
    }
}

const COLUMNS: &str = "method | >D | quantity | >base | >new | >change [95 %] | verdict";

fn row([method, dim]: [String; 2], q: &Quantity) -> Vec<String> {
    let value = |v: f64| match q.kind {
        Kind::Time | Kind::TimeApart => units::seconds(v),
        Kind::PeakMemory => units::bytes(v),
        Kind::Exponent => NONE.into(),
        _ => units::ratio(v),
    };
    let change = match q.kind {
        Kind::Exponent => {
            format!("{:+.2} [{}, {}]", q.change.value, signed(q.change.low), signed(q.change.high))
        }
        Kind::PeakMemory => format!("{:+.1} %", 100.0 * (q.change.value - 1.0)),
        _ => ratio(&q.change),
    };
    let verdict = match (q.judged, q.more_rounds) {
        (false, _) => format!("({})", q.verdict.name()),
        (true, Some(more)) => format!("inconclusive, {}", units::counted(more, "more round")),
        (true, None) => q.verdict.name().into(),
    };
    vec![method, dim, kind(q.kind).into(), value(q.base), value(q.new), change, verdict]
}

/// A factor as a change in percent: `+10.2 % [+9.1, +11.3]`.
fn ratio(e: &Estimate) -> String {
    let percent = |v: f64| 100.0 * (v - 1.0);
    let end = |v: f64| if percent(v).abs() < 1e4 { format!("{:+.1}", percent(v)) } else { "∞".into() };
    format!("{:+.1} % [{}, {}]", percent(e.value), end(e.low), end(e.high))
}

fn signed(v: f64) -> String {
    if v.abs() < 100.0 {
        format!("{v:+.2}")
    } else if v > 0.0 {
        "∞".into()
    } else {
        "−∞".into()
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Time => "time",
        Kind::TimeApart => "time, shared change out",
        Kind::TimeOverGemm => "time / GEMM",
        Kind::TimeOverCopy => "time / copy",
        Kind::SpeedupOverOrdinary => "speed-up over ordinary",
        Kind::SpeedupOverAutodiff => "speed-up over autodiff",
        Kind::PeakMemory => "peak memory",
        Kind::Exponent => "exponent",
    }
}

fn name(fault: &Fault) -> &'static str {
    match fault {
        Fault::WrongGradient { .. } => "invalid",
        Fault::Failed { .. } => "failed",
        Fault::Leak { .. } => "leak",
    }
}

fn said(fault: &Fault) -> String {
    match fault {
        Fault::WrongGradient { reason } if reason.failure() == Failure::WrongGradient => reason.shown(),
        Fault::WrongGradient { reason } => format!("wrong gradient ({})", reason.shown()),
        Fault::Failed { reason } => format!("failed ({})", reason.shown()),
        Fault::Leak { bytes_per_evaluation } => {
            format!("memory leak of {} an evaluation", units::bytes(*bytes_per_evaluation))
        }
    }
}

/// What moved, in words.
fn moved(shift: &Shift) -> String {
    match shift {
        Shift::Offset { seconds } => {
            let size = Estimate { value: seconds.value.abs(), ..*seconds };
            let (scaled, direction) = if seconds.value < 0.0 {
                (Estimate { low: -seconds.high, high: -seconds.low, ..size }, "less")
            } else {
                (size, "more")
            };
            format!("a constant offset, {} {direction} an evaluation", units::seconds_estimate(&scaled))
        }
        Shift::Factor { ratio } => format!("a factor, {}", units::ratio_estimate(ratio)),
        Shift::Exponent { difference } => {
            format!("the exponent, {:+.2} [{:+.2}, {:+.2}]", difference.value, difference.low, difference.high)
        }
        Shift::Single { dim, ratio } => format!("D = {} alone, {}", grouped(*dim), units::ratio_estimate(ratio)),
        Shift::Undecided => "offset, factor and exponent cannot be distinguished".into(),
    }
}

/// D, and where points differ in more than D, what else tells them apart.
fn place(point: &Point, several: bool) -> String {
    let dim = grouped(point.dim);
    let threads = if point.threads > 0 { units::counted(point.threads, "thread") + ", " } else { String::new() };
    let ranks = if point.ranks > 1 { units::counted(point.ranks, "rank") + ", " } else { String::new() };
    let on = threads + &ranks;
    if several { format!("{dim} (N = {}, L = {}, {on}{})", point.batch, point.layers, point.dtype) } else { dim }
}

fn all_dims(series: &SeriesComparison, several: bool) -> String {
    format!("≥ {}", place(&series.point, several))
}

fn markdown_table(rows: Vec<(bool, Vec<String>)>) -> String {
    let is_bad = |cell: &str| ["worse", "invalid", "failed", "leak"].contains(&cell);
    Table::new(COLUMNS, rows.into_iter().map(|(_, row)| row)).markdown_with(is_bad)
}
