//! What stands below a panel: the legend in columns, then one note for each series that ended early.

use relgrad_vocabulary::excerpt;

use crate::font::{self, Weight};
use crate::scene::{Marker, Rect, Scene, Stroke, Text};
use crate::style::{BAND, GREY, INK, LINE_SPACING, Look, MARGIN, MODEL, PREDICTED, SMALL};

/// Length of a sample line, in points.
const SAMPLE: f64 = 27.0;
/// Between a sample and its text, in points.
const GAP: f64 = 4.0;
/// Between two columns, in points.
const COLUMN_GAP: f64 = 10.0;
/// Where the sign of a note ends and its text begins, in points.
const NOTE_INDENT: f64 = 9.0;
/// Longest line that is laid out, in characters.
const LONGEST: usize = 300;
/// Longest note, in lines.
const NOTE_LINES: usize = 3;

/// One entry of a legend.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) sign: Sign,
    pub(crate) text: String,
}

/// What an entry explains.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sign {
    Curve(Look),
    /// Without a line.
    Marker(Look),
    Band,
    Bar,
    Process,
    Clipped,
    Ring,
    Predicted,
    Model,
    /// A line as the panel draws it, without markers.
    Line(Stroke),
}

/// A remark on one series.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) look: Look,
    /// Whether the panel shows a prediction (hollow marker) rather than a failure (cross).
    pub(crate) hollow: bool,
    pub(crate) text: String,
}

/// Draws blocks of keys and the notes from `top` down, across the scene, which ends below them.
pub(crate) fn draw(scene: &mut Scene, blocks: &[Vec<Key>], notes: &[Note], top: f64) {
    let mut top = top;
    for keys in blocks {
        top = draw_keys(scene, keys, top);
    }
    if !notes.is_empty() {
        top += 2.0;
    }
    for note in notes {
        top = draw_note(scene, note, top);
    }
    scene.height = top + MARGIN;
}

/// A key for every name, the first of those that are alike.
pub(crate) fn distinct(keys: impl Iterator<Item = Key>) -> Vec<Key> {
    let mut kept: Vec<Key> = Vec::new();
    for key in keys {
        if kept.iter().all(|other| other.text != key.text) {
            kept.push(key);
        }
    }
    kept
}

fn draw_keys(scene: &mut Scene, keys: &[Key], top: f64) -> f64 {
    if keys.is_empty() {
        return top;
    }
    let available = scene.width - 2.0 * MARGIN;
    let longest = available - SAMPLE - GAP;
    let texts: Vec<String> = keys.iter().map(|k| shortened(&k.text, longest, SMALL)).collect();
    let column = SAMPLE + GAP + font::widest(texts.iter()) + COLUMN_GAP;
    let columns = (((available + COLUMN_GAP) / column) as usize).clamp(1, keys.len());
    for (i, (key, text)) in keys.iter().zip(texts).enumerate() {
        let x = MARGIN + column * (i % columns) as f64;
        let y = top + LINE_SPACING * (i / columns) as f64 + LINE_SPACING / 2.0;
        draw_sample(scene, key.sign, x, y);
        scene.text(Text::new(text, (x + SAMPLE + GAP, font::baseline(y)), SMALL));
    }
    top + LINE_SPACING * keys.len().div_ceil(columns) as f64
}

fn draw_sample(scene: &mut Scene, sign: Sign, x: f64, y: f64) {
    let ends = [(x, y), (x + SAMPLE, y)];
    let middle = (x + SAMPLE / 2.0, y);
    let grey = |width, dash| Stroke { color: GREY, width, dash };
    match sign {
        Sign::Curve(look) => {
            scene.line(&ends, look.stroke(look.dash));
            scene.marker(look.marker, middle, look.color, false);
        }
        Sign::Marker(look) => scene.marker(look.marker, middle, look.color, false),
        Sign::Band => {
            let band = Rect { left: x, top: y - 3.0, right: x + SAMPLE, bottom: y + 3.0 };
            scene.area(band.corners().to_vec(), GREY, BAND);
            scene.line(&ends, grey(1.2, &[]));
        }
        Sign::Bar => scene.line(&[(middle.0, y - 3.5), (middle.0, y + 3.5)], grey(0.8, &[])),
        Sign::Process => scene.dot(middle, GREY),
        Sign::Clipped => scene.wedge((middle.0, y - 2.0), true, GREY),
        Sign::Ring => {
            scene.ring(middle, INK);
            scene.marker(Marker::Circle, middle, GREY, false);
        }
        Sign::Predicted => {
            let end = (ends[1].0 - 3.0, y);
            scene.line(&[ends[0], end], grey(1.2, PREDICTED));
            scene.marker(Marker::Circle, end, GREY, true);
        }
        Sign::Model => scene.line(&ends, grey(0.9, MODEL)),
        Sign::Line(stroke) => scene.line(&ends, stroke),
    }
}

fn draw_note(scene: &mut Scene, note: &Note, top: f64) -> f64 {
    let available = scene.width - 2.0 * MARGIN - NOTE_INDENT;
    let sign = (MARGIN + 3.0, top + LINE_SPACING / 2.0);
    if note.hollow {
        scene.marker(note.look.marker, sign, note.look.color, true);
    } else {
        scene.cross(sign, note.look.color);
    }
    let lines = wrapped(&note.text, available, SMALL, NOTE_LINES);
    for (i, line) in lines.iter().enumerate() {
        let baseline = font::baseline(top + LINE_SPACING * (i as f64 + 0.5));
        scene.text(Text::new(line, (MARGIN + NOTE_INDENT, baseline), SMALL));
    }
    top + LINE_SPACING * lines.len() as f64
}

/// Cuts `text` at spaces into lines of at most `width`, and shortens the last of `most` lines with an ellipsis.
pub(crate) fn wrapped(text: &str, width: f64, size: f64, most: usize) -> Vec<String> {
    // Laying out takes a time in proportion to the square of the length.
    let text = excerpt(text, LONGEST * most);
    let fits = |line: &str| font::width(line, size, Weight::Regular) <= width;
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let full = lines.len() == most;
        let line = lines.last_mut().expect("there is always a line");
        let longer = if line.is_empty() { word.to_string() } else { format!("{line} {word}") };
        if fits(&longer) || line.is_empty() || full {
            *line = longer;
        } else {
            lines.push(word.to_string());
        }
    }
    lines.iter().map(|line| shortened(line, width, size)).collect()
}

/// `text`, cut with an ellipsis where it is wider than `width`.
pub(crate) fn shortened(text: &str, width: f64, size: f64) -> String {
    let text = &excerpt(text, LONGEST);
    let fits = |line: &str| font::width(line, size, Weight::Regular) <= width;
    if fits(text) {
        return text.to_string();
    }
    let mut kept: String = text.into();
    while kept.pop().is_some() {
        let cut = format!("{}…", kept.trim_end());
        if fits(&cut) {
            return cut;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_wrap_and_end_in_an_ellipsis() {
        let text = "predicted memory of one gradient is over the limit ".repeat(6);
        let lines = wrapped(&text, 150.0, SMALL, 3);
        assert_eq!(lines.len(), 3);
        assert!(lines[2].ends_with('…'));
        assert!(lines.iter().all(|l| font::width(l, SMALL, Weight::Regular) <= 150.0));
    }

    #[test]
    fn a_word_wider_than_the_line_is_cut() {
        let lines = wrapped(&"x".repeat(400), 100.0, SMALL, 2);
        assert!(lines.len() == 1 && lines[0].ends_with('…'));
    }

    #[test]
    fn short_text_stays_whole() {
        assert_eq!(wrapped("over  the limit", 150.0, SMALL, 3), ["over the limit"]);
    }
}
