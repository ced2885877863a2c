//! The EEG recording: potentials of 32 channels, and where their electrodes are.

use std::io::Read;
use std::path::Path;

use super::catalogue::Entry;
use super::numpy::RandomState;
use super::preprocess::{Scale, split_in_order};
use super::{DataSet, Parts, Samples, files, open};
use crate::console::quoted;
use crate::error::{Error, Result};

/// Bytes that are read of the electrodes' file at most.
const MOST_TEXT: u64 = 1 << 16;

/// An electrode on the head seen from above.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Electrode {
    pub(crate) name: String,
    /// x to the right, y to the nose; the head's edge is ½ from its middle.
    pub(crate) place: [f64; 2],
}

/// The set's rows in an order of their own (the moments of a recording depend on each other), split, and standardised
/// by the training part.
pub(crate) fn load(entry: &Entry, folder: &Path) -> Result<DataSet> {
    let mut parts = shuffled(entry, folder)?;
    let scale = scale(entry, &parts)?;
    parts.each_mut().into_iter().for_each(|part| scale.standardise(part));
    Ok(DataSet::new(entry.name, parts, entry.provenance))
}

/// The standard deviation of every channel, by which [`load`] divides.
pub(crate) fn deviations(entry: &Entry, folder: &Path) -> Result<Vec<f64>> {
    Ok(scale(entry, &shuffled(entry, folder)?)?.deviation)
}

/// The electrodes of the channels, in their order: lines of a number, an angle clockwise from the nose in degrees, a
/// distance from the middle, and a name.
pub(crate) fn electrodes(entry: &Entry, folder: &Path) -> Result<Vec<Electrode>> {
    let path = entry.at(folder, "eeglab_chan32.locs", "1 kB")?;
    open::reading(&path, |path| {
        let mut text = String::new();
        open::open(path)?.take(MOST_TEXT).read_to_string(&mut text).map_err(|cause| open::reason(&cause))?;
        let electrodes = text.lines().filter(|line| !line.trim().is_empty()).map(electrode);
        let electrodes = electrodes.collect::<Result<Vec<_>, String>>()?;
        match electrodes.len() {
            count if count == entry.dim => Ok(electrodes),
            count => Err(format!("it has {count} electrodes, the set has {} channels", entry.dim)),
        }
    })
}

fn electrode(line: &str) -> Result<Electrode, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok()).filter(|x| x.is_finite());
    let (Some(angle), Some(distance), Some(name)) = (number(1), number(2), fields.get(3)) else {
        return Err(format!("`{}` is not a number, an angle, a distance and a name", quoted(line)));
    };
    let (sine, cosine) = angle.to_radians().sin_cos();
    Ok(Electrode { name: (*name).to_string(), place: [distance * sine, distance * cosine] })
}

fn shuffled(entry: &Entry, folder: &Path) -> Result<Parts> {
    let path = entry.file(folder, 0)?;
    let mut values = files::raw_floats(&path)?;
    if values.is_empty() || !values.len().is_multiple_of(entry.dim) {
        let found = format!("{} numbers are not rows of {} channels; fetch the file again", values.len(), entry.dim);
        return Err(Error::input(&path, found));
    }
    RandomState::new(0).shuffle_rows(&mut values, entry.dim);
    Ok(split_in_order(Samples { dim: entry.dim, values }))
}

fn scale(entry: &Entry, parts: &Parts) -> Result<Scale> {
    Scale::of(&[&parts.train], 0.0).map_err(|cause| {
        Error::Input(format!("{}: {cause}; compare its file with the one that its owners publish", entry.name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::find;
    use super::super::files::tests::gzip;
    use super::*;

    #[test]
    fn rows_are_split_and_scaled_by_the_training_part() {
        let folder = tempfile::tempdir().unwrap();
        let entry = find("eeg").unwrap();
        let write = |bytes: &[u8]| std::fs::write(folder.path().join(entry.files[0].0), gzip(bytes)).unwrap();
        let bytes: Vec<u8> = (0..100 * 32).flat_map(|i| ((i * i % 997) as f32).to_le_bytes()).collect();
        write(&bytes);
        let set = load(entry, folder.path()).unwrap();
        assert_eq!(set.parts.each().map(|(_, part)| part.count()), [81, 9, 10]);
        let column = |j: usize| set.parts.train.values.iter().skip(j).step_by(32);
        assert!(column(5).sum::<f64>().abs() < 1e-4);
        assert!((column(5).map(|x| x * x).sum::<f64>() / 81.0 - 1.0).abs() < 1e-5);
        let deviations = deviations(entry, folder.path()).unwrap();
        assert!(deviations.len() == 32 && deviations.iter().all(|d| *d > 100.0));
        for damaged in [&bytes[..bytes.len() - 4], &bytes[..bytes.len() - 1], &[]] {
            write(damaged);
            let told = load(entry, folder.path()).unwrap_err().to_string();
            assert!(told.contains(entry.files[0].0) && told.contains("fetch the file again"), "{told}");
        }
    }

    #[test]
    fn electrodes_are_where_their_angles_say_or_their_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("eeglab_chan32.locs"), text).unwrap();
        let read = || electrodes(find("eeg").unwrap(), folder.path());
        assert!(read().unwrap_err().to_string().contains("eeglab_chan32.locs (1 kB) is missing"));
        let others = "3 180 0.4 Oz\n".repeat(30);
        write(&format!("1\t 0\t 0.5\t FPz\n2 90 0.25\tC4\n{others}"));
        let found = read().unwrap();
        assert_eq!(found.len(), 32);
        for (electrode, (name, place)) in found.iter().zip([("FPz", [0.0, 0.5]), ("C4", [0.25, 0.0])]) {
            assert_eq!(electrode.name, name);
            assert!((0..2).all(|i| (electrode.place[i] - place[i]).abs() < 1e-15));
        }
        for (text, part) in [("1 x 0.5 A\n", "`1 x 0.5 A` is not"), ("1 0 0.5 A\n", "it has 1 el"), ("", "it has 0 el")]
        {
            write(text);
            let told = read().unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
    }
}
