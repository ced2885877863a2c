//! The program of another revision.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Builds `revision` of the checkout around the current folder by a Cargo `profile` and returns its program.
///
/// The source goes to a worktree of its own under `target/regress`, so that the checkout stays as it is; a program that was
/// built before is used again.
///
/// # Errors
/// When this is no checkout, the revision does not exist, or it cannot be built.
pub(crate) fn program_of(revision: &str, profile: &str, quiet: bool) -> Result<PathBuf> {
    let root = git(Path::new("."), &["rev-parse", "--show-toplevel"]).map_err(|cause| {
        Error::Input(format!("--against needs a git checkout around the current folder: {cause}"))
    })?;
    let root = PathBuf::from(root);
    let commit = git(&root, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")])
        .map_err(|_| Error::Input(format!("`{revision}` is no revision of {}", root.display())))?;
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
    let path = source.display().to_string();
    // A build that was cut off may have left its worktree.
    let _ = git(root, &["worktree", "remove", "--force", &path]);
    git(root, &["worktree", "add", "--detach", "--force", &path, commit])
        .map_err(|cause| Error::Output(format!("cannot check out {commit}: {cause}")))?;
    let built = cargo_build(&source, &folder.join("build"), profile);
    let _ = git(root, &["worktree", "remove", "--force", &path]);
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
        .args([
            "build",
            "--profile",
            profile,
            "--locked",
            "--quiet",
            "--package",
            "relgrad-harness",
            "--target-dir",
        ])
        .arg(target)
        .stdin(Stdio::null())
        .status()
        .map_err(|cause| Error::Output(format!("cannot run cargo to build the other revision: {cause}")))?;
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

/// A program without the verb that the gate drives cannot take part.
///
/// # Errors
/// Says what to do instead.
pub(crate) fn require_worker(program: &Path, name: &str) -> Result<()> {
    let known = Command::new(program)
        .args(["worker", "--help"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|cause| Error::input(program, cause))?;
    if known.success() {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{name} is older than the gate and cannot be measured in turn; sweep both and use relgrad compare"
    )))
}

/// Trimmed standard output of a git command that succeeds, or what it complains of.
fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").current_dir(folder).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|cause| format!("cannot run git: {cause}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
