//! `report.md`: the report for a terminal, a pull request or a repository page.

use super::document::{Block, Document, KeyNumber, Overview, Table};
use super::{Exporter, Figure, Report};

/// Writes `report.md`. Figures are links to `figures/NAME.svg` beside it.
#[derive(Debug, Clone, Copy)]
pub struct Markdown;

impl Exporter for Markdown {
    fn file_name(&self) -> &'static str {
        "report.md"
    }

    fn render(&self, report: &Report<'_>) -> String {
        let document = Document::of(report);
        let mut text = format!("# {}\n", escape(&document.title));
        for block in &document.blocks {
            text.push('\n');
            text += &render(block);
        }
        text
    }
}

fn render(block: &Block<'_>) -> String {
    match block {
        Block::Heading(title) => format!("## {}\n", escape(title)),
        Block::Subheading(title) => format!("### {}\n", escape(title)),
        Block::Paragraph(text) => format!("{}\n", escape(text)),
        Block::Code(text) => format!("```sh\n{}\n```\n", text),
        Block::Facts(facts) => {
            facts.iter().map(|(name, value)| format!("- {}: {}\n", escape(name), escape(value))).collect()
        }
        Block::Overview(overview) => render_overview(overview),
        Block::Table(table) => render_table(table),
        Block::Figures(figures) => figures.iter().map(render_figure).collect::<Vec<_>>().join("\n"),
    }
}

fn render_overview(overview: &Overview) -> String {
    let setting: String = overview.setting.iter().map(|part| format!("- {}\n", escape(part))).collect();
    let number = |n: &KeyNumber| format!("- {}: **{}** {}\n", escape(&n.what), escape(&n.value), escape(&n.detail));
    let numbers: String = overview.numbers.iter().map(number).collect();
    let warnings = match overview.warnings.as_slice() {
        [] => "No warnings.\n".to_string(),
        warnings => {
            let items = warnings.iter().map(|w| format!("> - {}\n", escape(w))).collect::<String>();
            format!("**Warnings**\n\n{items}")
        }
    };
    let parts = [setting, numbers, render_table(&overview.methods), warnings];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn render_figure(figure: &Figure) -> String {
    format!("![{}](figures/{}.svg)\n\n*{}*\n", escape(&figure.name), figure.name, escape(&figure.caption))
}

/// Columns padded to one width, so that the source reads as a table too.
fn render_table(table: &Table) -> String {
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
    let header: Vec<String> = table.columns.iter().map(|(name, _)| escape(name)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).zip(&table.columns).map(|((cell, &width), (_, numeric))| {
            if *numeric { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths
        .iter()
        .zip(&table.columns)
        .map(|(&width, (_, numeric))| if *numeric { "-".repeat(width - 1) + ":" } else { "-".repeat(width) })
        .collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    line(&header) + &format!("| {} |\n", rule.join(" | ")) + &body
}

/// Makes text literal: the marks that could open emphasis, code, a table cell or an element lose their meaning, and a
/// line stays one line. Brackets stay as they are: intervals are full of them, and only `](` would make a link.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            c if c.is_control() => escaped.push('\u{fffd}'),
            '\\' | '`' | '*' | '_' | '<' | '>' | '|' | '~' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped.replace("](", "]\\(")
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn marks_are_literal() {
        assert_eq!(escape("[a](b)"), "[a]\\(b)");
        assert_eq!(escape("a|b_c *d* <e>\nf"), "a\\|b\\_c \\*d\\* \\<e\\> f");
        assert_eq!(escape("1.00 ms [0.96, 1.05]"), "1.00 ms [0.96, 1.05]");
    }
}
