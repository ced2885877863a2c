//! What the records of a part say: how many there are, and whether the part is complete.

use std::fs;
use std::path::Path;

use super::work::Work;
use crate::experiment::search;

/// A part, as its folder shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Finding {
    pub(super) records: usize,
    /// Whether everything in the part has its record, and it came to the end.
    pub(super) is_complete: bool,
    /// Bytes of the files that were read.
    read: [u64; 2],
}

impl Finding {
    /// Looks at the folder of a part. Files that cannot be read leave what was known: a task may be writing them, and a
    /// task that cannot read them itself says so.
    pub(super) fn update(&mut self, work: Work, dir: &Path) {
        let bytes = sizes(work, dir);
        if bytes == self.read || bytes[0] == 0 {
            return;
        }
        let Some((records, is_complete)) = work.progress(dir) else { return };
        *self = Self { records, is_complete, read: bytes };
    }
}

/// Bytes of the [`Work::files`] of a part, those of a folder's results together; 0 where there is none.
pub(super) fn sizes(work: Work, dir: &Path) -> [u64; 2] {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    work.files().map(|name| dir.join(name)).map(|path| match path.is_dir() {
        true => search::results(&path).iter().map(|path| length(path)).sum(),
        false => length(&path),
    })
}

#[cfg(test)]
pub(super) mod testing {
    use relgrad_kernels::Method;
    use relgrad_reports::fixture;
    use relgrad_reports::record::Record;
    use relgrad_reports::run::{Run, Settings};
    use relgrad_reports::study::Study;
    use relgrad_reports::writer::write_study;

    use super::*;
    use crate::measure::plan::testing::measured;
    use crate::measure::{default_settings, plan};

    /// Writes the folder of a part of two cells with the first `records` records.
    pub(crate) fn write(dir: &Path, records: usize, has_ended: bool) {
        let settings = Settings { dims: vec![2, 3], methods: vec![Method::Relative], rounds: 1, ..default_settings() };
        let points = plan::plan(&settings).unwrap();
        let records: Vec<Record> = points[..records].iter().map(|planned| measured(planned, 0.1, 1.0)).collect();
        let run = Run { settings, rooflines: Vec::new(), ..fixture::study().run };
        let run = Run { ended: has_ended.then(|| run.started.clone()), ..run };
        fs::create_dir_all(dir).unwrap();
        write_study(dir, &Study { run, records, replaced: Vec::new(), warnings: Vec::new() }).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_complete_when_every_cell_has_its_record_and_the_sweep_has_ended() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        let mut finding = Finding::default();
        finding.update(Work::Sweep, dir);
        assert_eq!(finding, Finding::default());
        for (records, has_ended) in [(1, false), (2, false), (1, true), (2, true)] {
            testing::write(dir, records, has_ended);
            finding.update(Work::Sweep, dir);
            assert_eq!((finding.records, finding.is_complete), (records, records == 2 && has_ended));
        }
        fs::write(dir.join("records.jsonl"), "no record\n").unwrap();
        finding.update(Work::Sweep, dir);
        assert_eq!((finding.records, finding.is_complete), (2, true));
    }
}
