//! `report.html`: the report as one file, with its figures inside, for a browser or a printer.

use super::document::{Block, Document, KeyNumber, Overview};
use super::explore;
use crate::export::{Figure, Report};
use crate::table::{Column, Table};
use crate::units;

const STYLE: &str = include_str!("report.css");

/// What a page may load: nothing. Its own style and script are inside; one without a script runs none.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
const WITH_SCRIPT: &str = "; script-src 'unsafe-inline'";

/// The contents of `report.html`. It needs no network and no other file, and follows the reader's light or dark
/// preference. Without a script it is all there; with one its figures and tables answer.
pub(crate) fn render(report: &Report<'_>) -> String {
    let end = explore::elements(explore::cells(report), &explore::charts(report.figures));
    of_document(&Document::of(report), &end)
}

/// A document as a page; `end` comes after its contents.
pub(super) fn of_document(document: &Document<'_>, end: &str) -> String {
    let body: String = document.blocks.iter().map(render_block).collect();
    page(&document.title, &body, end)
}

/// A page of this title; `end` comes after its contents.
pub(super) fn page(title: &str, body: &str, end: &str) -> String {
    let title = escape(title);
    let script = if end.is_empty() { "" } else { WITH_SCRIPT };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}{script}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n{body}</main>\n{end}</body>\n</html>\n",
        explore::STYLE
    )
}

pub(super) fn render_block(block: &Block<'_>) -> String {
    match block {
        Block::Heading(title) => format!("<h2>{}</h2>\n", escape(title)),
        Block::Subheading(title) => format!("<h3>{}</h3>\n", escape(title)),
        Block::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
        Block::Code(text) => format!("<pre><code>{}</code></pre>\n", escape(text)),
        Block::Facts(facts) => {
            let items =
                facts.iter().map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)));
            format!("<dl>\n{}</dl>\n", items.collect::<String>())
        }
        Block::Overview(overview) => render_overview(overview),
        Block::Table(table) => render_table(table),
        Block::Figures(figures) => {
            let figures: String = figures.iter().map(render_figure).collect();
            format!("<div class=\"figures\">\n{figures}</div>\n")
        }
    }
}

fn render_overview(overview: &Overview) -> String {
    let setting: String = overview.setting.iter().map(|part| format!("<li>{}</li>\n", escape(part))).collect();
    let number = |n: &KeyNumber| {
        let (what, value, detail) = (escape(&n.what), raised(&n.value), escape(&n.detail));
        format!("<div><dd>{value}</dd><dt>{what}</dt><dd class=\"detail\">{detail}</dd></div>\n")
    };
    let numbers: String = overview.numbers.iter().map(number).collect();
    let numbers = if numbers.is_empty() { numbers } else { format!("<dl class=\"numbers\">\n{numbers}</dl>\n") };
    let table = render_table(&overview.methods);
    let warnings = match overview.warnings.as_slice() {
        [] => "<p class=\"soft\">No warnings.</p>\n".to_string(),
        warnings => {
            let items: String = warnings.iter().map(|w| format!("<li>{}</li>\n", escape(w))).collect();
            format!("<section class=\"warnings\">\n<h2>Warnings</h2>\n<ul>\n{items}</ul>\n</section>\n")
        }
    };
    format!("<ul class=\"setting\">\n{setting}</ul>\n{numbers}{table}{warnings}")
}

/// Wide figures, of a page's width, take both columns.
fn render_figure(figure: &Figure) -> String {
    let svg = inline_svg(&figure.svg);
    let class = if is_wide(svg) { " class=\"wide\"" } else { "" };
    let (name, caption) = (escape(&figure.name), escape(&figure.caption));
    format!("<figure id=\"{name}\"{class}>\n{svg}\n<figcaption>{caption}</figcaption>\n</figure>\n")
}

/// Whether a drawing is printed wider than 120 mm.
fn is_wide(svg: &str) -> bool {
    let width = svg.split_once("width=\"").and_then(|(_, rest)| rest.split_once("mm\""));
    width.and_then(|(width, _)| width.parse().ok()).is_some_and(|width: f64| width > 120.0)
}

fn render_table(table: &Table) -> String {
    let tag = |name: &str, column: &Column, text: &str| {
        let class = if column.is_number { " class=\"n\"" } else { "" };
        let end = name.split(' ').next().unwrap_or_default();
        format!("<{name}{class}>{}</{end}>", escape(text))
    };
    let header: String = table.columns().iter().map(|column| tag("th scope=\"col\"", column, &column.title)).collect();
    // What the script sorts by.
    let cell = |(cell, column): (&String, &Column)| match units::value_of(cell).filter(|_| column.is_number) {
        Some(value) => tag(&format!("td data-value=\"{value:e}\""), column, cell),
        None => tag("td", column, cell),
    };
    let row = |cells: &Vec<String>| {
        let cells: String = cells.iter().zip(table.columns()).map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let body: String = table.rows().iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )
}

/// The `<svg>` element alone: an XML declaration or a document type has no place inside HTML.
fn inline_svg(svg: &str) -> &str {
    svg.find("<svg").map_or("", |start| svg[start..].trim_end())
}

/// `x^p` with p as an exponent.
fn raised(text: &str) -> String {
    match text.split_once('^') {
        Some((base, exponent)) => format!("{}<sup>{}</sup>", escape(base), escape(exponent)),
        None => escape(text),
    }
}

/// Text for an element or an attribute. Lines do not break before a percent sign, after ±, around an equals sign, or
/// inside a number.
fn escape(text: &str) -> String {
    const NO_BREAK: &str = "\u{a0}";
    let text = text.replace(" %", &format!("{NO_BREAK}%")).replace("± ", &format!("±{NO_BREAK}"));
    let text = text.replace(" = ", &format!("{NO_BREAK}={NO_BREAK}"));
    // Figures group digits by thin spaces; these are the same ones without a break.
    let text = text.replace('\u{2009}', "\u{202f}");
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_open_an_element_or_leave_an_attribute() {
        assert_eq!(escape("<b a=\"x\" c='y'>&"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;");
    }

    #[test]
    fn numbers_stay_whole_and_exponents_are_raised() {
        assert_eq!(escape("D = 5\u{2009}000 [95 %]"), "D\u{a0}=\u{a0}5\u{202f}000 [95\u{a0}%]");
        assert_eq!(raised("∝ D^1.97"), "∝ D<sup>1.97</sup>");
        assert_eq!(raised("17.3×"), "17.3×");
    }

    #[test]
    fn only_the_svg_element_is_inlined() {
        assert_eq!(inline_svg("<?xml version=\"1.0\"?>\n<svg><g/></svg>\n"), "<svg><g/></svg>");
        assert_eq!(inline_svg("no drawing"), "");
    }
}
