//! Folders for results: a name of their own where none is given, and nothing in them that is not ours.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use relgrad_plots::{Drawing, Format};

use crate::error::{Error, Result};
use crate::machine::time::{file_stamp, unix_seconds};

/// Makes the folder `parent/<UTC time>`; where a run that began in the same second has that name, the next free one
/// (`…Z-2`).
pub(crate) fn fresh(parent: &str) -> Result<PathBuf> {
    let parent = Path::new(parent);
    fs::create_dir_all(parent).map_err(|cause| Error::output(parent, cause))?;
    let stamp = file_stamp(unix_seconds());
    let mut serial = 1_u32;
    loop {
        let name = if serial == 1 { stamp.clone() } else { format!("{stamp}-{serial}") };
        let dir = parent.join(name);
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => serial += 1,
            Err(cause) => return Err(Error::output(&dir, cause)),
        }
    }
}

/// The formats of figures where none are chosen.
pub(crate) const FORMATS: [Format; 2] = [Format::Svg, Format::Png];

/// Writes a drawing as NAME.svg, NAME.png and so on. A link of such a name is replaced, not followed.
pub(crate) fn write_drawing(dir: &Path, name: &str, drawing: &Drawing, formats: &[Format]) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).map_err(|cause| Error::output(dir, cause))?;
    let path = |format: &Format| dir.join(format!("{name}.{}", format.name()));
    let paths: Vec<PathBuf> = formats.iter().map(path).collect();
    for link in paths.iter().filter(|path| path.is_symlink()) {
        fs::remove_file(link).map_err(|cause| Error::output(link, cause))?;
    }
    let mut written = paths.iter().map(|path| drawing.write(path));
    written.try_for_each(|written| written).map_err(|cause| Error::Output(cause.to_string()))?;
    Ok(paths)
}

/// Makes the folder `dir`, which may exist already but must be empty, apart from the file `lock` that holds it for this
/// process.
pub(crate) fn require_empty(dir: &Path, lock: &str) -> Result<()> {
    fs::create_dir_all(dir).map_err(|cause| Error::output(dir, cause))?;
    let entries = fs::read_dir(dir).map_err(|cause| Error::output(dir, cause))?;
    for entry in entries {
        let name = entry.map_err(|cause| Error::output(dir, cause))?.file_name();
        if name != lock {
            let (dir, name) = (dir.display(), Path::new(&name).display());
            return Err(Error::Usage(format!("{dir} is not empty (it has {name}): choose another --out")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_second_have_names_of_their_own() {
        let scratch = tempfile::tempdir().unwrap();
        let parent = scratch.path().join("results");
        let parent = parent.to_str().unwrap();
        let mut made: Vec<PathBuf> = (0..20).map(|_| fresh(parent).unwrap()).collect();
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 20);
        assert!(made.iter().all(|dir| dir.is_dir()));
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused_by_name() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("out");
        require_empty(&dir, "lock").unwrap();
        fs::write(dir.join("lock"), "").unwrap();
        require_empty(&dir, "lock").unwrap();
        fs::write(dir.join("thesis.tex"), "").unwrap();
        let told = require_empty(&dir, "lock").unwrap_err().to_string();
        assert!(told.contains("not empty") && told.contains("thesis.tex"), "{told}");
    }
}
