//! A table for LaTeX with the package `booktabs`: a block a method with its exponent, a row a dimension with time,
//! speed-ups and peak memory, all with units and 95 % intervals.

use relgrad_vocabulary::{Method, excerpt};

use super::Report;
use crate::record::Outcome;
use crate::statistics::summary::{CellSummary, Estimate, Series, Stop};
use crate::units::{self, NONE, grouped};

/// The contents of `table.tex`.
pub(super) fn render(report: &Report<'_>) -> String {
    let speedups: Vec<Method> = Method::BASELINES
        .into_iter()
        .filter(|over| report.points().any(|(_, point)| point.speedups().any(|(method, _)| method == *over)))
        .collect();
    let titles: String = speedups.iter().map(|over| format!(" & over {over} [95\\,\\%]")).collect();
    let columns = 3 + speedups.len();
    let mut text = format!(
        "% Requires \\usepackage{{booktabs}}. Written by `relgrad export --format latex`.\n\\begin{{table}}\n\
         \\centering\n\\caption{{{}}}\n\\label{{tab:relgrad}}\n\\begin{{tabular}}{{{}}}\n\\toprule\n\
         $D$ & time [95\\,\\%]{titles} & peak memory \\\\\n",
        caption(report),
        "r".repeat(columns)
    );
    for series in report.summary.series.iter().filter(|series| !series.method.is_kernel()) {
        text += &format!("\\midrule\n\\multicolumn{{{columns}}}{{l}}{{{}}} \\\\\n", heading(report, series));
        text.extend(series.points.iter().map(|point| row(point, &speedups)));
        text.extend(series.stops.iter().map(|stop| missing(stop, columns - 1)));
    }
    text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
}

fn caption(report: &Report<'_>) -> String {
    let (machine, settings) = (&report.study.run.machine, &report.study.run.settings);
    let processors = std::iter::once(&machine.cpu).chain(&machine.gpus).filter(|name| !name.is_empty());
    let named: Vec<String> = processors.map(|name| escaped(&excerpt(name, 200))).collect();
    format!(
        "Time of one gradient, speed-up and peak memory ({}; {}). Brackets: 95\\,\\% confidence intervals. Speed-up: \
         time of the other method over that of this one.",
        named.join(", "),
        escaped(&format!("{} on the CPU, {}", settings.threads_in_words(), settings.dtype))
    )
}

/// The method with what distinguishes its series, and its exponent with the range that it holds in.
fn heading(report: &Report<'_>, series: &Series) -> String {
    let (device, batch, layers) = (series.device, grouped(series.batch), series.layers);
    let arithmetic = report.study.run.settings.arithmetic(series.device);
    let settings = &report.study.run.settings;
    let threads = Some(units::counted(series.threads, "thread")).filter(|_| !settings.other_threads.is_empty());
    let ranks = Some(units::counted(series.ranks, "rank")).filter(|_| settings.rank_counts().any(|ranks| ranks > 1));
    let threads = [threads, ranks].into_iter().flatten().map(|count| format!(", {count}")).collect::<String>();
    let name = format!("{} ({device}, {arithmetic}, $N = {batch}$, $L = {layers}${threads})", series.method);
    let exponent = series.fit.map(|fit| {
        let (from, to) = (grouped(fit.from), grouped(fit.to));
        escaped(&format!(": exponent {} for D from {from} to {to}", units::exponent(&fit.exponent).replace('-', "−")))
    });
    name + &exponent.unwrap_or_default()
}

fn row(point: &CellSummary, speedups: &[Method]) -> String {
    let over = |method: &Method| {
        let found: Option<&Estimate> = point.speedups().find(|(over, _)| over == method).map(|(_, estimate)| estimate);
        found.map_or(NONE.to_string(), units::ratio_estimate)
    };
    let memory = point.peak_bytes.map_or(NONE.to_string(), |bytes| units::bytes(bytes as f64));
    let first = [grouped(point.dim), units::seconds_estimate(&point.seconds)];
    let cells = first.into_iter().chain(speedups.iter().map(over)).chain([memory]);
    format!("{} \\\\\n", cells.map(|cell| escaped(&cell)).collect::<Vec<_>>().join(" & "))
}

fn missing(stop: &Stop, columns: usize) -> String {
    let what = if stop.outcome == Outcome::Failed { "failed" } else { "skipped" };
    let reason = escaped(&format!("{what}: {}", excerpt(&stop.reason, 80)));
    format!("{} & \\multicolumn{{{columns}}}{{l}}{{{reason}}} \\\\\n", grouped(stop.dim))
}

/// Text that LaTeX sets as it stands: its special characters, and the signs of [`units`], as commands. A sign that a
/// document may lack a font for becomes `?`.
fn escaped(text: &str) -> String {
    text.chars().map(escape).collect()
}

fn escape(c: char) -> String {
    let command = match c {
        '\\' => "\\textbackslash{}",
        '^' => "\\textasciicircum{}",
        '~' => "\\textasciitilde{}",
        '`' => "\\textasciigrave{}",
        '"' => "\\textquotedbl{}",
        '<' => "\\textless{}",
        '>' => "\\textgreater{}",
        '|' => "\\textbar{}",
        // Behind the end of a row it would begin a distance.
        '[' => "{[}",
        '-' => "{-}",
        '\u{a0}' => "~",
        '\u{2009}' => "\\,",
        '–' => "--",
        '—' => "---",
        '−' => "$-$",
        '…' => "\\ldots{}",
        '’' => "'",
        'µ' => "$\\mu$",
        '×' => "$\\times$",
        '·' => "$\\cdot$",
        '∝' => "$\\propto$",
        '⁻' => "$^-$",
        '{' | '}' | '$' | '&' | '#' | '%' | '_' => return format!("\\{c}"),
        _ if superscript(c).is_some() => return format!("$^{}$", superscript(c).unwrap_or_default()),
        c if c == ' ' || c.is_ascii_graphic() => return c.to_string(),
        _ => "?",
    };
    command.to_string()
}

/// The digit that a superscript one is.
fn superscript(c: char) -> Option<usize> {
    "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|digit| digit == c)
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn special_characters_become_commands() {
        for (text, set) in [
            ("4.14 µs [0.04, 845]", "4.14 $\\mu$s {[}0.04, 845]"),
            ("3.2×10⁻⁵×", "3.2$\\times$10$^-$$^5$$\\times$"),
            ("a_b & 5 % #1 {x} $y", "a\\_b \\& 5 \\% \\#1 \\{x\\} \\$y"),
            (
                "\\input{/etc/passwd}^~`",
                "\\textbackslash{}input\\{/etc/passwd\\}\\textasciicircum{}\\textasciitilde{}\\textasciigrave{}",
            ),
            ("Intel® \u{1b}漢", "Intel? ??"),
            ("−1 –", "$-$1 --"),
        ] {
            assert_eq!(escaped(text), set);
        }
    }
}
