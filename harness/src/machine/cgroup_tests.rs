//! Trees of files such as systems show them.

use proptest::prelude::*;
use relgrad_adversary::{damage, damaged, judge};

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

/// A tree with these files.
struct Tree(tempfile::TempDir);

impl Tree {
    fn of(files: &[(&str, &str)]) -> Self {
        // In memory where that can be: thousands of trees are damaged.
        let tree = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let tree = Self(tree.expect("a scratch folder"));
        files.iter().for_each(|(path, text)| tree.write(path, text.as_bytes()));
        tree
    }

    fn write(&self, path: &str, text: &[u8]) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn files(&self) -> Files {
        Files { root: self.0.path().into() }
    }
}

fn memory(files: &[(&str, &str)]) -> Option<(u64, u64)> {
    Tree::of(files).files().memory().map(|Memory { limit, available }| (limit, available))
}

fn cores(files: &[(&str, &str)]) -> Option<usize> {
    Tree::of(files).files().cores()
}

#[test]
fn a_container_full_of_page_cache_has_memory() {
    let stat = "anon 104857600\nfile 8485076992\ninactive_file 4242538496\nactive_file 4242538496\n";
    let allowed = memory(&[
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", UNIFIED),
        ("sys/fs/cgroup/memory.max", "8589934592\n"),
        ("sys/fs/cgroup/memory.current", "8589934592\n"),
        ("sys/fs/cgroup/memory.stat", stat),
    ]);
    assert_eq!(allowed, Some((8 * GIB, 8 * GIB - 100 * MIB)));
}

#[test]
fn the_smallest_limit_of_a_group_and_its_parents_holds() {
    let mut files = vec![
        ("proc/self/cgroup", "0::/slurm/job/step\n"),
        ("proc/self/mountinfo", UNIFIED),
        ("sys/fs/cgroup/slurm/memory.max", "1073741824"),
        ("sys/fs/cgroup/slurm/memory.current", "996147200"),
        ("sys/fs/cgroup/slurm/job/memory.max", "314572800"),
        ("sys/fs/cgroup/slurm/job/memory.current", "20971520"),
        ("sys/fs/cgroup/slurm/job/step/memory.max", "max"),
    ];
    // The job has 280 MiB left of its 300; its parent has 74 MiB left of 1 GiB.
    assert_eq!(memory(&files), Some((300 * MIB, 74 * MIB)));
    // What slows down is a limit too.
    files.push(("sys/fs/cgroup/slurm/job/step/memory.high", "52428800"));
    assert_eq!(memory(&files), Some((50 * MIB, 50 * MIB)));
}

#[test]
fn a_table_of_mounts_that_does_not_tell_leaves_the_usual_place() {
    let files = [
        ("proc/self/cgroup", "0::/job\n"),
        ("sys/fs/cgroup/job/memory.max", "1000"),
        ("sys/fs/cgroup/job/memory.current", "10"),
    ];
    assert_eq!(memory(&files), Some((1000, 990)));
    assert_eq!(memory(&files[1..]), None, "another group's limit is not ours");
}

#[test]
fn version_1_counts_its_cache_and_limits_that_are_not_visible() {
    let mounts = "31 23 0:27 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    let limits = "cache 5\ninactive_file 1\nhierarchical_memory_limit 2147483648\n";
    let stat = format!("{limits}total_inactive_file 536870912\ntotal_active_file 0\n");
    let mut files = vec![
        ("proc/self/cgroup", "4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n"),
        ("proc/self/mountinfo", mounts),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824"),
    ];
    assert_eq!(memory(&files), None);
    files.push(("sys/fs/cgroup/memory/memory.stat", &stat));
    assert_eq!(memory(&files), Some((2 * GIB, 3 * GIB / 2)));
}

#[test]
fn a_machine_with_both_versions_obeys_both() {
    let mounts = "1 0 0:1 / /m1 rw - cgroup cgroup rw,memory\n2 0 0:2 / /m\\0402 rw - cgroup2 cgroup2 rw\n";
    let allowed = memory(&[
        ("proc/self/cgroup", "5:memory:/a\n0::/b\n"),
        ("proc/self/mountinfo", mounts),
        ("m1/a/memory.limit_in_bytes", "4000"),
        ("m1/a/memory.usage_in_bytes", "100"),
        ("m 2/b/memory.max", "3000"),
        ("m 2/b/memory.current", "0"),
    ]);
    assert_eq!(allowed, Some((3000, 3000)));
}

/// Inside a namespace the process's group is the root; a process that was moved out of its namespace sees `/../..`.
#[test]
fn namespaces_show_their_own_root() {
    for (group, root, file) in [
        ("0::/\n", "/", "c/memory.max"),
        ("0::/../../other\n", "/", "c/memory.max"),
        ("0::/../../other/job\n", "/../..", "c/other/memory.max"),
        ("0::/docker/ab/x\n", "/docker/ab", "c/x/memory.max"),
        ("0::/elsewhere\n", "/docker/ab", "c/memory.max"),
    ] {
        let mounts = format!("1 0 0:1 {root} /c rw - cgroup2 cgroup2 rw\n");
        let files = [("proc/self/cgroup", group), ("proc/self/mountinfo", &mounts), (file, "7000")];
        assert_eq!(memory(&files), Some((7000, 7000)), "{group}");
    }
}

#[test]
fn without_groups_and_without_limits_there_is_none() {
    assert_eq!((memory(&[]), cores(&[])), (None, None));
    let unlimited = [
        ("proc/self/cgroup", "0::/a\n"),
        ("sys/fs/cgroup/a/memory.max", "max\n"),
        ("sys/fs/cgroup/a/memory.high", "max\n"),
        ("sys/fs/cgroup/a/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/a/cpuset.cpus", "\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ];
    assert_eq!((memory(&unlimited), cores(&unlimited)), (None, None));
}

#[test]
fn garbage_and_what_cannot_be_read_is_no_limit() {
    let tree = Tree::of(&[
        ("proc/self/cgroup", "0::/a\n:::\n7\n\n"),
        ("proc/self/mountinfo", "1 2 - cgroup2\n - \n1 0 0:1 / /c rw - cgroup cgroup\n"),
        ("sys/fs/cgroup/memory.max", "-12"),
        ("sys/fs/cgroup/cpu.max", "1000 0"),
        ("sys/fs/cgroup/cpuset.cpus", "3-1"),
        ("sys/fs/cgroup/a/cpu.max/a-folder", ""),
    ]);
    tree.write("sys/fs/cgroup/a/memory.max", b"\xff\xfe\n");
    assert_eq!((tree.files().memory(), tree.files().cores()), (None, None));
}

#[test]
fn quotas_and_sets_of_cores_of_the_whole_chain_hold() {
    let unified = |quota| {
        cores(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/cpu.max", quota),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000"),
            ("sys/fs/cgroup/a/b/cpuset.cpus.effective", "0-3,8,10-11\n"),
        ])
    };
    assert_eq!(unified("250000 100000"), Some(2));
    assert_eq!(unified("50000 100000"), Some(1));
    assert_eq!(unified("900000 100000"), Some(7));
    let version_1 = cores(&[
        ("proc/self/cgroup", "3:cpuset:/a\n2:cpu,cpuacct:/a\n"),
        ("proc/self/mountinfo", "1 0 0:1 / /c rw - cgroup cgroup rw,cpu,cpuacct\n"),
        ("c/a/cpu.cfs_quota_us", "300000"),
        ("c/a/cpu.cfs_period_us", "100000"),
        ("sys/fs/cgroup/cpuset/a/cpuset.cpus", "0-1"),
    ]);
    assert_eq!(version_1, Some(2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_read_without_harm(file in 0_usize..5, damage in damage()) {
        const FILES: [(&str, &str); 5] = [
            ("proc/self/cgroup", "4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/user/job\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/user/memory.max", "8589934592\n"),
            ("sys/fs/cgroup/user/job/cpu.max", "250000 100000\n"),
            ("sys/fs/cgroup/user/job/cpuset.cpus.effective", "0-3,8,10-11\n"),
        ];
        thread_local! {
            static TREE: Tree = Tree::of(&FILES);
        }
        TREE.with(|tree| {
            let (path, text) = FILES[file];
            let bytes = damaged(text.as_bytes(), &damage);
            tree.write(path, &bytes);
            let read = || {
                let files = tree.files();
                Ok::<_, String>((files.memory(), files.cores()))
            };
            judge(bytes.len(), read);
            tree.write(path, text.as_bytes());
        });
    }
}
