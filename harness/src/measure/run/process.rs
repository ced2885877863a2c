//! One child process: started under limits, listened to, killed when its time is up.

mod death;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use relgrad_reports::record::Reason;
use serde::de::DeserializeOwned;

pub(crate) use self::death::{cause_of_death, end_of_a_rank};
use super::interrupt::{Event, Events};
use crate::error::explained;

/// Bytes kept of a child's standard error: its end says why it died.
const KEPT_STDERR: usize = 8 << 10;
/// Bytes of a line, hundreds of times the longest reply: a program that is something else may print for ever. What is
/// longer comes in parts.
const LONGEST_LINE: u64 = 16 << 20;
/// Lines that nobody has taken yet.
const MOST_WAITING: usize = 4;
/// Bytes kept of the lines of a child that is run to its end.
const KEPT_LINES: usize = 64 << 20;

/// What a child may use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChildLimits {
    pub(crate) address_space_bytes: Option<u64>,
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

/// What there is to hear of a child.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// A line of its standard output.
    Line(String),
    /// It has closed its standard output.
    Closed,
    /// The time waited for has come.
    TimedOut,
    Interrupted,
}

/// A running child. It dies with this process, whatever kills it, and when this is dropped; it gets no signals from the
/// terminal.
pub(crate) struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    is_reaped: bool,
}

impl Child {
    /// Starts `command`; `events` are those that its listener will have.
    pub(crate) fn start(mut command: Command, address_space_bytes: Option<u64>, events: &Events) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        confine(&mut command, address_space_bytes);
        let mut process = command.spawn()?;
        let (input, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (sender, lines) = sync_channel(MOST_WAITING);
        // From here on an error ends the process.
        let mut child = Self { process, input, lines, stderr: None, is_reaped: false };
        child.stderr = Some(collect(stderr, KEPT_STDERR)?);
        let events = events.sender();
        let tell = move || {
            // Receivers that are gone mean that nobody listens any more.
            for line in stdout.into_iter().flat_map(|stdout| Lines(BufReader::new(stdout))) {
                if sender.send(line).is_err() || events.send(Event::Heard).is_err() {
                    break;
                }
            }
            drop(sender);
            let _ = events.send(Event::Heard);
        };
        std::thread::Builder::new().spawn(tell)?;
        Ok(child)
    }

    pub(crate) fn tell(&mut self, line: &str) -> io::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        input.write_all(format!("{line}\n").as_bytes())?;
        input.flush()
    }

    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Waits for its next line, at most until `deadline`.
    pub(crate) fn hear(&mut self, events: &mut Events, deadline: Option<Instant>) -> Heard {
        loop {
            if events.interrupted() {
                return Heard::Interrupted;
            }
            match self.lines.try_recv() {
                Ok(line) => return Heard::Line(line),
                Err(TryRecvError::Disconnected) => return Heard::Closed,
                Err(TryRecvError::Empty) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    return Heard::TimedOut;
                }
                // Whatever comes, the next look says what it was.
                Err(TryRecvError::Empty) => drop(events.wait(deadline)),
            }
        }
    }

    /// Waits for a child that has closed its output, and returns what it wrote to standard error. One that lives on is
    /// killed at the deadline.
    pub(crate) fn end(&mut self, deadline: Option<Instant>) -> io::Result<(ExitStatus, String)> {
        self.close();
        while let Some(deadline) = deadline
            && self.process.try_wait()?.is_none()
        {
            if Instant::now() >= deadline {
                self.kill()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let status = self.process.wait()?;
        self.is_reaped = true;
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ok((status, String::from_utf8_lossy(&stderr).into_owned()))
    }

    /// SIGKILL, to its whole group: what it has started holds its pipes open. A child that has ended in the meantime is
    /// no error.
    fn kill(&mut self) -> io::Result<()> {
        // SAFETY: kill touches no memory. The child leads a group of its own ([`confine`]) and has not been waited for,
        // so that its number is still its own.
        #[cfg(unix)]
        unsafe {
            libc::kill(-(self.process.id() as libc::pid_t), libc::SIGKILL);
        }
        match self.process.kill() {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            // There is nobody to tell of an error.
            let _ = self.kill();
            let _ = self.process.wait();
        }
    }
}

/// Lines of at most [`LONGEST_LINE`] bytes, without their ends.
struct Lines<R>(R);

impl<R: BufRead> Iterator for Lines<R> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = self.0.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        // A pipe that cannot be read any more has ended as well.
        let has_ended = read.is_err() || line.is_empty();
        (!has_ended).then(|| String::from_utf8_lossy(&line).trim_end().to_string())
    }
}

/// Runs `command` to its end.
pub(crate) fn run(command: Command, limits: ChildLimits, events: &mut Events) -> io::Result<End> {
    run_watched(command, limits, events, |_| None)
}

/// The same, calling `tick` with the time since the start: at once, and whenever the time has come that it answered
/// with.
pub(crate) fn run_watched(
    command: Command,
    limits: ChildLimits,
    events: &mut Events,
    mut tick: impl FnMut(Duration) -> Option<Duration>,
) -> io::Result<End> {
    let start = Instant::now();
    // A time that no clock reaches is no limit.
    let at = |time: Option<Duration>| start.checked_add(time?);
    let deadline = at(limits.kill_after);
    let refused = |cause: io::Error| io::Error::new(cause.kind(), explained(&cause));
    let mut child = Child::start(command, limits.address_space_bytes, events).map_err(refused)?;
    child.close();

    let mut stdout = String::new();
    let mut next_tick = at(tick(Duration::ZERO));
    loop {
        match child.hear(events, [deadline, next_tick].into_iter().flatten().min()) {
            Heard::Line(line) if stdout.len() + line.len() < KEPT_LINES => {
                stdout.push_str(&line);
                stdout.push('\n');
            }
            Heard::Line(_) => {}
            Heard::Closed => break,
            Heard::Interrupted => return Ok(End::Interrupted),
            Heard::TimedOut if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                return Ok(End::TimedOut);
            }
            Heard::TimedOut => next_tick = at(tick(start.elapsed())),
        }
        // One that never stops to print must end too.
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(End::TimedOut);
        }
    }
    let (status, stderr) = child.end(deadline)?;
    Ok(End::Exited { status, stdout, stderr })
}

/// Runs `command`, watched, for the JSON that it prints: that, or why there is none as a record's reason; nothing when
/// a signal cut it off.
pub(crate) fn reply<T: DeserializeOwned>(
    command: Command,
    limits: ChildLimits,
    events: &mut Events,
    tick: impl FnMut(Duration) -> Option<Duration>,
) -> io::Result<Option<Result<T, Reason>>> {
    Ok(match run_watched(command, limits, events, tick)? {
        End::Interrupted => None,
        End::TimedOut => Some(Err(Reason::timed_out(limits.kill_after.map_or(f64::NAN, |time| time.as_secs_f64())))),
        End::Exited { status, stdout, stderr } => match serde_json::from_str(stdout.trim()) {
            Ok(reply) => Some(Ok(reply)),
            // A signal reached the whole process tree: the child did not fail by itself.
            Err(_) if events.interrupted() => None,
            Err(_) => {
                Some(Err(cause_of_death(status, &format!("{stderr}\n{}", end_of_a_rank(&stdout).unwrap_or_default()))))
            }
        },
    })
}

/// Reads a pipe to its end on a thread of its own, keeping the last `keep` bytes.
fn collect(pipe: Option<impl Read + Send + 'static>, keep: usize) -> io::Result<JoinHandle<Vec<u8>>> {
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const FOREVER: ChildLimits = ChildLimits { address_space_bytes: None, kill_after: None };
    const A_MOMENT: ChildLimits =
        ChildLimits { address_space_bytes: None, kill_after: Some(Duration::from_millis(50)) };

    fn command(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn shell(script: &str, limits: ChildLimits) -> End {
        run(command(script), limits, &mut Events::without_signals()).expect("sh starts")
    }

    fn exited(script: &str, limits: ChildLimits) -> (ExitStatus, String, String) {
        match shell(script, limits) {
            End::Exited { status, stdout, stderr } => (status, stdout, stderr),
            cut_short => panic!("{script}: {cut_short:?}"),
        }
    }

    #[test]
    fn output_and_status_come_back() {
        let (status, stdout, stderr) = exited("echo out; echo err >&2; exit 3", FOREVER);
        assert_eq!((status.code(), stdout.as_str(), stderr.as_str()), (Some(3), "out\n", "err\n"));
        let memory = ChildLimits { address_space_bytes: Some(300 << 20), ..FOREVER };
        assert_eq!(exited("ulimit -v", memory).1.trim(), (300 << 10).to_string());
        let beyond_any_clock = ChildLimits { kill_after: Some(Duration::MAX), ..FOREVER };
        assert!(exited("exit 0", beyond_any_clock).0.success());
    }

    #[test]
    fn a_child_answers_line_by_line() {
        let mut events = Events::without_signals();
        let script = command("while read line; do echo \"[$line]\"; done; exit 7");
        let mut child = Child::start(script, None, &events).expect("sh starts");
        for line in ["one", "two"] {
            child.tell(line).expect("it listens");
            assert_eq!(child.hear(&mut events, None), Heard::Line(format!("[{line}]")));
        }
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(child.hear(&mut events, Some(soon)), Heard::TimedOut);
        child.close();
        assert_eq!(child.hear(&mut events, None), Heard::Closed);
        assert_eq!(child.end(None).expect("it ends").0.code(), Some(7));
    }

    #[test]
    fn a_child_whose_time_is_up_is_killed_with_all_that_it_has_started() {
        let start = Instant::now();
        for script in ["exec sleep 60", "sleep 60 & sleep 60; true", "yes"] {
            assert!(matches!(shell(script, A_MOMENT), End::TimedOut), "{script}");
        }
        // So long that the shell has closed its output by then, however busy the machine.
        let limits = ChildLimits { kill_after: Some(Duration::from_secs(3)), ..FOREVER };
        assert!(matches!(shell("exec >&- 2>&-; sleep 60", limits), End::Exited { .. }));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_child_is_watched_until_it_ends_or_its_time_is_up() {
        let mut ticks = Vec::new();
        let tick = |elapsed: Duration| {
            ticks.push(elapsed);
            Some(elapsed + Duration::from_millis(10))
        };
        let end = run_watched(command("exec sleep 60"), A_MOMENT, &mut Events::without_signals(), tick);
        assert!(matches!(end.expect("sleep starts"), End::TimedOut));
        assert!(ticks.len() > 1 && ticks[0].is_zero() && ticks.is_sorted(), "{ticks:?}");
    }

    #[test]
    fn an_interrupt_kills_the_child() {
        let mut events = Events::without_signals();
        events.sender().send(Event::Interrupt).expect("the queue is open");
        let end = run(command("exec sleep 60"), FOREVER, &mut events).expect("sleep starts");
        assert!(matches!(end, End::Interrupted) && events.interrupted());
    }

    #[test]
    fn of_endless_output_the_end_is_kept() {
        let pipe = io::repeat(b'x').take(1 << 20).chain(&b"the end"[..]);
        let kept = collect(Some(pipe), 10).map(|reader| reader.join().unwrap()).unwrap();
        assert_eq!(kept, b"xxxthe end");
    }
}
