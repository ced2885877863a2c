//! A report as people read it: one document, as Markdown and as HTML.

mod ceilings;
pub mod chart;
mod document;
mod explore;
pub(crate) mod html;
pub(crate) mod markdown;
mod page;
pub mod trend;

pub use page::{Page, Piece};
