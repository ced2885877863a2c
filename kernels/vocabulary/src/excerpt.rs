//! How words that come from a file are shown.

use std::fmt::Write;

/// The first `most` characters of a text, with an ellipsis where more follow, on one line and with control characters
/// visible. Costs no more than what is kept, however long the text is.
pub fn excerpt(text: &str, most: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(most) else { return visible(text) };
    format!("{}…", visible(&text[..end]))
}

/// Text whose control characters, ends of lines included, and marks that turn the direction of writing are visible
/// (`\x1b`).
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // Writing to a string cannot fail.
            c if c.is_ascii_control() => drop(write!(shown, "\\x{:02x}", u32::from(c))),
            c if is_steering(c) => drop(write!(shown, "\\u{{{:x}}}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// What has no shape of its own and changes how its neighbours look; the last two are no characters in XML.
fn is_steering(c: char) -> bool {
    let marks = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    c.is_control() || marks || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Characters of a quotation.
const MOST_QUOTED: usize = 60;

/// What a message quotes of a file or an answer: one line of at most 60 characters, control characters made visible.
pub fn quoted(text: &str) -> String {
    cut(&excerpt(text.trim(), MOST_QUOTED), MOST_QUOTED)
}

/// At most `most` characters of a text, of which the last is `…` where some are left out.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_string(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_one_line_of_sixty_characters() {
        assert_eq!(quoted("a\nb\t\u{1b}c"), "a\\nb\\t\\x1bc");
        assert_eq!(quoted(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(quoted(&"é".repeat(61)), "é".repeat(59) + "…");
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("relative", 60), "relative");
        assert_eq!(excerpt("é漢字x", 3), "é漢字…");
        assert_eq!(excerpt("a\nb\t\u{1b}[2J\u{202e}", 60), "a\\nb\\t\\x1b[2J\\u{202e}");
        assert_eq!(excerpt(&"x".repeat(60_000), 60).chars().count(), 61);
    }
}
