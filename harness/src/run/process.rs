//! One child process: started under limits, waited for, killed when its time is up.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::interrupt::{Event, Events};
use crate::console;
use crate::error::explained;

/// Bytes kept of a child's standard error: its end says why it died.
const KEPT_STDERR: usize = 8 << 10;
/// Bytes kept of a child's standard output, some ten times the longest reply: a program that is something else may
/// print for ever.
const KEPT_STDOUT: usize = 64 << 20;

/// Characters of a child's last words that its record keeps.
const MOST_WORDS: usize = 500;

/// What a child may use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChildLimits {
    /// Bytes of address space.
    pub(crate) address_space_bytes: Option<u64>,
    /// Time until it is killed.
    pub(crate) kill_after: Option<Duration>,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself or by a signal that is not ours.
    Exited { status: ExitStatus, stdout: String, stderr: String },
    /// Killed by us because its time was up.
    TimedOut,
    /// Killed by us because the user wants to stop.
    Interrupted,
}

/// Runs `command` to its end. The child dies with this process, whatever kills it, and gets no signals from the
/// terminal.
///
/// # Errors
/// When the process cannot be started or waited for.
pub(crate) fn run(command: Command, limits: ChildLimits, events: &mut Events) -> io::Result<End> {
    run_watched(command, limits, events, |_| None)
}

/// The same, calling `tick` with the time since the start: at once, and whenever the time has come that it answered
/// with.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_watched(
    mut command: Command,
    limits: ChildLimits,
    events: &mut Events,
    mut tick: impl FnMut(Duration) -> Option<Duration>,
) -> io::Result<End> {
    static SERIAL: AtomicUsize = AtomicUsize::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);

    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    confine(&mut command, limits.address_space_bytes);
    let start = Instant::now();
    // A time that no clock reaches is no limit.
    let at = |time: Option<Duration>| start.checked_add(time?);
    let deadline = at(limits.kill_after);
    let refused = |cause: io::Error| io::Error::new(cause.kind(), explained(&cause));
    let mut child = command.spawn().map_err(refused)?;

    let sender = events.sender();
    let closed = move || {
        // A receiver that is gone means that nobody waits any more.
        let _ = sender.send(Event::Closed(serial));
    };
    let stderr = collect(child.stderr.take(), KEPT_STDERR, || ());
    let stdout = collect(child.stdout.take(), KEPT_STDOUT, closed);
    let (stderr, stdout) = match (stderr, stdout) {
        (Ok(stderr), Ok(stdout)) => (stderr, stdout),
        (Err(cause), _) | (_, Err(cause)) => {
            kill(&mut child)?;
            child.wait()?;
            return Err(refused(cause));
        }
    };

    let mut next_tick = at(tick(Duration::ZERO));
    let cut_short = loop {
        match events.wait([deadline, next_tick].into_iter().flatten().min()) {
            Event::Closed(closed) if closed == serial => break None,
            Event::Closed(_) => {}
            Event::TimedOut if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                break Some(End::TimedOut);
            }
            Event::TimedOut => next_tick = at(tick(start.elapsed())),
            Event::Interrupt => break Some(End::Interrupted),
        }
    };
    if cut_short.is_some() {
        kill(&mut child)?;
    }
    let status = reap(&mut child, deadline)?;
    let text = |reader: JoinHandle<Vec<u8>>| String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    Ok(cut_short.unwrap_or(End::Exited { status, stdout, stderr }))
}

/// Why a child that gave no reply ended: its signal or exit code, and the last words of its standard error.
pub(crate) fn cause_of_death(status: ExitStatus, stderr: &str) -> String {
    let how = match signal(status) {
        Some(9) => "killed by SIGKILL, most likely by the system for its memory".to_string(),
        Some(number) => format!("killed by {}", signal_name(number)),
        None => match status.code() {
            Some(code) => format!("ended with code {code} and no result"),
            None => "ended without a result".to_string(),
        },
    };
    match last_words(stderr) {
        Some(words) => format!("{how}: {words}"),
        None => how,
    }
}

/// The line of `stderr` that tells most: a panic's message (an older program's stands on the line after), otherwise the
/// last line.
fn last_words(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told = lines.iter().rfind(|line| line.starts_with("relgrad: internal error"));
    let panic = lines.iter().rposition(|line| line.contains("panicked at"));
    let message = told.or(panic.and_then(|at| lines.get(at + 1))).or(lines.last())?;
    Some(console::cut(message, MOST_WORDS))
}

/// Waits for a child that has closed its output or been killed. One that lives on is killed at the deadline.
fn reap(child: &mut Child, deadline: Option<Instant>) -> io::Result<ExitStatus> {
    if let Some(deadline) = deadline {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                kill(child)?;
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    child.wait()
}

/// SIGKILL, to its whole group: what it has started holds its pipes open. A child that has ended in the meantime is no
/// error.
fn kill(child: &mut Child) -> io::Result<()> {
    // SAFETY: kill touches no memory. The child leads a group of its own ([`confine`]) and has not been waited for, so
    // that its number is still its own.
    #[cfg(unix)]
    unsafe {
        libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL);
    }
    match child.kill() {
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
        _ => Ok(()),
    }
}

/// Reads a pipe to its end on a thread of its own, keeping the last `keep` bytes, and calls `at_end`.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn collect(
    pipe: Option<impl Read + Send + 'static>,
    keep: usize,
    at_end: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<Vec<u8>>> {
    std::thread::Builder::new().spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; 16 << 10];
        if let Some(mut pipe) = pipe {
            // A pipe that cannot be read any more has ended as well.
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                kept.extend_from_slice(&chunk[..length]);
                // At twice the size, so that what is kept moves seldom.
                if kept.len() / 2 > keep {
                    kept.drain(..kept.len() - keep);
                }
            }
        }
        kept.drain(..kept.len().saturating_sub(keep));
        at_end();
        kept
    })
}

/// Has a write beyond the limit of a file's size fail as one on a full disk does, where a signal would end the program.
pub(crate) fn survive_file_size_limit() {
    #[cfg(unix)]
    // SAFETY: nothing runs when the signal comes.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN)
    };
}

/// Puts a child under a limit of its address space, out of reach of the terminal's signals, and ends it with this
/// process.
#[cfg(unix)]
pub(crate) fn confine(command: &mut Command, address_space_bytes: Option<u64>) {
    use std::os::unix::process::CommandExt;

    // Its own process group: Ctrl-C reaches the driver, which then ends the child itself.
    command.process_group(0);
    let parent = std::process::id();
    let prepare = move || {
        if let Some(bytes) = address_space_bytes {
            limit_address_space(bytes)?;
        }
        die_with_parent(parent)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes system calls
    // (getrlimit, setrlimit, prctl, getppid), takes no lock and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(not(unix))]
pub(crate) fn confine(_command: &mut Command, _address_space_bytes: Option<u64>) {}

/// Lowers the limit of the address space; a lower one that is already in force stays.
#[cfg(unix)]
fn limit_address_space(bytes: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_cur.min(bytes as libc::rlim_t);
    // SAFETY: `limit` is a valid rlimit to read from.
    if unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks the kernel to kill this process when its parent ends, so that a killed sweep leaves no child behind.
#[cfg(target_os = "linux")]
fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The parent may have ended before the call above, and then no signal comes.
    // SAFETY: getppid only returns a number.
    if unsafe { libc::getppid() } as u32 != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

#[cfg(all(unix, not(target_os = "linux")))]
fn die_with_parent(_parent: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

#[cfg(unix)]
fn signal_name(number: i32) -> String {
    let name = match number {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        _ => return format!("signal {number}"),
    };
    name.to_string()
}

#[cfg(not(unix))]
fn signal_name(number: i32) -> String {
    format!("signal {number}")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, limits: ChildLimits) -> End {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, limits, &mut Events::without_signals()).expect("sh starts")
    }

    #[test]
    fn output_and_status_come_back() {
        let End::Exited { status, stdout, stderr } = shell("echo out; echo err >&2; exit 3", ChildLimits::default())
        else {
            panic!("the child was cut short")
        };
        assert_eq!((status.code(), stdout.as_str(), stderr.as_str()), (Some(3), "out\n", "err\n"));
        assert_eq!(cause_of_death(status, &stderr), "ended with code 3 and no result: err");
    }

    #[test]
    fn the_address_space_limit_holds_in_the_child() {
        let limits = ChildLimits { address_space_bytes: Some(300 << 20), kill_after: None };
        let End::Exited { stdout, .. } = shell("ulimit -v", limits) else { panic!("the child was cut short") };
        assert_eq!(stdout.trim(), (300 << 10).to_string());
    }

    #[test]
    fn a_child_whose_time_is_up_is_killed() {
        let limits = ChildLimits { address_space_bytes: None, kill_after: Some(Duration::from_millis(50)) };
        let start = Instant::now();
        assert!(matches!(shell("exec sleep 60", limits), End::TimedOut));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_child_has_started_ends_with_it() {
        let limits = ChildLimits { address_space_bytes: None, kill_after: Some(Duration::from_millis(50)) };
        let start = Instant::now();
        assert!(matches!(shell("sleep 60 & sleep 60; true", limits), End::TimedOut));
        assert!(matches!(shell("exec >&- 2>&-; sleep 60", limits), End::Exited { .. }));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_child_is_watched_until_it_ends_or_its_time_is_up() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let limits = ChildLimits { kill_after: Some(Duration::from_millis(100)), ..ChildLimits::default() };
        let mut ticks = Vec::new();
        let tick = |elapsed: Duration| {
            ticks.push(elapsed);
            Some(elapsed + Duration::from_millis(10))
        };
        let end = run_watched(command, limits, &mut Events::without_signals(), tick).expect("sleep starts");
        assert!(matches!(end, End::TimedOut));
        assert!(ticks.len() > 1 && ticks[0].is_zero() && ticks.is_sorted(), "{ticks:?}");
    }

    #[test]
    fn a_time_that_no_clock_reaches_is_no_limit() {
        let limits = ChildLimits { kill_after: Some(Duration::MAX), ..ChildLimits::default() };
        assert!(matches!(shell("exit 0", limits), End::Exited { .. }));
    }

    #[test]
    fn an_interrupt_kills_the_child() {
        let mut events = Events::without_signals();
        events.sender().send(Event::Interrupt).expect("the queue is open");
        let mut command = Command::new("sleep");
        command.arg("60");
        let end = run(command, ChildLimits::default(), &mut events).expect("sleep starts");
        assert!(matches!(end, End::Interrupted));
        assert!(events.interrupted());
    }

    #[test]
    fn of_endless_output_the_end_is_kept() {
        let pipe = io::repeat(b'x').take(1 << 20).chain(&b"the end"[..]);
        let kept = collect(Some(pipe), 10, || ()).map(|reader| reader.join().unwrap()).unwrap();
        assert_eq!(kept, b"xxxthe end");
    }

    #[test]
    fn the_cause_of_death_names_the_signal() {
        let End::Exited { status, .. } = shell("kill -ABRT $$", ChildLimits::default()) else {
            panic!("the child was cut short")
        };
        let words = "memory allocation of 99 bytes failed";
        assert_eq!(cause_of_death(status, words), format!("killed by SIGABRT: {words}"));
        let End::Exited { status, .. } = shell("kill -KILL $$", ChildLimits::default()) else {
            panic!("the child was cut short")
        };
        assert_eq!(cause_of_death(status, ""), "killed by SIGKILL, most likely by the system for its memory");
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
