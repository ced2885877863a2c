//! Why a child process ended, in words.

use std::process::ExitStatus;

use relgrad_reports::record::Reason;

use crate::console;

/// What mpiexec says of a rank that a signal has ended, before it says how.
const RANK_ENDED: &str = "TERMINATED WITH THE EXIT STRING:";
/// Characters of a child's last words that its record keeps.
const MOST_WORDS: usize = 500;

/// Why a child that gave no reply ended: its signal or exit code, and the last words of its standard error.
pub(crate) fn cause_of_death(status: ExitStatus, stderr: &str) -> Reason {
    let how = match (signal(status), status.code()) {
        (Some(signal), _) => format!("killed by {signal}"),
        (None, Some(code)) => format!("ended with code {code} and no result"),
        (None, None) => "ended without a result".to_string(),
    };
    match last_words(stderr) {
        Some(words) => format!("{how}: {words}").into(),
        None => how.into(),
    }
}

/// The line of `stderr` that tells most: a panic's message (an older program's stands on the line after), otherwise the
/// last line.
fn last_words(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Of several ranks' last words, the one that failed says why; the others and mpiexec say that they were ended.
    const TOLD: [&str; 2] = ["relgrad: internal error", "relgrad: rank"];
    let is_told = |line: &&&str| TOLD.iter().any(|begin| line.starts_with(begin));
    let told = lines.iter().rfind(is_told);
    let panic = lines.iter().rposition(|line| line.contains("panicked at"));
    let message = told.or(panic.and_then(|at| lines.get(at + 1))).or(lines.last())?;
    Some(console::cut(message, MOST_WORDS))
}

/// What mpiexec says on standard output of a rank that a signal has ended.
pub(crate) fn end_of_a_rank(stdout: &str) -> Option<String> {
    let (_, how) = stdout.lines().find_map(|line| line.split_once(RANK_ENDED))?;
    Some(format!("a rank was ended: {}", how.trim()))
}

/// The signal that ended a process, by its name where that is usual.
#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<String> {
    const NAMES: [(i32, &str); 8] = [
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGKILL, "SIGKILL, most likely by the system for its memory"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
    ];
    let number = std::os::unix::process::ExitStatusExt::signal(&status)?;
    let name = NAMES.iter().find(|(known, _)| *known == number);
    Some(name.map_or_else(|| format!("signal {number}"), |(_, name)| name.to_string()))
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<String> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_cause_of_death_names_the_signal_or_the_code() {
        for (script, words, told) in [
            ("kill -ABRT $$", "allocation failed", "killed by SIGABRT: allocation failed"),
            ("kill -KILL $$", "", "killed by SIGKILL, most likely by the system for its memory"),
            ("exit 3", "err\n", "ended with code 3 and no result: err"),
        ] {
            assert_eq!(cause_of_death(Command::new("sh").args(["-c", script]).status().unwrap(), words).as_str(), told);
        }
    }

    #[test]
    fn a_panic_is_told_by_its_message() {
        let stderr = "\nthread 'main' (1) panicked at src/x.rs:1:1:\nindex out of range\nnote: run with \
                      RUST_BACKTRACE=1\n";
        assert_eq!(last_words(stderr).as_deref(), Some("index out of range"));
        let told = "relgrad: internal error: index out of range (src/x.rs:1:1); please report it";
        assert_eq!(last_words(&format!("{told}\n   0: a trace\n")).as_deref(), Some(told));
    }
}
