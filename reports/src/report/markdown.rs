//! `report.md`: the report for a terminal, a pull request or a repository page.

use super::document::{Block, Document, KeyNumber, Overview};
use crate::export::{Figure, Report};
use crate::table::escape;

/// The contents of `report.md`. Figures are links to `figures/NAME.svg` next to it.
pub(crate) fn render(report: &Report<'_>) -> String {
    page(&Document::of(report))
}

pub(super) fn page(document: &Document<'_>) -> String {
    let blocks: String = document.blocks.iter().map(|block| format!("\n{}", render_block(block))).collect();
    format!("# {}\n{blocks}", escape(&document.title))
}

fn render_block(block: &Block<'_>) -> String {
    match block {
        Block::Heading(title) => format!("## {}\n", escape(title)),
        Block::Subheading(title) => format!("### {}\n", escape(title)),
        Block::Paragraph(text) => format!("{}\n", escape(text)),
        Block::Code(text) => format!("```sh\n{}\n```\n", text),
        Block::Facts(facts) => {
            facts.iter().map(|(name, value)| format!("- {}: {}\n", escape(name), escape(value))).collect()
        }
        Block::Overview(overview) => render_overview(overview),
        Block::Table(table) => table.markdown(),
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
    let parts = [setting, numbers, overview.methods.markdown(), warnings];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn render_figure(figure: &Figure) -> String {
    format!("![{}](figures/{}.svg)\n\n*{}*\n", escape(&figure.name), figure.name, escape(&figure.caption))
}
