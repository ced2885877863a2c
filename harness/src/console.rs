//! What the program prints. A reader that has gone, as `head` has, is no reason to stop: a measurement is worth more
//! than its progress. A device that is full is an error, told once at the end ([`failure`]).
//!
//! Control characters are made visible (`\x1b`), since names and reasons come from files and must not steer a terminal.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;

pub(crate) use relgrad_vocabulary::{cut, quoted};

/// Why standard output can no longer be written, from the first failure on.
static FAILED: Mutex<Option<Failure>> = Mutex::new(None);

enum Failure {
    /// Its reader has gone.
    Closed,
    /// The system refuses, for instance on a full disk.
    Refused(io::Error),
}

/// Prints a line of results to standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints text of results, which brings its own ends of lines, to standard output.
macro_rules! say_text {
    ($($words:tt)*) => { $crate::console::print(format_args!($($words)*)) };
}

/// Prints a line of progress or a message to standard error.
macro_rules! note {
    ($($words:tt)*) => { $crate::console::print_error(format_args!("{}\n", format_args!($($words)*))) };
}

/// What the macros `say!` and `say_text!` expand to.
pub(crate) fn print(words: Arguments<'_>) {
    emit(&visible(&words.to_string()));
}

/// Writes a document for other programs, such as JSON, to standard output as it is.
pub(crate) fn emit(text: &str) {
    let mut failed = FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if failed.is_some() {
        return;
    }
    let mut stdout = io::stdout().lock();
    if let Err(cause) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        *failed = Some(match cause.kind() {
            ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Refused(cause),
        });
    }
}

/// What the macro `note!` expands to. Where standard error cannot be written there is nobody to tell.
pub(crate) fn print_error(words: Arguments<'_>) {
    let _ = io::stderr().lock().write_all(visible(&words.to_string()).as_bytes());
}

/// Why results did not reach standard output; `None` where they did, or where the reader left.
pub(crate) fn failure() -> Option<String> {
    match &*FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(Failure::Refused(cause)) => Some(format!("cannot write to standard output: {cause}")),
        Some(Failure::Closed) | None => None,
    }
}

/// The command as it was given, program first. What is not UTF-8 is shown by replacement characters.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// Text with its control characters, other than ends of lines and tabs, and the marks that turn the direction of
/// writing made visible.
pub(crate) fn visible(text: &str) -> String {
    let within_tabs = |line: &str| line.split('\t').map(relgrad_vocabulary::visible).collect::<Vec<_>>().join("\t");
    text.split('\n').map(within_tabs).collect::<Vec<_>>().join("\n")
}

/// Lets a bar move by itself. Indicatif panics where the system refuses the thread for that; the bar then moves with
/// what it shows.
pub(crate) fn keep_moving(bar: &indicatif::ProgressBar) {
    if std::thread::Builder::new().spawn(|| ()).is_ok() {
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_visible_and_text_is_left_alone() {
        assert_eq!(visible("D = 10, 4 µs ± 1 %\n\t− é 漢"), "D = 10, 4 µs ± 1 %\n\t− é 漢");
        assert_eq!(visible("\u{1b}[2J\r\u{7}\0\u{7f}"), "\\x1b[2J\\r\\x07\\x00\\x7f");
        assert_eq!(visible("\u{9b}31m\u{202e}x"), "\\u{9b}31m\\u{202e}x");
    }
}
