//! What every figure shares: colours, line widths, sizes, and the look of each method.
//!
//! Colours are those of Okabe and Ito (<https://jfly.uni-koeln.de/color/>), which people with any common colour
//! blindness tell apart; each method also has its own marker and dashes, so that a figure survives a grey printer.

use plotters::style::RGBColor;
use relgrad_vocabulary::Subject;

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

/// The look of what a series is of: a method has that of its place in the list of methods, so that a new one needs none
/// here. Calibration kernels have spare ones.
pub(crate) fn look(subject: impl Into<Subject>) -> Look {
    match subject.into() {
        Subject::Method(method) => by_place(method as usize),
        Subject::Kernel(kernel) => spare(kernel as usize),
    }
}

/// The look of the first, second, … of some curves.
pub(crate) fn by_place(place: usize) -> Look {
    LOOKS[place % LOOKS.len()]
}

/// The look of a curve whose name no method has, by its place among those: from the other end.
pub(crate) fn spare(place: usize) -> Look {
    LOOKS[LOOKS.len() - 1 - place % LOOKS.len()]
}

/// Each differs from all others in colour, marker and dashes. Families share a hue: blues are relative, oranges and
/// browns ordinary, greens automatic differentiation, purples factored layers. The last ones are also those of
/// calibration kernels.
const LOOKS: [Look; 16] = [
    of(0x0072b2, Marker::Circle, &[]),
    of(0x56b4e9, Marker::Diamond, &[10.0, 2.0, 3.0, 2.0]),
    of(0xd55e00, Marker::Square, &[5.0, 2.0]),
    of(0x009e73, Marker::Triangle, &[6.0, 1.8, 1.4, 1.8]),
    of(0x1f5f3f, Marker::Pentagon, &[6.0, 1.6, 1.2, 1.6, 1.2, 1.6]),
    of(0x003a66, Marker::TriangleDown, &[4.0, 1.6]),
    of(0x332fd0, Marker::TriangleRight, &[4.0, 1.5, 1.5, 1.5]),
    of(0xe69f00, Marker::TriangleLeft, &[8.0, 1.5]),
    of(0x7396d9, Marker::Star, &[7.0, 2.0, 2.0, 2.0]),
    of(0x7a2600, Marker::Plus, &[2.2, 1.4]),
    of(0x882255, Marker::Tripod, &[9.0, 1.8, 1.2, 1.8, 1.2, 1.8]),
    of(0xcc79a7, Marker::Asterisk, &[5.0, 1.5, 5.0, 1.5, 1.2, 1.5]),
    of(0xa89200, Marker::TripodDown, &[12.0, 2.0]),
    of(0x6fb23f, Marker::Cross, &[3.0, 1.4, 1.2, 1.4]),
    of(0x888888, Marker::BarUpright, &[3.0, 1.5]),
    of(0x000000, Marker::BarFlat, &[5.0, 1.5]),
];

const fn of(rgb: u32, marker: Marker, dash: &'static [f64]) -> Look {
    let [_, red, green, blue] = rgb.to_be_bytes();
    Look { color: RGBColor(red, green, blue), marker, dash }
}

#[cfg(test)]
mod tests {
    use relgrad_vocabulary::{Kernel, Method};

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
        for (i, a) in LOOKS.iter().enumerate() {
            assert!(
                LOOKS[..i].iter().all(|b| a.color != b.color && a.marker != b.marker && a.dash != b.dash),
                "look {i}"
            );
        }
    }
}
