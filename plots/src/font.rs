//! The embedded font: widths of text, and its pixels.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};

use crate::style::SMALL;

/// The family an SVG asks for. The embedded DejaVu Sans gives the metrics; Verdana shares them.
pub(crate) const FAMILY: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

/// Height of a capital letter over the font's em.
const CAPITAL_HEIGHT: f64 = 0.729;

const REGULAR_FILE: &[u8] = include_bytes!("../fonts/DejaVuSans-subset.ttf");
const BOLD_FILE: &[u8] = include_bytes!("../fonts/DejaVuSans-Bold-subset.ttf");
static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| parse(REGULAR_FILE));
static BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| parse(BOLD_FILE));

/// Weight of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

/// A font as a document embeds it.
#[derive(Clone, Copy)]
pub(crate) struct Face {
    pub(crate) name: &'static str,
    /// The TrueType file.
    pub(crate) file: &'static [u8],
    weight: Weight,
}

impl Face {
    pub(crate) fn of(weight: Weight) -> Self {
        let (name, file) = match weight {
            Weight::Regular => ("DejaVuSans", REGULAR_FILE),
            Weight::Bold => ("DejaVuSans-Bold", BOLD_FILE),
        };
        Self { name, file, weight }
    }

    /// The number of a character's glyph; 0 is that of what the font lacks.
    pub(crate) fn glyph(self, character: char) -> u16 {
        face(self.weight).glyph_id(character).0
    }

    /// The advance width of each glyph, in thousandths of the em.
    pub(crate) fn advances(self) -> impl Iterator<Item = f32> {
        let font = face(self.weight);
        (0..font.glyph_count() as u16).map(move |id| 1000.0 * font.h_advance_unscaled(GlyphId(id)) / units_per_em(font))
    }

    /// Each glyph that stands for a character, with it.
    pub(crate) fn characters(self) -> Vec<(u16, char)> {
        let mut characters: Vec<_> = face(self.weight).codepoint_ids().map(|(id, c)| (id.0, c)).collect();
        characters.sort_unstable();
        characters.dedup_by_key(|(id, _)| *id);
        characters
    }
}

/// Advance width of `text` at `size` (the em), in the unit of `size`.
pub(crate) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let font = face(weight);
    let per_em: f32 = text.chars().map(|c| font.h_advance_unscaled(font.glyph_id(c))).sum();
    f64::from(per_em) / f64::from(units_per_em(font)) * size
}

/// Width of the widest of some small texts, in points.
pub(crate) fn widest<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> f64 {
    texts.map(|text| width(text.as_ref(), SMALL, Weight::Regular)).fold(0.0, f64::max)
}

/// The baseline of small text whose capitals are centred at `y`.
pub(crate) fn baseline(y: f64) -> f64 {
    y + CAPITAL_HEIGHT / 2.0 * SMALL
}

/// Calls `pixel(x, y, coverage)` for each pixel that `text` touches, its baseline starting at the origin, y downwards.
pub(crate) fn rasterize(text: &str, size: f64, weight: Weight, mut pixel: impl FnMut(i32, i32, f32)) {
    let font = face(weight);
    // ab_glyph scales by ascent − descent, everyone else by the em.
    let scale = PxScale::from((size * f64::from(font.height_unscaled() / units_per_em(font))) as f32);
    let scaled = font.as_scaled(scale);
    let mut pen = 0.0;
    for c in text.chars() {
        let id = font.glyph_id(c);
        if let Some(outline) = font.outline_glyph(id.with_scale_and_position(scale, point(pen, 0.0))) {
            let bounds = outline.px_bounds();
            outline.draw(|x, y, coverage| {
                pixel(x as i32 + bounds.min.x as i32, y as i32 + bounds.min.y as i32, coverage);
            });
        }
        pen += scaled.h_advance(id);
    }
}

fn face(weight: Weight) -> &'static FontRef<'static> {
    match weight {
        Weight::Regular => &REGULAR,
        Weight::Bold => &BOLD,
    }
}

fn parse(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("the embedded font is a TrueType file")
}

fn units_per_em(font: &FontRef<'static>) -> f32 {
    font.units_per_em().expect("a TrueType file states its units per em")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widths from DejaVu's own `hmtx` table: the digit zero advances 1303 of 2048 units, 1425 in bold.
    #[test]
    fn widths_are_those_of_dejavu() {
        assert!((width("000", 2048.0, Weight::Regular) - 3.0 * 1303.0).abs() < 1e-2);
        assert!((width("0", 2048.0, Weight::Bold) - 1425.0).abs() < 1e-2);
    }

    #[test]
    fn every_sign_that_figures_use_has_a_glyph() {
        for c in "×·µ–—∝≤≥≈−…\u{2009}⁰¹²³⁴⁵⁶⁷⁸⁹⁻αβσΔΩé".chars() {
            for weight in [Weight::Regular, Weight::Bold] {
                assert_ne!(face(weight).glyph_id(c).0, 0, "{c:?}");
            }
        }
    }

    #[test]
    fn pixels_keep_left_bearings_and_stand_on_the_baseline() {
        let (mut left, mut bottom) = (i32::MAX, i32::MIN);
        rasterize("H", 100.0, Weight::Regular, |x, y, coverage| {
            if coverage > 0.5 {
                (left, bottom) = (left.min(x), bottom.max(y));
            }
        });
        assert!((8..=11).contains(&left), "{left}"); // H starts 201 of 2048 units right of its origin.
        assert!((-1..=0).contains(&bottom), "{bottom}");
    }
}
