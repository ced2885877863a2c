//! What Linux says in the files below /proc and /sys. This is the only place that reads them, but for control groups.
//!
//! Another system has no such file. Each answer is then `None`, and the fact is absent from the record.

use std::fs;
use std::path::{Path, PathBuf};

/// Linux keeps the file of a running program under this name, also when another one took its place, or none did.
pub(super) const OWN_FILE: &str = "/proc/self/exe";

/// The file of the running program, whatever became of its name.
pub(crate) fn program() -> Option<PathBuf> {
    Some(PathBuf::from(OWN_FILE)).filter(|path| path.exists())
}

/// A file of one line, without the space around it.
pub(super) fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}

/// The names of the control groups of the first process.
pub(super) fn first_groups() -> Option<String> {
    line("/proc/1/cgroup")
}

/// The times of the cores, in ticks.
pub(super) fn core_times() -> Option<String> {
    line("/proc/stat")
}

/// Nanoseconds that each thread of this process has waited for a core, by the scheduler's accounts.
pub(super) fn waited_nanoseconds() -> Option<Vec<f64>> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let of = |folder: std::io::Result<fs::DirEntry>| {
        line(folder.ok()?.path().join("schedstat"))?.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some(threads.filter_map(of).collect())
}

/// The first value of a key of `/proc/cpuinfo`.
pub(super) fn cpuinfo(key: &str) -> Option<String> {
    let text = line("/proc/cpuinfo")?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let value = pairs.find(|(name, _)| name.trim() == key)?.1.trim().to_string();
    Some(value).filter(|value| !value.is_empty())
}

/// Asks the kernel to end this process before any other when memory runs out.
pub(crate) fn be_first_to_go() {
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}

/// Energy in joules that the processor's packages have taken since some moment, from the counters of
/// `/sys/class/powercap`; `None` where there are none, or the user may not read them.
pub(crate) fn package_joules() -> Option<f64> {
    let packages = (0..).map(|i| format!("/sys/class/powercap/intel-rapl:{i}/energy_uj"));
    let read = packages.map_while(|path| line(&path)?.trim().parse::<f64>().ok());
    read.map(|microjoules| 1e-6 * microjoules).reduce(|a, b| a + b)
}

/// Sets the high-water mark of this process back to what is resident now; `false` where that was not possible.
pub(crate) fn reset_high_water() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Bytes of a field of `/proc/self/status` that is in kB.
#[cfg(target_os = "linux")]
pub(crate) fn status_bytes(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// A reader of the resident memory by `/proc/self/statm`, which it keeps open: a reading is one system call of about a
/// microsecond.
#[cfg(target_os = "linux")]
pub(crate) fn resident_meter() -> Option<impl FnMut() -> Option<u64> + Send + 'static> {
    use std::io::{Read, Seek};

    // SAFETY: sysconf only reads a constant of the system.
    let page_bytes = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|bytes| *bytes > 0)?;
    let mut file = fs::File::open("/proc/self/statm").ok()?;
    let mut read = move || {
        let mut buffer = [0; 128];
        file.rewind().ok()?;
        let length = file.read(&mut buffer).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(pages * page_bytes)
    };
    read().map(|_| read)
}
