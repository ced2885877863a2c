//! What every figure shares: colours, line widths, sizes, and the look of each method.
//!
//! Colours are those of Okabe and Ito (<https://jfly.uni-koeln.de/color/>), which people with any common colour
//! blindness tell apart; each method also has its own marker and dashes, so that a figure survives a grey printer.

use plotters::style::RGBColor;
use relgrad_vocabulary::{Kernel, Method, Subject};

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

/// The look of what a series is of: each method has its own, calibration kernels spare ones.
pub(crate) fn look(subject: impl Into<Subject>) -> Look {
    let method = match subject.into() {
        Subject::Method(method) => method,
        Subject::Kernel(Kernel::Copy) => return SPARE[0],
        Subject::Kernel(Kernel::Gemm) => return SPARE[1],
    };
    let (color, marker, dash): (_, _, &[f64]) = match method {
        Method::Relative => (RGBColor(0x00, 0x72, 0xb2), Marker::Circle, &[]),
        Method::Ordinary => (RGBColor(0xd5, 0x5e, 0x00), Marker::Square, &[5.0, 2.0]),
        Method::Autodiff => (RGBColor(0x00, 0x9e, 0x73), Marker::Triangle, &[6.0, 1.8, 1.4, 1.8]),
        Method::Transposed => (RGBColor(0x56, 0xb4, 0xe9), Marker::Diamond, &[10.0, 2.0, 3.0, 2.0]),
        Method::RelativeInPlace => (RGBColor(0xcc, 0x79, 0xa7), Marker::TriangleDown, &[4.0, 1.6]),
        Method::AutodiffStreamed => (RGBColor(0xe6, 0x9f, 0x00), Marker::Pentagon, &[6.0, 1.6, 1.2, 1.6, 1.2, 1.6]),
    };
    Look { color, marker, dash }
}

/// The look of a curve whose name no method has, by its place among those.
pub(crate) fn spare(place: usize) -> Look {
    SPARE[place % SPARE.len()]
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

    #[test]
    fn methods_look_different_in_every_way() {
        for (i, a) in Method::ALL.iter().enumerate() {
            for b in &Method::ALL[..i] {
                let (a, b) = (look(*a), look(*b));
                assert_ne!(a.color, b.color);
                assert_ne!(a.marker, b.marker);
                assert_ne!(a.dash, b.dash);
            }
        }
        assert_ne!(look(Kernel::Gemm), look(Kernel::Copy));
    }
}
