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
    let marks =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    c.is_control() || marks || matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("relative", 60), "relative");
        assert_eq!(excerpt("é漢字x", 3), "é漢字…");
        assert_eq!(excerpt("a\nb\t\u{1b}[2J\u{202e}", 60), "a\\nb\\t\\x1b[2J\\u{202e}");
        assert_eq!(excerpt(&"x".repeat(60_000), 60).chars().count(), 61);
    }
}
