//! The program of another revision.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::console;
use crate::error::{Error, Result};
use crate::measure::run::interrupt::Events;
use crate::measure::run::process::{self, ChildLimits, End};

/// Builds `revision` of the checkout around the current folder by a Cargo `profile` and returns its program.
///
/// The source goes to a worktree of its own under `target/regress`, so that the checkout stays as it is; a program that
/// was built before is used again.
pub(crate) fn program_of(revision: &str, profile: &str, quiet: bool) -> Result<PathBuf> {
    let up = git(Path::new("."), &["rev-parse".as_ref(), "--show-cdup".as_ref()]).map_err(|cause| {
        Error::Input(format!("--against requires a git checkout around the current folder: {cause}"))
    })?;
    let root = Path::new(".").join(up);
    let root = fs::canonicalize(&root).map_err(|cause| Error::input(&root, cause))?;
    let named = format!("{revision}^{{commit}}");
    let verify = ["rev-parse", "--verify", "--quiet", &named].map(OsStr::new);
    let commit = git(&root, &verify).map_err(|_| {
        Error::Input(format!("`{}` is not a revision of {}", console::quoted(revision), root.display()))
    })?;
    let folder = root.join("target").join("regress");
    let program = folder.join(format!("relgrad-{}-{profile}", &commit[..12.min(commit.len())]));
    if !program.exists() {
        fs::create_dir_all(&folder).map_err(|cause| Error::output(&folder, cause))?;
        if !quiet {
            note!("building {revision} ({commit}), once");
        }
        build(&root, &commit, profile, &program)?;
    }
    require_worker(&program, revision)?;
    Ok(program)
}

fn build(root: &Path, commit: &str, profile: &str, program: &Path) -> Result<()> {
    let folder = program.with_file_name("");
    let source = folder.join("source");
    let remove = ["worktree".as_ref(), "remove".as_ref(), "--force".as_ref(), source.as_os_str()];
    // A build that was cut off may have left its worktree.
    let _ = git(root, &remove);
    let add = ["worktree", "add", "--detach", "--force"].map(OsStr::new);
    git(root, &[&add[..], &[source.as_os_str(), commit.as_ref()]].concat())
        .map_err(|cause| Error::Output(format!("cannot check out {commit}: {cause}")))?;
    let built = cargo_build(&source, &folder.join("build"), profile);
    let _ = git(root, &remove);
    let built = built?;
    // Named last, so that a program under its final name is whole.
    let partial = program.with_extension("partial");
    fs::copy(&built, &partial)
        .and_then(|_| fs::rename(&partial, program))
        .map_err(|cause| Error::output(program, cause))
}

fn cargo_build(source: &Path, target: &Path, profile: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(source)
        .args(["build", "--profile", profile, "--locked", "--quiet", "--package", "relgrad-harness", "--target-dir"])
        .arg(target)
        .stdin(Stdio::null())
        .status()
        .map_err(|cause| Error::Output(format!("cannot run cargo for the other revision: {cause}")))?;
    if !status.success() {
        return Err(Error::Input("the other revision does not build; its errors are above".to_string()));
    }
    // Cargo's folder of a profile has its name, but for the two that were there before profiles had names.
    let folder = match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        named => named,
    };
    Ok(target.join(folder).join(format!("relgrad{}", std::env::consts::EXE_SUFFIX)))
}

/// Fails where a program cannot take part: it must be a relgrad, and one with the verb that the gate drives.
pub(crate) fn require_worker(program: &Path, name: &str) -> Result<()> {
    let no_relgrad = |why: String| Error::Input(format!("{name} is not a working relgrad: {why}"));
    let version = asked(program, &["--version"])?.map_err(no_relgrad)?;
    if !version.starts_with("relgrad") {
        let said = console::quoted(version.trim_end());
        return Err(no_relgrad(format!("--version printed `{said}`")));
    }
    asked(program, &["worker", "--help"])?
        .map(drop)
        .map_err(|_| Error::Input(format!("{name} is too old for the gate; sweep both and use relgrad compare")))
}

/// What a program prints, or why it does not end well and soon.
fn asked(program: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    const LIMIT: Duration = Duration::from_secs(10);
    let mut command = Command::new(program);
    command.args(arguments);
    let limits = ChildLimits { kill_after: Some(LIMIT), ..ChildLimits::default() };
    let asked = arguments.join(" ");
    let answer = match process::run(command, limits, &mut Events::without_signals()) {
        Ok(End::Exited { status, stdout, .. }) if status.success() => Ok(stdout),
        Ok(End::Exited { status, stderr, .. }) => {
            let cause = process::cause_of_death(status, &stderr);
            Err(format!("{asked}: it {}", console::cut(cause.as_str(), 120)))
        }
        Ok(End::TimedOut | End::Interrupted) => Err(format!("{asked} did not answer within {} s", LIMIT.as_secs())),
        Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
            return Err(Error::Output(format!("cannot start {}: {cause}", program.display())));
        }
        Err(cause) => Err(cause.to_string()),
    };
    Ok(answer)
}

/// Trimmed standard output of a git command that succeeds, or what it complains of.
fn git(folder: &Path, arguments: &[&OsStr]) -> Result<String, String> {
    let output = Command::new("git").current_dir(folder).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|cause| format!("cannot run git: {cause}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
