//! What every figure shares: colours, line widths, sizes, and the look of each method.
//!
//! Colours are those of Okabe and Ito (<https://jfly.uni-koeln.de/color/>), which people with any common colour
//! blindness tell apart; each method also has its own marker and dashes, so that a figure survives a grey printer.

use plotters::style::RGBColor;
use relgrad_reports::method::{AUTODIFF, ORDINARY, RELATIVE};

use crate::scene::{Marker, Stroke};

/// Width of one journal column, 85 mm, in points.
pub(crate) const COLUMN_WIDTH: f64 = 85.0 / 25.4 * 72.0;
/// Width of a page's text, 170 mm, in points.
pub(crate) const PAGE_WIDTH: f64 = 2.0 * COLUMN_WIDTH;
/// Size of tick labels, legends and notes, in points.
pub(crate) const SMALL: f64 = 7.0;
/// Size of axis titles and headings, in points.
pub(crate) const NORMAL: f64 = 7.5;
/// Distance of baselines in a block of small text, in points.
pub(crate) const LINE_SPACING: f64 = 10.0;
/// White around a figure, in points.
pub(crate) const MARGIN: f64 = 4.0;

pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(crate) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
pub(crate) const FAINT: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
pub(crate) const GREY: RGBColor = RGBColor(0x6e, 0x6e, 0x6e);

/// Opacity of a confidence band.
pub(crate) const BAND: f64 = 0.25;
/// The line of a value that was predicted, not measured.
pub(crate) const PREDICTED: &[f64] = &[0.9, 1.5];
/// The line of the cost model.
pub(crate) const MODEL: &[f64] = &[3.2, 2.0];

/// How one method looks in every figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Look {
    pub(crate) color: RGBColor,
    pub(crate) marker: Marker,
    pub(crate) dash: &'static [f64],
}

impl Look {
    /// The stroke of the method's measured line.
    pub(crate) fn stroke(&self, dash: &'static [f64]) -> Stroke {
        Stroke { color: self.color, width: 1.2, dash }
    }

    /// The stroke of its model or prediction.
    pub(crate) fn thin(&self, dash: &'static [f64]) -> Stroke {
        Stroke { color: self.color, width: 0.9, dash }
    }
}

/// The look of `method` in a figure of `methods`.
///
/// The methods of this program have fixed looks. Any other name takes one of the spare looks by its place among the
/// other unknown names in alphabetical order, so the same records always give the same picture.
pub(crate) fn look(method: &str, methods: &[&str]) -> Look {
    if let Some(look) = fixed(method) {
        return look;
    }
    let mut unknown: Vec<_> = methods.iter().filter(|m| fixed(m).is_none()).collect();
    unknown.sort_unstable();
    unknown.dedup();
    SPARE[unknown.iter().position(|m| **m == method).unwrap_or(0) % SPARE.len()]
}

fn fixed(method: &str) -> Option<Look> {
    let (color, marker, dash): (_, _, &[f64]) = match method {
        RELATIVE => (RGBColor(0x00, 0x72, 0xb2), Marker::Circle, &[]),
        ORDINARY => (RGBColor(0xd5, 0x5e, 0x00), Marker::Square, &[5.0, 2.0]),
        AUTODIFF => (RGBColor(0x00, 0x9e, 0x73), Marker::Triangle, &[6.0, 1.8, 1.4, 1.8]),
        "transposed" => (RGBColor(0x56, 0xb4, 0xe9), Marker::Diamond, &[10.0, 2.0, 3.0, 2.0]),
        "relative-inplace" => (RGBColor(0xcc, 0x79, 0xa7), Marker::TriangleDown, &[4.0, 1.6]),
        "autodiff-streamed" => (RGBColor(0xe6, 0x9f, 0x00), Marker::Pentagon, &[6.0, 1.6, 1.2, 1.6, 1.2, 1.6]),
        _ => return None,
    };
    Some(Look { color, marker, dash })
}

const SPARE: [Look; 4] = [
    Look { color: RGBColor(0x00, 0x00, 0x00), marker: Marker::Diamond, dash: &[5.0, 1.5] },
    Look { color: RGBColor(0x88, 0x88, 0x88), marker: Marker::Pentagon, dash: &[3.0, 1.5] },
    Look { color: RGBColor(0x88, 0x22, 0x55), marker: Marker::TriangleDown, dash: &[8.0, 1.5] },
    Look { color: RGBColor(0x99, 0x8e, 0x00), marker: Marker::Square, dash: &[4.0, 1.5, 1.5, 1.5] },
];

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] =
        ["relative", "transposed", "ordinary", "autodiff", "relative-inplace", "autodiff-streamed"];

    #[test]
    fn known_methods_look_different_in_every_way() {
        for (i, a) in KNOWN.iter().enumerate() {
            for b in &KNOWN[..i] {
                let (a, b) = (look(a, &KNOWN), look(b, &KNOWN));
                assert_ne!(a.color, b.color);
                assert_ne!(a.marker, b.marker);
                assert_ne!(a.dash, b.dash);
            }
        }
    }

    #[test]
    fn unknown_methods_get_the_same_look_in_any_order() {
        assert_eq!(look("b", &["relative", "b", "a"]), look("b", &["a", "b"]));
        assert_ne!(look("a", &["a", "b"]), look("b", &["a", "b"]));
        assert_eq!(look("relative", &["b"]), look("relative", &["relative"]));
    }
}
