//! A system that starts no more processes and threads, or gives no more memory.
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::{golden, stderr};

/// A user with no other processes: the limit counts all of a user's.
const NOBODY: libc::uid_t = 65_534;

/// `words` by a program that may have this many processes and threads. Root has no such limit, and runs as nobody.
fn limited(program: &Path, words: &str, most: libc::rlim_t) -> Command {
    let mut command = Command::new(program);
    command.args(words.split(' ')).current_dir(program.parent().expect("a folder"));
    let limit = move || {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: both calls take values or read a valid rlimit, and may stand between fork and exec.
        let refused = unsafe {
            libc::setrlimit(libc::RLIMIT_NPROC, &limit) != 0 || (libc::geteuid() == 0 && libc::setuid(NOBODY) != 0)
        };
        if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes system calls alone, takes no lock and allocates nothing.
    unsafe { command.pre_exec(limit) };
    command
}

#[test]
fn without_a_thread_to_be_had_every_verb_ends_with_one_line() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(scratch.path(), open).expect("permissions");
    let program = scratch.path().join("relgrad");
    std::fs::copy(env!("CARGO_BIN_EXE_relgrad"), &program).expect("a copy");
    std::fs::copy(golden().join("p01_d1_l1_linear.json"), scratch.path().join("golden.json")).expect("a copy");
    for words in [
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
        let output = limited(&program, words, 1).output().expect("relgrad starts");
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{words}: {told}");
        assert!(told.starts_with("relgrad: ") && told.contains("`ulimit -u`"), "{words}: {told}");
        assert_eq!(told.lines().count(), 1, "{words}: {told}");
    }
}

/// What is allocated without asking would abort: it is asked for before.
#[test]
fn without_memory_to_be_had_a_verb_ends_with_one_line() {
    for words in ["peer-case --dim 300", "verify --sizes 300", "selftest --quick", "evaluate --dim 6000 --count 1"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relgrad"));
        command.args(words.split(' '));
        let limit = libc::rlimit { rlim_cur: 200 << 20, rlim_max: 200 << 20 };
        let lower = move || {
            // SAFETY: the call reads a valid rlimit, and may stand between fork and exec.
            let refused = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) } != 0;
            if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: the closure makes a system call alone, takes no lock and allocates nothing.
        unsafe { command.pre_exec(lower) };
        let output = command.output().expect("relgrad starts");
        let told = stderr(&output);
        assert!(matches!(output.status.code(), Some(2 | 3)), "{words}: {:?} {told}", output.status);
        assert!(told.starts_with("relgrad: ") && told.lines().count() == 1, "{words}: {told}");
    }
}
