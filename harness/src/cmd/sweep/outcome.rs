//! What a sweep says in the end, and its report.

use std::path::Path;
use std::process::Command;

use relgrad_reports::record::{Outcome, Record};
use relgrad_reports::units;

use crate::error::{Error, Result, code};
use crate::measure::run::interrupt::Events;
use crate::measure::run::process::{self, ChildLimits, End};
use crate::measure::run::{Ending, Options, folder, identity};

/// A report that had nothing to tell is drawn all the same.
const NOTHING_MEASURED: i32 = code::NOTHING_MEASURED as i32;

/// Says how the sweep went, writes the report of what is there and returns the exit code.
pub(super) fn report_on(dir: &Path, ending: Ending) -> Result<u8> {
    let study = folder::read(dir)?;
    let count = |outcome| study.records.iter().filter(|record| record.outcome == outcome).count();
    let (measured, skipped, failed) = (count(Outcome::Measured), count(Outcome::Skipped), count(Outcome::Failed));
    say!("{} measured, {skipped} skipped, {failed} failed", units::counted(measured, "cell"));
    let clocks = study.clocks();
    let disturbed: Vec<_> = study.records.iter().filter(|record| clocks.of_record(record).is_some()).collect();
    if let Some(tried) = disturbed.iter().map(|record| record.attempt + 1).max() {
        let (count, dir) = (units::grouped(disturbed.len()), dir.display());
        let default = Options::default().attempts;
        let more = if tried < default { String::new() } else { format!(" --attempts {}", tried + default) };
        say!("{count} of them on a disturbed machine; measure them again with: relgrad sweep --resume {dir}{more}");
    }
    let drawn = draw(dir);
    if drawn.is_ok() {
        say!("report: {}", dir.join("report.html").display());
    }

    if ending == Ending::Interrupted {
        if let Err(error) = drawn {
            note!("relgrad: {error}");
        }
        note!("relgrad: interrupted; continue with: relgrad sweep --resume {}", dir.display());
        return Ok(code::INTERRUPTED);
    }
    let wrong = study.records.iter().any(Record::check_failed);
    if wrong {
        note!("relgrad: a gradient failed its check; the report lists it");
    } else if measured == 0 {
        note!("relgrad: nothing was measured; records.jsonl states the reasons");
    }
    drawn?;
    Ok(match (wrong, measured) {
        (true, _) => code::CHECK_FAILED,
        (false, 0) => code::NOTHING_MEASURED,
        (false, _) => 0,
    })
}

/// Writes the report in a process of its own: a picture that takes more memory than there is must not take the sweep
/// along. Signals of the terminal do not reach it.
fn draw(dir: &Path) -> Result<()> {
    let mut command = Command::new(identity::program()?);
    identity::name(&mut command);
    command.args(["report", "--"]).arg(dir);
    let cause = match process::run(command, ChildLimits::default(), &mut Events::without_signals()) {
        Ok(End::Exited { status, .. }) if matches!(status.code(), Some(0 | NOTHING_MEASURED)) => return Ok(()),
        Ok(End::Exited { status, stderr, .. }) => {
            let told = stderr.lines().last().and_then(|line| line.strip_prefix("relgrad: "));
            told.map_or_else(|| process::cause_of_death(status, &stderr).to_string(), str::to_string)
        }
        Ok(End::TimedOut | End::Interrupted) => "it was stopped".to_string(),
        Err(cause) => cause.to_string(),
    };
    let dir = dir.display();
    Err(Error::Output(format!(
        "the report could not be written ({cause}); the records are kept; repeat it with: relgrad report {dir}"
    )))
}
