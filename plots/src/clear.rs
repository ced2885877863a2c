//! Where a panel is still empty: a grid of cells that remembers what data cover.

use crate::scene::{Place, Rect};

/// Edge of a cell, in points.
const CELL: f64 = 1.5;

/// The free space of a panel.
#[derive(Debug, Clone)]
pub(crate) struct Clear {
    rect: Rect,
    columns: usize,
    rows: usize,
    taken: Vec<bool>,
}

impl Clear {
    /// Everything inside `rect` is free, everything outside is not.
    pub(crate) fn new(rect: Rect) -> Self {
        let columns = (rect.width() / CELL).ceil().max(1.0) as usize;
        let rows = (rect.height() / CELL).ceil().max(1.0) as usize;
        Clear { rect, columns, rows, taken: vec![false; columns * rows] }
    }

    /// Takes the space around a polyline up to a distance of `reach` points.
    pub(crate) fn take_line(&mut self, places: &[Place], reach: f64) {
        for pair in places.windows(2) {
            let Some((a, b)) = self.rect.clip(pair[0], pair[1]) else { continue };
            let steps = ((b.0 - a.0).hypot(b.1 - a.1) / CELL).ceil().max(1.0);
            for i in 0..=steps as usize {
                let t = i as f64 / steps;
                self.take((a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1)), reach);
            }
        }
    }

    /// Takes the space around a place up to a distance of `reach` points.
    pub(crate) fn take(&mut self, (x, y): Place, reach: f64) {
        let cells = |low: f64, high: f64, count: usize| {
            let clamp = |v: f64| (v / CELL).floor().clamp(0.0, (count - 1) as f64) as usize;
            clamp(low)..=clamp(high)
        };
        let (u, v) = (x - self.rect.left, y - self.rect.top);
        for row in cells(v - reach, v + reach, self.rows) {
            for column in cells(u - reach, u + reach, self.columns) {
                self.taken[row * self.columns + column] = true;
            }
        }
    }

    pub(crate) fn is_free(&self, place: Place) -> bool {
        if !self.rect.holds(place) {
            return false;
        }
        let column = (((place.0 - self.rect.left) / CELL) as usize).min(self.columns - 1);
        let row = (((place.1 - self.rect.top) / CELL) as usize).min(self.rows - 1);
        !self.taken[row * self.columns + column]
    }

    /// Whether nothing covers any part of a rectangle.
    pub(crate) fn holds(&self, rect: Rect) -> bool {
        let columns = (rect.width() / CELL).ceil().max(1.0);
        let rows = (rect.height() / CELL).ceil().max(1.0);
        (0..=rows as usize).all(|row| {
            (0..=columns as usize).all(|column| {
                let x = rect.left + rect.width() * column as f64 / columns;
                self.is_free((x, rect.top + rect.height() * row as f64 / rows))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_takes_its_surroundings_only() {
        let square = |left, top| Rect { left, top, right: left + 20.0, bottom: top + 20.0 };
        let mut clear = Clear::new(Rect { left: 0.0, top: 0.0, right: 100.0, bottom: 100.0 });
        clear.take_line(&[(0.0, 100.0), (100.0, 0.0)], 3.0);
        assert!(!clear.is_free((50.0, 50.0)));
        assert!(!clear.is_free((51.0, 52.0)));
        assert!(!clear.holds(square(40.0, 40.0)));
        assert!(clear.holds(square(75.0, 75.0)));
        assert!(!clear.holds(square(85.0, 75.0)), "outside the panel");
    }
}
