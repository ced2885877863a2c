//! Guide slopes: two short lines ∝ Dᵖ from one point, in an empty part of the panel.

use relgrad_reports::run::Settings;

use crate::clear::Clear;
use crate::font;
use crate::panel::Panel;
use crate::scene::{Place, Rect, Scene, Stroke, Text};
use crate::style::{GREY, SMALL};

/// Lengths to try, in decades of D.
const DECADES: [f64; 6] = [1.0, 0.75, 0.5, 0.33, 0.2, 0.12];
/// Shortest guide that still shows a slope, in points across.
const SHORTEST: f64 = 14.0;

/// The two powers of D that the costs of a study lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Laws {
    pub(crate) low: u8,
    pub(crate) high: u8,
}

impl Laws {
    /// D² and D³ of dense layers; D (but for a logarithm) and D³ of convolutions on a growing grid.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { low: if settings.convolution.is_some() { 1 } else { 2 }, high: 3 }
    }

    /// Each power with its label.
    pub(crate) fn labelled(self) -> [(f64, &'static str); 2] {
        [self.low, self.high].map(|power| match power {
            1 => (1.0, "∝ D"),
            2 => (2.0, "∝ D²"),
            _ => (3.0, "∝ D³"),
        })
    }
}

/// The two guides: their common origin and their upper ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Guides {
    laws: Laws,
    origin: Place,
    low: Place,
    high: Place,
}

impl Guides {
    /// The longest guides that fit beside the data, as far to the lower right as they can be; `None` when none fit.
    pub(crate) fn fit(panel: &Panel, clear: &Clear, laws: Laws) -> Option<Guides> {
        let decade = |low: f64, high: f64| (high / low).log10();
        let across = panel.rect.width() / decade(panel.x.low, panel.x.high);
        let up = panel.rect.height() / decade(panel.y.low, panel.y.high);
        DECADES.into_iter().find_map(|length| {
            let (dx, dy) = (length * across, length * up);
            if dx < SHORTEST || dy < SMALL + 2.0 {
                return None;
            }
            lower_right_first(panel.rect).find_map(|(x, y)| {
                let end = |(power, _): (f64, &str)| (x + dx, y - power * dy);
                let [low, high] = laws.labelled().map(end);
                let guides = Guides { laws, origin: (x, y), low, high };
                guides.is_clear(clear).then_some(guides)
            })
        })
    }

    pub(crate) fn draw(&self, scene: &mut Scene) {
        for (end, text) in self.labelled_ends() {
            let stroke = Stroke { color: GREY, width: 0.8, dash: &[] };
            scene.line(&[self.origin, end], stroke);
            scene.text(text.color(GREY));
        }
    }

    fn labelled_ends(&self) -> [(Place, Text); 2] {
        let [low, high] = self.laws.labelled();
        [(self.low, low.1), (self.high, high.1)]
            .map(|(end, label)| (end, Text::new(label, (end.0 + 2.5, font::baseline(end.1)), SMALL)))
    }

    fn is_clear(&self, clear: &Clear) -> bool {
        const STEPS: usize = 24;
        let wedge = (0..=STEPS).all(|i| {
            let t = i as f64 / STEPS as f64;
            let x = self.origin.0 + t * (self.high.0 - self.origin.0);
            let (low, high) = (t * (self.low.1 - self.origin.1), t * (self.high.1 - self.origin.1));
            (0..=STEPS).all(|j| clear.is_free((x, self.origin.1 + low + (high - low) * j as f64 / STEPS as f64)))
        });
        wedge && self.labelled_ends().iter().all(|(_, text)| clear.holds(text.bounds()))
    }
}

/// Places of a rectangle on a grid, those nearest the lower right corner first.
fn lower_right_first(rect: Rect) -> impl Iterator<Item = Place> {
    const STEP: f64 = 4.0;
    const INSET: f64 = 4.0;
    let steps = |length: f64| ((length - 2.0 * INSET) / STEP).max(0.0) as usize;
    let (columns, rows) = (steps(rect.width()), steps(rect.height()));
    (0..=columns + rows).flat_map(move |sum| {
        (sum.saturating_sub(rows)..=sum.min(columns)).map(move |column| {
            let row = sum - column;
            (rect.right - INSET - column as f64 * STEP, rect.bottom - INSET - row as f64 * STEP)
        })
    })
}
