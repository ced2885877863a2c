//! A page of other pieces than a sweep's report, in the same two renderings.

use super::document::{Block, Document};
use super::{html, markdown};
use crate::export::Figure;
use crate::table::Table;

/// A title and what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The title.
    pub title: String,
    /// From top to bottom.
    pub pieces: Vec<Piece>,
}

/// A piece of a page. Its text is plain; long text is cut.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// The title of a section.
    Heading(&'static str),
    /// The title of a part of a section.
    Subheading(String),
    /// A paragraph.
    Paragraph(String),
    /// A command.
    Code(String),
    /// Names with their values.
    Facts(Vec<(&'static str, String)>),
    /// A table.
    Table(Table),
    /// Drawings; Markdown links to `figures/NAME.svg`.
    Figures(Vec<Figure>),
}

impl Page {
    /// The page as one HTML file, its figures inside.
    pub fn html(&self) -> String {
        html::of_document(&self.document(), "")
    }

    /// The page as Markdown.
    pub fn markdown(&self) -> String {
        markdown::page(&self.document())
    }

    fn document(&self) -> Document<'_> {
        let block = |piece| {
            let mut block = match piece {
                &Piece::Heading(title) => Block::Heading(title),
                Piece::Subheading(title) => Block::Subheading(title.clone()),
                Piece::Paragraph(text) => Block::Paragraph(text.clone()),
                Piece::Code(text) => Block::Code(text.clone()),
                Piece::Facts(facts) => Block::Facts(facts.clone()),
                Piece::Table(table) => Block::Table(table.clone()),
                Piece::Figures(figures) => Block::Figures(figures),
            };
            block.cut();
            block
        };
        Document { title: self.title.clone(), blocks: self.pieces.iter().map(block).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_both_renderings_and_its_text_is_plain() {
        let figure = Figure { name: "f".into(), caption: "a <b>".into(), svg: "<svg><g/></svg>".into(), chart: None };
        let pieces = vec![
            Piece::Heading("Part"),
            Piece::Table(Table::new("claim | >ours", [vec!["x < y".into(), "1".into()]])),
            Piece::Figures(vec![figure]),
        ];
        let page = Page { title: "T".into(), pieces };
        let (html, markdown) = (page.html(), page.markdown());
        assert!(
            html.contains("default-src 'none'") && !html.contains("script-src"),
            "a drawing from a file cannot act"
        );
        assert!(html.contains("<h2>Part</h2>") && html.contains("x &lt; y") && html.contains("<svg><g/></svg>"));
        assert!(markdown.starts_with("# T\n") && markdown.contains("![f](figures/f.svg)"), "{markdown}");
    }
}
