//! Which program measures, and on which machine: all cells of a sweep should have the same.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgrad_reports::run::Run;

use crate::error::{Error, Result};
use crate::machine::linux;
use crate::measure::workload::DeviceKind;

/// This program, for starting it again: the file that is running now, whatever becomes of its name meanwhile.
pub(crate) fn program() -> Result<PathBuf> {
    linux::program()
        .map_or_else(std::env::current_exe, Ok)
        .map_err(|cause| Error::Output(format!("cannot find this program to start it again: {cause}")))
}

/// Has a child that is started from [`program`] be listed as `relgrad`.
pub(crate) fn name(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::arg0(command, "relgrad");
    #[cfg(not(unix))]
    let _ = command;
}

/// Size and checksum of this program's file; `None` where it cannot be read.
pub(crate) fn fingerprint() -> Option<String> {
    let (bytes, checksum) = checksum(&program().ok()?)?;
    Some(format!("{bytes} bytes, CRC-32 {checksum:08x}"))
}

/// Size and CRC-32 of a file; `None` where it cannot be read.
pub(crate) fn checksum(path: &Path) -> Option<(usize, u32)> {
    let mut file = File::open(path).ok()?;
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).ok()? {
            0 => return Some((bytes, hasher.finalize())),
            length => {
                bytes += length;
                hasher.update(&chunk[..length]);
            }
        }
    }
}

/// A fact of a run.
type Fact<'a> = &'a dyn Fn(&Run) -> String;

/// What tells the program and the machine that `then` names from those of `now`, a phrase each. What `then` does not
/// tell is no difference.
pub(crate) fn differences(then: &Run, now: &Run) -> Vec<String> {
    let on_gpu = then.settings.devices.contains(&DeviceKind::Cuda);
    let text = |text: &Option<String>| text.clone().unwrap_or("none".to_string());
    let facts: [(&str, bool, Fact<'_>); 8] = [
        ("version", true, &|run| run.version.clone()),
        ("revision", true, &|run| text(&run.git_revision)),
        ("compiler", true, &|run| run.rustc.clone()),
        ("CPU", true, &|run| run.machine.cpu.clone()),
        ("SIMD level", true, &|run| run.machine.simd.clone()),
        ("executable", then.program.is_some(), &|run| text(&run.program)),
        ("cores", then.machine.logical_cores > 0, &|run| run.machine.logical_cores.to_string()),
        ("GPU", on_gpu, &|run| run.machine.gpus.join("; ")),
    ];
    let told = facts.into_iter().filter(|(_, is_told, _)| *is_told).map(|(what, _, of)| (what, of(then), of(now)));
    let differ = told.filter(|(_, then, now)| then != now && !then.is_empty());
    differ.map(|(what, then, now)| format!("{what}: {then}, now {now}")).collect()
}

#[cfg(test)]
mod tests {
    use relgrad_reports::fixture;

    use super::*;

    #[test]
    fn the_file_of_the_program_is_told_by_its_contents() {
        let own = std::fs::read(program().unwrap()).unwrap();
        let expected = format!("{} bytes, CRC-32 {:08x}", own.len(), crc32fast::hash(&own));
        assert_eq!(fingerprint(), Some(expected));
    }

    #[test]
    fn another_program_or_machine_is_told_and_what_is_not_known_is_not() {
        let then = fixture::study().run;
        assert_eq!(differences(&then, &then), Vec::<String>::new());
        let mut now = Run { rustc: "rustc 1.99.0".to_string(), git_revision: None, ..then.clone() };
        now.program = Some("1 bytes, CRC-32 00000000".to_string());
        now.machine.cpu = "another".to_string();
        now.machine.logical_cores += 1;
        now.machine.available_bytes += 1;
        let told = differences(&then, &now).join("\n");
        let [compiler, revision] = ["compiler: rustc 1.95.0, now rustc 1.99.0", "revision: 0123456789ab, now none"];
        for part in [compiler, revision, "CPU: ", "cores: ", "executable: "] {
            assert!(told.contains(part), "{part} is missing:\n{told}");
        }
        assert_eq!(told.lines().count(), 5, "{told}");
        let mut old = Run { program: None, ..then };
        old.machine = Default::default();
        let now = Run { rustc: old.rustc.clone(), git_revision: old.git_revision.clone(), ..now };
        assert_eq!(differences(&old, &now), Vec::<String>::new());
    }
}
