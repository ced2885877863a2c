//! What the tests of the project's files share.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of the project below `folder` whose path ends so, sorted; no folder that is hidden, built, or left by a
/// measurement or a training.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_made =
            ["target", "results", "papers", "trainings", "shared"].contains(&&*name) || name.starts_with("experiments");
        if !path.is_dir() {
            found.extend(path.to_string_lossy().ends_with(ending).then(|| path.clone()));
        } else if !name.starts_with('.') && !is_made {
            found.extend(files(&path, ending));
        }
    }
    found.sort();
    found
}
