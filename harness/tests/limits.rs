//! A system that starts no more processes and threads, or gives no more memory.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{ends, golden, scratch, stderr, words};

/// A user with no other processes: the limit counts all of a user's.
const NOBODY: libc::uid_t = 65_534;

/// A command under a limit of the system.
fn limited(mut command: Command, resource: libc::__rlimit_resource_t, most: libc::rlim_t, as_nobody: bool) -> Command {
    let lower = move || {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the calls take values or read a valid rlimit, and may stand between fork and exec.
        let refused = unsafe {
            let to_nobody = || as_nobody && libc::geteuid() == 0 && libc::setuid(NOBODY) != 0;
            libc::setrlimit(resource, &limit) != 0 || to_nobody()
        };
        if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes system calls alone, takes no lock and allocates nothing.
    unsafe { command.pre_exec(lower) };
    command
}

#[test]
fn without_a_thread_to_be_had_every_verb_ends_with_one_line() {
    let scratch = scratch();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
    let program = scratch.path().join("relgrad");
    fs::copy(env!("CARGO_BIN_EXE_relgrad"), &program).expect("a copy");
    fs::copy(golden().join("p01_d1_l1_linear.json"), scratch.path().join("golden.json")).expect("a copy");
    for line in [
        "verify golden.json",
        "selftest --quick",
        "roofline --quick --threads 2",
        "peer-case --dim 3",
        "evaluate --dim 3 --count 1 --threads 2",
        "train toy:moons --toy-samples 50 --epochs 1 --threads 2 --quiet --out model",
        "experiment bias-mode --effort smoke --quiet --out experiments",
        "sweep --dims 3 --methods relative --rounds 1 --threads 1 --quiet --out sweep",
        "gate --save gate.jsonl --dims 3 --methods relative --rounds 1 --threads 1 --quiet",
        "gate --against-program ./relgrad",
        "calibrate --aa 1 --dims 3 --quiet --threads 1",
    ] {
        let mut command = Command::new(&program);
        command.args(line.split(' ')).current_dir(scratch.path());
        // Root has no such limit, and runs as nobody.
        let (_, told) = ends(&mut limited(command, libc::RLIMIT_NPROC, 1, true), 3);
        assert!(told.starts_with("relgrad: ") && told.contains("`ulimit -u`"), "{line}: {told}");
        assert_eq!(told.lines().count(), 1, "{line}: {told}");
    }
}

/// What is allocated without asking would abort: it is asked for before.
#[test]
fn without_memory_to_be_had_a_verb_ends_with_one_line() {
    for line in ["peer-case --dim 300", "verify --sizes 300", "selftest --quick", "evaluate --dim 6000 --count 1"] {
        let output = limited(words(line), libc::RLIMIT_AS, 200 << 20, false).output().expect("relgrad starts");
        let told = stderr(&output);
        assert!(matches!(output.status.code(), Some(2 | 3)), "{line}: {:?} {told}", output.status);
        assert!(told.starts_with("relgrad: ") && told.lines().count() == 1, "{line}: {told}");
    }
}
