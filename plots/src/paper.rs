//! The size of a figure on paper.

use crate::error::{Error, Result};
use crate::style::{COLUMN_WIDTH, PAGE_WIDTH, SMALL};

const MILLIMETRE: f64 = 72.0 / 25.4;

/// The width of a figure and the size of its text. The default is 85 or 170 mm, a journal's column or page, and 7 pt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paper {
    width_mm: Option<f64>,
    font_size: f64,
}

impl Default for Paper {
    fn default() -> Self {
        Self { width_mm: None, font_size: SMALL }
    }
}

impl Paper {
    /// Sizes of text that a figure may have, in points.
    pub const FONT_SIZES: [f64; 2] = [4.0, 30.0];
    /// Narrowest and widest figure, in widths of a small letter: with less, labels would have no room.
    const LETTERS: [f64; 2] = [22.0, 200.0];

    /// A figure `width_mm` wide (`None`: its own width) whose smallest text has `font_size` points (`None`: 7).
    ///
    /// Lines and markers grow with the text.
    ///
    /// # Errors
    /// [`Error::Paper`] where the text has no room, or is too small or too large to read.
    pub fn new(width_mm: Option<f64>, font_size: Option<f64>) -> Result<Self> {
        let font_size = font_size.unwrap_or(SMALL);
        let [smallest, largest] = Self::FONT_SIZES;
        if !(smallest..=largest).contains(&font_size) {
            return Err(Error::Paper(format!("text of {font_size} pt: choose {smallest} to {largest} pt")));
        }
        let narrowest = Self::LETTERS.map(|letters| letters * font_size / MILLIMETRE);
        let width = width_mm.unwrap_or(COLUMN_WIDTH / MILLIMETRE);
        if (narrowest[0]..=narrowest[1]).contains(&width) {
            return Ok(Self { width_mm, font_size });
        }
        let [from, to] = narrowest.map(f64::ceil);
        Err(Error::Paper(format!("{width} mm wide with text of {font_size} pt: choose {from} to {to} mm")))
    }

    /// How much larger than it is laid out the figure is on paper: text is laid out with its default size.
    pub(crate) fn scale(&self) -> f64 {
        self.font_size / SMALL
    }

    /// The width of a figure to lay out, in points, where its own is a column.
    pub(crate) fn column(&self) -> f64 {
        self.width(COLUMN_WIDTH)
    }

    /// The width of a figure to lay out, in points, where its own is a page.
    pub(crate) fn page(&self) -> f64 {
        self.width(PAGE_WIDTH)
    }

    fn width(&self, own: f64) -> f64 {
        self.width_mm.map_or(own, |width| width * MILLIMETRE) / self.scale()
    }
}
