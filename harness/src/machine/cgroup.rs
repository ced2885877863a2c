//! What the control groups of Linux leave to this process: those of a container, a Slurm job or a systemd unit.
//!
//! A limit of any group from the process's own up to the root that is visible here holds, so the smallest counts.
//! Versions 1 and 2 of the interface are read alike, since a machine may have both. What cannot be read, or is not a
//! number, is no limit.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Bytes of a file that are read; those of control groups are a few kilobytes, a long table of mounts some hundred.
const MOST_BYTES: u64 = 4 << 20;
/// Version 1 writes the largest number of pages for "no limit"; no machine has a quarter of that.
const NO_LIMIT: u64 = 1 << 61;
/// Where the hierarchies usually are: a container's table of mounts may not tell.
const USUAL: [(&str, Hierarchy); 5] = [
    ("/sys/fs/cgroup", Hierarchy::Unified),
    ("/sys/fs/cgroup/memory", Hierarchy::Memory),
    ("/sys/fs/cgroup/cpu", Hierarchy::Cpu),
    ("/sys/fs/cgroup/cpu,cpuacct", Hierarchy::Cpu),
    ("/sys/fs/cgroup/cpuset", Hierarchy::Cpuset),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// Bytes of the smallest limit.
    pub(super) limit: u64,
    /// Bytes still free under every limit; page cache counts as free, since the kernel gives it back on demand.
    pub(super) available: u64,
}

/// The memory that the groups of this process allow; `None` where none has a limit.
pub(super) fn memory() -> Option<Memory> {
    Files { root: "/".into() }.memory()
}

/// The cores that the groups of this process allow; `None` where none has a limit.
pub(super) fn cores() -> Option<usize> {
    Files { root: "/".into() }.cores()
}

/// A tree of files like that of the system.
struct Files {
    root: PathBuf,
}

/// A kind of hierarchy of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    /// Version 2.
    Unified,
    /// Controllers of version 1.
    Memory,
    Cpu,
    Cpuset,
}

/// The hierarchies that have controllers of version 1.
fn of_controllers(names: &str) -> impl Iterator<Item = Hierarchy> {
    names.split(',').filter_map(|name| match name {
        "memory" => Some(Hierarchy::Memory),
        "cpu" => Some(Hierarchy::Cpu),
        "cpuset" => Some(Hierarchy::Cpuset),
        _ => None,
    })
}

impl Files {
    fn memory(&self) -> Option<Memory> {
        let folders = self.folders();
        let limits = folders.iter().filter_map(|(hierarchy, folder)| match hierarchy {
            Hierarchy::Unified => self.memory_of_unified(folder),
            Hierarchy::Memory => self.memory_of_version_1(folder),
            Hierarchy::Cpu | Hierarchy::Cpuset => None,
        });
        limits.reduce(|a, b| Memory { limit: a.limit.min(b.limit), available: a.available.min(b.available) })
    }

    fn cores(&self) -> Option<usize> {
        let folders = self.folders();
        let quotas = folders.iter().filter_map(|(hierarchy, folder)| {
            let (quota, period) = match hierarchy {
                Hierarchy::Unified => self.pair(&folder.join("cpu.max"))?,
                Hierarchy::Cpu => {
                    let number = |name| self.number(&folder.join(name));
                    (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
                }
                Hierarchy::Memory | Hierarchy::Cpuset => return None,
            };
            // As the standard library rounds: half a core more is none.
            Some(usize::try_from(quota.checked_div(period)?).unwrap_or(usize::MAX).max(1))
        });
        let sets = folders.iter().filter_map(|(hierarchy, folder)| {
            let names: &[&str] = match hierarchy {
                Hierarchy::Unified => &["cpuset.cpus.effective", "cpuset.cpus"],
                Hierarchy::Cpuset => &["cpuset.effective_cpus", "cpuset.cpus"],
                Hierarchy::Memory | Hierarchy::Cpu => &[],
            };
            names.iter().find_map(|name| cores_of_list(&self.text(&folder.join(name))?))
        });
        quotas.chain(sets).min()
    }

    fn memory_of_unified(&self, folder: &Path) -> Option<Memory> {
        // Above `memory.high` the kernel slows a process down rather than refusing: no place to measure either.
        let limits = ["memory.max", "memory.high"].map(|name| self.number(&folder.join(name)));
        let limit = limits.into_iter().flatten().min()?;
        let cache = self.sum(&folder.join("memory.stat"), &["inactive_file", "active_file", "slab_reclaimable"]);
        Some(self.left(limit, &folder.join("memory.current"), cache))
    }

    fn memory_of_version_1(&self, folder: &Path) -> Option<Memory> {
        let stat = folder.join("memory.stat");
        // The second one covers parents that are not visible here.
        let limits = [
            self.number(&folder.join("memory.limit_in_bytes")),
            Some(self.sum(&stat, &["hierarchical_memory_limit"])).filter(|limit| *limit > 0),
        ];
        let limit = limits.into_iter().flatten().min().filter(|limit| *limit < NO_LIMIT)?;
        let cache = self.sum(&stat, &["total_inactive_file", "total_active_file"]);
        Some(self.left(limit, &folder.join("memory.usage_in_bytes"), cache))
    }

    /// What `usage`, less the `cache` in it, leaves of `limit`.
    fn left(&self, limit: u64, usage: &Path, cache: u64) -> Memory {
        let used = self.number(usage).unwrap_or(0).saturating_sub(cache);
        Memory { limit, available: limit.saturating_sub(used) }
    }

    /// The process's own group and its parents, in every hierarchy that may limit it.
    fn folders(&self) -> Vec<(Hierarchy, PathBuf)> {
        let groups = self.text(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let groups: Vec<(Hierarchy, &str)> = groups.lines().flat_map(groups_of_line).collect();
        let mounts = self.text(Path::new("/proc/self/mountinfo")).unwrap_or_default();
        let mut mounts: Vec<Mount> = mounts.lines().flat_map(Mount::of_line).collect();
        mounts.extend(USUAL.map(|(point, hierarchy)| Mount { hierarchy, root: "/".into(), point: point.into() }));

        let mut folders = Vec::new();
        for Mount { hierarchy, root, point } in mounts {
            let own = groups.iter().find(|(of, _)| *of == hierarchy).map_or(Path::new(""), |(_, path)| Path::new(path));
            let below = below(own, &root);
            for level in below.ancestors() {
                let folder = (hierarchy, point.join(level));
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
        }
        folders
    }

    /// A file of the tree, as far as it is text; `None` where it cannot be read.
    fn text(&self, path: &Path) -> Option<String> {
        let path = self.root.join(path.strip_prefix("/").unwrap_or(path));
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn number(&self, path: &Path) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    fn pair(&self, path: &Path) -> Option<(u64, u64)> {
        let text = self.text(path)?;
        let (first, second) = text.trim().split_once(' ')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    }

    /// The sum of the named fields of a file of lines `name number`; those that are absent count nothing.
    fn sum(&self, path: &Path, names: &[&str]) -> u64 {
        let text = self.text(path).unwrap_or_default();
        let fields = text.lines().filter_map(|line| line.split_once(' '));
        let named = fields.filter(|(name, _)| names.contains(name));
        named.filter_map(|(_, value)| value.trim().parse().ok()).fold(0, u64::saturating_add)
    }
}

/// A hierarchy as it is mounted.
struct Mount {
    hierarchy: Hierarchy,
    /// The group that is mounted.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// The hierarchies of a line of `/proc/self/mountinfo`: several where controllers share one.
    fn of_line(line: &str) -> Vec<Self> {
        let Some((place, kind)) = line.split_once(" - ") else { return Vec::new() };
        let mut place = place.split(' ').skip(3);
        let (Some(root), Some(point)) = (place.next(), place.next()) else { return Vec::new() };
        let mut kind = kind.split(' ');
        let hierarchies = match (kind.next(), kind.nth(1)) {
            (Some("cgroup2"), _) => vec![Hierarchy::Unified],
            (Some("cgroup"), Some(options)) => of_controllers(options).collect(),
            _ => Vec::new(),
        };
        let mount = |hierarchy| Self { hierarchy, root: unescaped(root).into(), point: unescaped(point).into() };
        hierarchies.into_iter().map(mount).collect()
    }
}

/// The groups of a line of `/proc/self/cgroup`, `number:controllers:path`.
fn groups_of_line(line: &str) -> Vec<(Hierarchy, &str)> {
    let mut fields = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
        return Vec::new();
    };
    if number == "0" && controllers.is_empty() {
        return vec![(Hierarchy::Unified, path)];
    }
    of_controllers(controllers).map(|hierarchy| (hierarchy, path)).collect()
}

/// The path of `group` below the group that is mounted; empty where it is outside of what the mount shows.
fn below(group: &Path, mounted: &Path) -> PathBuf {
    let rest = group.strip_prefix(mounted).unwrap_or(Path::new(""));
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    if plain { rest.to_path_buf() } else { PathBuf::new() }
}

/// A path of the table of mounts, which writes blanks as `\040`.
fn unescaped(path: &str) -> String {
    let named = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    named.iter().fold(path.to_string(), |path, (escape, plain)| path.replace(escape, plain))
}

/// How many cores a list like `0-3,8` has; `None` for an empty one, which says nothing, and for what is no list.
fn cores_of_list(list: &str) -> Option<usize> {
    let mut cores = 0_usize;
    for item in list.trim().split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cores = cores.saturating_add(last.checked_sub(first)?.saturating_add(1));
    }
    Some(cores)
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
