//! Rows for a trained model: those of a file as they stand, or the parts of a set, moved as its training moved its
//! data.

use std::ffi::OsStr;
use std::path::Path;

use relgrad_reports::training::{DataFacts, Training};
use relgrad_reports::units::counted;
use relgrad_vocabulary::names;

use super::text::Header;
use super::{DataSet, Request, Samples, again, condition, load, load_file, own};
use crate::console::quoted;
use crate::error::{Error, Result};

names! {
    /// Which samples of a set.
    WhichPart, "part", {
        Train = "train",
        Validation = "validation",
        Test = "test",
        All = "all",
    }
}

/// What a trained model is to look at.
pub(crate) struct Wanted<'a> {
    /// A data set, `toy:NAME`, the path of a file, or `-` for text from standard input.
    pub(crate) name: &'a OsStr,
    pub(crate) header: Header,
    /// All rows of a file where it is absent, the test part of a set.
    pub(crate) part: Option<WhichPart>,
    /// Folder of the data sets.
    pub(crate) folder: Option<&'a Path>,
    /// u of every row of a file, where it is not among the file's columns.
    pub(crate) given: Option<Samples>,
}

/// Samples, and u of each where the density has a condition.
pub(crate) type Rows = (Samples, Option<Samples>);

/// The rows that are asked for, part by part, in the coordinates of the model: a toy set is drawn by the training's
/// seed, the columns of its condition are taken out, and its `shift` is subtracted.
///
/// # Errors
/// What [`load`] cannot read; other numbers of columns than the model has; a part of the training's own data that are
/// no longer the same.
pub(crate) fn rows_for(training: &Training, wanted: Wanted<'_>) -> Result<Vec<Rows>> {
    let Wanted { name, header, part, folder, given } = wanted;
    let Training { settings, data, .. } = training;
    let is_whole = matches!(part, None | Some(WhichPart::All));
    let is_file = name == own::STANDARD_INPUT || own::is_file_name(name);
    let set = read(training, (name, header), (is_file, is_whole), folder)?;
    let mut set = match given {
        Some(_) if !(is_file && is_whole) => {
            return Err(Error::Usage("--given is for all rows of a file".to_string()));
        }
        Some(u) => with_given(set, u)?,
        None if is_file && settings.conditional.as_deref() == Some(condition::LABELS) => {
            return Err(Error::Usage(format!(
                "u of this model is the label, which {} does not have: name a file of u with --given",
                set.name
            )));
        }
        None => {
            condition::conditional(set, settings.conditional.as_deref(), folder).map_err(|cause| match is_file {
                true => Error::Usage(format!("{cause}; it is u of this model: name a file of u with --given")),
                false => cause,
            })?
        }
    };
    require_fit(&set, data)?;
    if !(is_file && is_whole) && is_of(training, Path::new(name)) {
        again::require_same(&settings.data, data, &set.facts())?;
    }
    if let Some(shift) = data.shift.clone() {
        set.shift(shift);
    }
    let chosen = match part {
        _ if is_file && is_whole => 0..1,
        Some(WhichPart::Train) => 0..1,
        Some(WhichPart::Validation) => 1..2,
        Some(WhichPart::Test) | None => 2..3,
        Some(WhichPart::All) => 0..3,
    };
    let parts = [set.parts.train, set.parts.validation, set.parts.test];
    let given = set.parts.given.map_or([None, None, None], |given| given.map(Some));
    Ok(parts.into_iter().zip(given).skip(chosen.start).take(chosen.len()).collect())
}

/// Reads a file whole or in parts, or a set.
fn read(
    training: &Training,
    (name, header): (&OsStr, Header),
    (is_file, is_whole): (bool, bool),
    folder: Option<&Path>,
) -> Result<DataSet> {
    let path = Path::new(name);
    match (is_file, is_whole) {
        (true, true) => own::every_row(path, header),
        (true, false) if name == own::STANDARD_INPUT => {
            Err(Error::Usage("standard input has no parts: leave out --part".to_string()))
        }
        (true, false) => load_file(path, header),
        (false, _) if header != Header::Auto => Err(Error::Usage("--header is for files of text".to_string())),
        (false, _) => {
            let (seed, toy_samples) = (training.settings.seed, training.settings.toy_samples);
            load(&Request { name: &name.to_string_lossy(), folder, seed, toy_samples })
        }
    }
}

/// Whether this is what the model was trained with, by its name.
fn is_of(training: &Training, name: &Path) -> bool {
    match &training.data.file {
        Some(file) => *file == again::encoded(name),
        None => name == Path::new(&training.settings.data),
    }
}

fn with_given(mut set: DataSet, u: Samples) -> Result<DataSet> {
    let (found, expected) = (u.count(), set.parts.train.count());
    if found != expected {
        let [found, expected] = [found, expected].map(|count| counted(count, "row"));
        return Err(Error::Input(format!("--given has {found}, and {} has {expected}", set.name)));
    }
    let none = Samples { dim: u.dim, values: Vec::new() };
    set.parts.given = Some([u, none.clone(), none]);
    Ok(set)
}

fn require_fit(set: &DataSet, data: &DataFacts) -> Result<()> {
    require_width(&set.name, set.parts.dim(), data.dim)?;
    match (set.parts.conditions(), data.conditions.unwrap_or(0)) {
        (found, expected) if found == expected => Ok(()),
        (_, 0) => Err(Error::Usage("the model has no condition u: leave out --given".to_string())),
        (found, expected) => Err(Error::Input(format!(
            "u of {} has {}, and that of the model {expected}",
            set.name,
            counted(found, "column")
        ))),
    }
}

/// Refuses rows of another width than a model's.
pub(crate) fn require_width(name: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let (name, found) = (quoted(name), counted(found, "column"));
    Err(Error::Input(format!("{name} has {found} to look at, and the model was trained on {expected}")))
}
