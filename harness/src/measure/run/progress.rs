//! What the user sees while a sweep runs: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.
//!
//! Everything goes to standard error; standard output is for results. Records count rounds from 0, people from 1.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use relgrad_reports::record::{Cell, Failure, Outcome, Point, Reason, Record};
use relgrad_reports::run::Settings;
use relgrad_reports::units;

use crate::console;
use crate::measure::cell::sampling;

/// Seconds after which a cell without a result is told of where there is no bar; then at twice that, and so on.
const STILL_RUNNING: u64 = 30;

pub(crate) struct Progress {
    shown: Shown,
    rounds: usize,
    /// Whether cells differ in their threads.
    by_threads: bool,
}

enum Shown {
    Quiet,
    /// One line a cell.
    Lines,
    /// A bar, with one line a cell above it.
    Bar(ProgressBar),
}

/// How far the sweep is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) cells: usize,
    pub(crate) recorded: usize,
    /// Predicted seconds until the end.
    pub(crate) remaining_seconds: f64,
}

impl Progress {
    /// A bar when standard error is a terminal, lines otherwise.
    pub(crate) fn new(quiet: bool, settings: &Settings, position: Position) -> Self {
        let by_threads = !(settings.other_threads.is_empty() && settings.other_ranks.is_empty());
        let rounds = settings.rounds;
        if quiet || !std::io::stderr().is_terminal() {
            return Self { shown: if quiet { Shown::Quiet } else { Shown::Lines }, rounds, by_threads };
        }
        let bar = ProgressBar::new(position.cells as u64).with_position(position.recorded as u64);
        let style = ProgressStyle::with_template("{bar:12} {pos}/{len} cells, {elapsed_precise}  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { shown: Shown::Bar(bar), rounds, by_threads }
    }

    /// What the sweep is about to do; stays on a terminal.
    pub(crate) fn announce(&self, lines: &str) {
        match &self.shown {
            Shown::Quiet => {}
            Shown::Lines => note!("{lines}"),
            Shown::Bar(bar) => bar.println(console::visible(lines)),
        }
    }

    /// Something other than a cell begins.
    pub(crate) fn say(&self, what: &str) {
        match &self.shown {
            Shown::Quiet => {}
            Shown::Lines => note!("{what}"),
            Shown::Bar(bar) => bar.set_message(what.to_string()),
        }
    }

    /// A cell that should take `expected_seconds` in all has been running for `elapsed`: at its start, and whenever the
    /// time has come that this answered with. `position` is that of its start.
    pub(crate) fn tick(
        &self,
        cell: &Cell,
        expected_seconds: f64,
        position: Position,
        elapsed: Duration,
    ) -> Option<Duration> {
        let seconds = elapsed.as_secs();
        let running = units::seconds(seconds as f64);
        match &self.shown {
            Shown::Quiet => None,
            Shown::Lines => {
                if seconds >= STILL_RUNNING {
                    note!("{} is still running after {running}", self.name(cell));
                }
                Some(next_word(seconds))
            }
            Shown::Bar(bar) => {
                bar.set_position(position.recorded as u64);
                let left = whole_seconds(position.remaining_seconds - elapsed.as_secs_f64().min(expected_seconds));
                bar.set_message(format!("{left} left; {running} in {}", self.name(cell)));
                Some(Duration::from_secs(seconds + 1))
            }
        }
    }

    /// Something other than a cell has been running for `elapsed`; answers like [`Self::tick`].
    pub(crate) fn keep_time(&self, elapsed: Duration) -> Option<Duration> {
        let Shown::Bar(bar) = &self.shown else { return None };
        bar.tick();
        Some(Duration::from_secs(elapsed.as_secs() + 1))
    }

    /// A cell has its record.
    pub(crate) fn end(&self, record: &Record, position: Position) {
        let width = position.cells.to_string().len();
        let line = format!("{:>width$}/{}  {}", position.recorded, position.cells, self.describe(record));
        match &self.shown {
            Shown::Quiet => {}
            Shown::Lines => note!("{line}"),
            Shown::Bar(bar) => {
                bar.set_position(position.recorded as u64);
                let line = console::visible(&line).replace('\n', " ");
                bar.println(console::cut(&line, terminal_columns().unwrap_or(usize::MAX)));
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }

    fn name(&self, cell: &Cell) -> String {
        let Cell { method, point: Point { dim, batch, layers, threads, ranks, .. }, round } = cell;
        let rounds = self.rounds;
        let (dim, batch, threads) = (units::grouped(*dim), units::grouped(*batch), units::counted(*threads, "thread"));
        let threads = if self.by_threads { format!("{threads}, ") } else { String::new() };
        let threads = if *ranks > 1 { format!("{threads}{}, ", units::counted(*ranks, "rank")) } else { threads };
        format!("{method} D = {dim}, N = {batch}, L = {layers}, {threads}round {} of {rounds}", round + 1)
    }

    /// One line about a record: what came out, or why nothing did.
    fn describe(&self, record: &Record) -> String {
        let again = if record.attempt > 0 { format!(", attempt {}", record.attempt + 1) } else { String::new() };
        let width = if self.by_threads { 68 } else { 57 };
        let name = format!("{:<width$}", self.name(&record.cell) + &again);
        let reason = record.reason.as_ref().map_or("no reason given", Reason::as_str);
        match record.outcome {
            Outcome::Skipped => {
                let is_long = record.failure() == Some(Failure::OverCellLimit);
                let seconds = record.prediction.filter(|_| is_long).map(|p| units::seconds(p.seconds));
                let seconds = seconds.map_or(String::new(), |seconds| format!(" ({seconds} for one evaluation)"));
                format!("{name} skipped: {reason}{seconds}")
            }
            Outcome::Failed => format!("{name} FAILED: {reason}"),
            Outcome::Measured => {
                let (median, half_width) = sampling::describe(&record.seconds);
                let width = half_width.map_or(String::new(), |width| format!(" ± {:.1} %", 100.0 * width));
                let peak =
                    record.peak_bytes.map_or(String::new(), |peak| format!(", peak {}", units::bytes(peak as f64)));
                let samples = units::counted(record.seconds.len(), "sample");
                let disturbance = record.state.and_then(|state| state.disturbance(record.cell.point.threads));
                let disturbance = disturbance.map_or(String::new(), |what| format!(", disturbed: {what}"));
                format!("{name} {}{width} ({samples}{peak}){disturbance}", units::seconds(median))
            }
        }
    }
}

/// When a cell that has been running for so many seconds is told of next.
fn next_word(seconds: u64) -> Duration {
    let doubled = std::iter::successors(Some(STILL_RUNNING), |time| time.checked_mul(2));
    Duration::from_secs(doubled.into_iter().find(|time| *time > seconds).unwrap_or(u64::MAX))
}

/// A time in whole seconds, as far as a prediction is worth telling.
fn whole_seconds(seconds: f64) -> String {
    if seconds < 1.0 { "less than a second".to_string() } else { units::seconds(seconds.round()) }
}

/// Columns of the terminal behind standard error.
#[cfg(unix)]
fn terminal_columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid winsize to write to.
    let asked = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    Some(usize::from(size.ws_col)).filter(|columns| asked == 0 && *columns > 0)
}

#[cfg(not(unix))]
fn terminal_columns() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::Method;
    use relgrad_plots::Figure;
    use relgrad_reports::export::{REPORT, Report};
    use relgrad_reports::fixture;
    use relgrad_reports::record::MemoryPoint;
    use relgrad_reports::study::Study;
    use relgrad_reports::summary::Summary;

    use super::*;
    use crate::measure::plan::testing::{measured, planned};

    #[test]
    fn times_are_told_in_whole_seconds_and_a_long_cell_at_doubling_times() {
        for (seconds, told) in [
            (0.4, "less than a second"),
            (-3.0, "less than a second"),
            (1.4, "1 s"),
            (99.7, "100 s"),
            (3725.2, "62.1 min"),
        ] {
            assert_eq!(whole_seconds(seconds), told);
        }
        for (seconds, next) in [(0, 30), (30, 60), (60, 120), (120, 240), (u64::MAX - 1, u64::MAX)] {
            assert_eq!(next_word(seconds).as_secs(), next);
        }
    }

    #[test]
    fn a_line_counts_rounds_from_one_and_one_sample_is_one_sample() {
        let record = Record { seconds: vec![0.5], ..measured(&planned(Method::Relative, 10, 0), 0.5, 1.0) };
        let line = Progress { shown: Shown::Lines, rounds: 3, by_threads: false }.describe(&record);
        assert!(line.starts_with("relative D = 10, N = 100, L = 2, round 1 of 3 "), "{line}");
        assert!(line.contains(" 500 ms (1 sample, peak "), "{line}");
        let line = Progress { shown: Shown::Lines, rounds: 3, by_threads: true }.describe(&record);
        assert!(line.starts_with("relative D = 10, N = 100, L = 2, 2 threads, round 1 of 3 "), "{line}");
    }

    /// A study of one dimension whose cells all take `seconds`, of autodiff 12.34 times that, and hold `bytes`.
    fn study(dim: usize, seconds: f64, bytes: u64) -> Study {
        let mut study = fixture::study();
        study.records.retain(|record| record.cell.point.dim == 320);
        study.run.settings.dims = vec![dim];
        for record in &mut study.records {
            record.cell.point.dim = dim;
            let seconds = if record.cell.method == Method::Autodiff { 12.34 * seconds } else { seconds };
            record.seconds.fill(seconds);
            record.peak_bytes = Some(bytes);
            record.model.min_bytes = bytes as f64 / 3.0;
            // The trace is then that of the gradient alone.
            record.warmup_seconds = vec![seconds];
            record.memory_trace =
                [(0.0, 0.0), (seconds, bytes as f64)].map(|(seconds, bytes)| MemoryPoint { seconds, bytes }).to_vec();
        }
        study
    }

    #[test]
    fn a_number_reads_the_same_on_the_console_in_a_table_and_in_a_figure() {
        for (dim, seconds, bytes, [shown_dim, shown_seconds, shown_bytes]) in [
            (320, 1e-5, 999, ["320", "10 µs", "999 B"]),
            (1000, 0.1, 1000, ["1,000", "100 ms", "0.977 KiB"]),
            (20_000, 0.9996e-3, 24 << 20, ["20,000", "1 ms", "24 MiB"]),
            (12_345, 1.5, 1_610_612_736, ["12,345", "1.5 s", "1.5 GiB"]),
            (123_456, 900.0, 1_000_000_000_000, ["123,456", "15 min", "931 GiB"]),
            (1_234_567, 36_000.0, 3 << 40, ["1,234,567", "10 h", "3 TiB"]),
        ] {
            let study = study(dim, seconds, bytes);
            let summary = Summary::of(&study);

            let record = study.records.iter().find(|record| record.cell.method == Method::Relative).unwrap();
            let line = Progress { shown: Shown::Lines, rounds: 3, by_threads: false }.describe(record);
            for text in [&format!(" D = {shown_dim}, "), &format!(" {shown_seconds} "), &format!("peak {shown_bytes})")]
            {
                assert!(line.contains(text), "{line} lacks {text}");
            }

            let table = (REPORT[0].render)(&Report { study: &study, summary: &summary, figures: &[] });
            let of_method = table.split("### relative on cpu").nth(1).unwrap();
            let row: Vec<&str> = of_method.lines().nth(4).unwrap().split('|').map(str::trim).collect();
            assert_eq!((row[1], row[5]), (shown_dim, shown_bytes), "{row:?}");
            // One process has no interval.
            assert_eq!(row[2], shown_seconds, "{row:?}");
            assert!(row.contains(&"12.3×"), "{row:?}");

            let figure = |name: &str| name.parse::<Figure>().unwrap();
            let fig4 = figure("fig4");
            let drawing = relgrad_plots::draw(fig4, &study, &summary).unwrap();
            let (svg, caption) = (drawing.svg(), fig4.caption(&study, &summary));
            let title = format!("peak {shown_bytes} · ends after {shown_seconds}");
            assert!(svg.contains(&title), "no {title}");
            assert!(caption.contains(&format!("at D = {shown_dim} (")), "{caption}");
            assert!(caption.contains(&format!("({shown_bytes} and {shown_bytes})")), "{caption}");
            let speedup = figure("speedup").caption(&study, &summary);
            assert!(speedup.contains(&format!("12.3× over autodiff at D = {shown_dim}")), "{speedup}");
        }
    }

    #[test]
    fn with_nobody_to_tell_nothing_wakes_the_driver() {
        let position = Position { cells: 1, recorded: 0, remaining_seconds: 9.0 };
        let cell = planned(Method::Relative, 10, 0).cell;
        let tick =
            |shown| Progress { shown, rounds: 1, by_threads: true }.tick(&cell, 1.0, position, Duration::from_secs(5));
        assert_eq!(tick(Shown::Quiet), None);
        assert_eq!(tick(Shown::Lines), Some(Duration::from_secs(30)));
        assert_eq!(tick(Shown::Bar(ProgressBar::hidden())), Some(Duration::from_secs(6)));
    }
}
