//! The condition u of a density of x given u: the classes of a set, or columns of the user's file.

use std::collections::BTreeSet;
use std::path::Path;

use relgrad_reports::training::Provenance;

use super::catalogue::{self, Entry};
use super::{DataSet, Parts, Samples, again, digits};
use crate::console::quoted;
use crate::error::{Error, Result};

/// What asks for the classes of a set.
pub(crate) const LABELS: &str = "labels";
/// Digits, one-hot.
const CLASSES: usize = 10;

/// The set with what `what` names as the condition: `labels`, or columns of the user's file, by number or name and
/// comma-separated, which leave x. Nothing is rescaled.
///
/// # Errors
/// Says which column there is not, which file of labels is missing, or that the set has no classes.
pub(crate) fn conditional(set: DataSet, what: Option<&str>, folder: Option<&Path>) -> Result<DataSet> {
    let Some(what) = what else { return Ok(set) };
    let mut set = match set.provenance {
        Provenance::Own => on_columns(set, what)?,
        Provenance::Synthetic => on_labels(set, None, what, folder)?,
        _ => {
            let entry = catalogue::find(&set.name)?;
            on_labels(set, Some(entry), what, folder)?
        }
    };
    let x = set.parts.each().map(|(_, part)| part);
    set.digest = Some(again::digest(x.into_iter().chain(set.parts.given.iter().flatten())));
    Ok(set)
}

fn on_labels(mut set: DataSet, entry: Option<&Entry>, what: &str, folder: Option<&Path>) -> Result<DataSet> {
    let name = &set.name;
    let refused = |has: &str| Error::Usage(format!("--conditional {}: {name} has {has}", quoted(what)));
    let labels = match entry {
        Some(entry) => digits::labels(entry, &entry.folder(folder)?),
        None => None,
    };
    let Some(labels) = labels else {
        return Err(refused("no classes; mnist and optdigits have labels, and a file of yours has columns"));
    };
    if what != LABELS {
        return Err(refused("labels and no other condition"));
    }
    let labels = labels?;
    let counts = set.parts.each().map(|(_, part)| part.count());
    if labels.each_ref().map(Vec::len) != counts {
        return Err(Error::Input(format!("{name} has other numbers of labels and pictures: fetch its files again")));
    }
    let strange = |label: &&f64| !(0..CLASSES).any(|class| class as f64 == **label);
    if let Some(label) = labels.iter().flatten().find(strange) {
        return Err(Error::Input(format!("{name} has a label {label}, which is none of the ten digits")));
    }
    set.told.push(format!("{name}: conditional on its labels, {CLASSES} classes"));
    set.parts.given = Some(labels.map(|labels| one_hot(&labels)));
    Ok(set)
}

/// For each label a 1 in the place of its class, and 0 elsewhere.
pub(crate) fn one_hot(labels: &[f64]) -> Samples {
    let places = |label: &f64| (0..CLASSES).map(|class| f64::from(class as f64 == *label)).collect::<Vec<_>>();
    Samples { dim: CLASSES, values: labels.iter().flat_map(places).collect() }
}

fn on_columns(mut set: DataSet, what: &str) -> Result<DataSet> {
    let dim = set.parts.dim();
    let given = what.split(',').map(|word| column(&set, word.trim())).collect::<Result<Vec<_>>>()?;
    let taken: BTreeSet<usize> = given.iter().copied().collect();
    if taken.len() < given.len() {
        return Err(Error::Usage(format!("--conditional {}: it names a column twice", quoted(what))));
    }
    let left: Vec<usize> = (0..dim).filter(|j| !taken.contains(j)).collect();
    if left.is_empty() {
        return Err(Error::Usage(format!("--conditional {}: it leaves no column to learn", quoted(what))));
    }
    let parts = set.parts.each().map(|(_, part)| part);
    let u = parts.map(|part| part.columns(&given));
    set.parts = Parts { given: Some(u), ..Parts::of(parts.map(|part| part.columns(&left))) };
    if !set.names.is_empty() {
        set.names = left.iter().map(|&j| set.names[j].clone()).collect();
    }
    let numbers = given.iter().map(|j| (j + 1).to_string()).collect::<Vec<_>>().join(", ");
    let columns = if given.len() == 1 { "column" } else { "columns" };
    set.told.push(format!("{}: conditional on {columns} {numbers}, {} left to learn", set.name, left.len()));
    set.columns = Some(left);
    Ok(set)
}

/// The column of a name, or else of a number, which counts from 1.
fn column(set: &DataSet, word: &str) -> Result<usize> {
    let dim = set.parts.dim();
    let named = set.names.iter().position(|name| name == word && !word.is_empty());
    let numbered = || word.parse().ok().filter(|number| (1..=dim).contains(number)).map(|number: usize| number - 1);
    named.or_else(numbered).ok_or_else(|| {
        let names = if set.names.is_empty() { "" } else { ", or their names" };
        Error::Usage(format!(
            "--conditional: {} has no column `{}`: they are 1 to {dim}{names}",
            set.name,
            quoted(word)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> DataSet {
        let part = |values: [f64; 6]| Samples { dim: 3, values: values.to_vec() };
        let parts = Parts::of([
            part([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            part([7.0, 8.0, 9.0, 1.0, 2.0, 3.0]),
            part([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]),
        ]);
        let names = ["a", "1", "2"].map(str::to_string).to_vec();
        DataSet { names, ..DataSet::new("my.csv", parts, Provenance::Own) }
    }

    #[test]
    fn columns_by_number_or_name_become_the_condition() {
        let found = conditional(set(), Some("3, a"), None).unwrap();
        assert_eq!((found.parts.dim(), found.parts.conditions()), (1, 2));
        assert_eq!(found.parts.train.values, [2.0, 5.0]);
        assert_eq!(found.parts.given.as_ref().unwrap()[1].values, [9.0, 7.0, 3.0, 1.0]);
        assert_eq!((found.number(0), &found.names[..]), (2, &["1".to_string()][..]));
        assert_eq!(found.facts().conditions, Some(2));
        // A name comes before a number, and other columns have another digest.
        let named = conditional(set(), Some("1"), None).unwrap();
        assert_eq!(named.parts.train.values, [1.0, 3.0, 4.0, 6.0]);
        assert_ne!(named.digest, found.digest);
        assert_eq!(conditional(set(), None, None).unwrap(), set());
    }

    #[test]
    fn a_condition_that_there_is_not_is_refused() {
        let told = |set: DataSet, what| conditional(set, Some(what), None).unwrap_err().to_string();
        for (what, part) in [
            ("4", "no column `4`: they are 1 to 3"),
            ("0", "no column `0`"),
            ("a,", "no column ``"),
            ("label", "or their names"),
            ("a,a", "a column twice"),
            ("a,1,2", "no column to learn"),
        ] {
            assert!(told(set(), what).contains(part), "{what}: {}", told(set(), what));
        }
        let toy = DataSet { provenance: Provenance::Synthetic, ..set() };
        assert!(told(toy, "labels").contains("no classes"));
    }

    #[test]
    fn classes_are_one_hot() {
        let samples = one_hot(&[2.0, 0.0]);
        assert_eq!((samples.dim, samples.count()), (10, 2));
        assert_eq!(
            samples.values.iter().enumerate().filter(|(_, x)| **x == 1.0).map(|(i, _)| i).collect::<Vec<_>>(),
            [2, 10]
        );
    }
}
