//! A report as people read it: one document, as Markdown and as HTML.

mod ceilings;
mod document;
pub(crate) mod html;
pub(crate) mod markdown;
mod page;

pub use page::{Page, Piece};
