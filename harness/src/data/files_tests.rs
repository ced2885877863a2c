use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::text::{self, Delimiter, Header, TextFormat};
use super::*;

pub(in crate::data) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn in_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> Result<T>) -> Result<T, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read(&path).map_err(|error| error.to_string())
}

pub(in crate::data) fn idx(count: u32, pixels: &[u8]) -> Vec<u8> {
    let header = [2051, count, 2, 3].map(u32::to_be_bytes).concat();
    [&header, pixels].concat()
}

pub(in crate::data) fn npy(kind: &str, rows: usize, columns: usize, numbers: &[u8]) -> Vec<u8> {
    npy_with(&format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}\n"), numbers)
}

pub(in crate::data) fn npy_with(header: &str, numbers: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), numbers].concat()
}

pub(in crate::data) fn npz_of(arrays: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn csv_gz(bytes: &[u8]) -> Result<Samples, String> {
    let format = TextFormat { delimiter: Delimiter::Is(b','), header: Header::Auto, loose: false };
    let read = |path: &Path| text::read(path, format, |fields, out| text::numbers(fields, out));
    in_file("a.csv.gz", bytes, read).map(|table| table.samples)
}

#[test]
fn pictures_come_out_as_they_went_in_or_not_at_all() {
    let pixels: Vec<u8> = (0..12).collect();
    let read = |bytes: &[u8]| in_file("a.gz", bytes, idx_pictures);
    assert_eq!(read(&gzip(&idx(2, &pixels))), Ok((pixels.clone(), (2, 3))));
    for damaged in [idx(3, &pixels), idx(1, &pixels), pixels.clone(), Vec::new()] {
        let error = read(&gzip(&damaged)).unwrap_err();
        assert!(error.contains("fetch the file again"), "{error}");
    }
    let error = read(&gzip(&idx(u32::MAX, &pixels))).unwrap_err();
    assert!(error.contains("4294967295 pictures") || error.contains("of memory"), "{error}");
    // A gzip stream that was cut off.
    let whole = gzip(&idx(2, &pixels));
    assert!(read(&whole[..whole.len() - 9]).is_err());
}

#[test]
fn a_packed_file_is_read_to_its_checksum() {
    let rows = "1,2\n3,4\n".repeat(50);
    let whole = gzip(rows.as_bytes());
    let expected = Samples { dim: 2, values: [1.0, 2.0, 3.0, 4.0].repeat(50) };
    assert_eq!(csv_gz(&whole), Ok(expected.clone()));
    let (first, second) = rows.split_at(200);
    assert_eq!(csv_gz(&[gzip(first.as_bytes()), gzip(second.as_bytes())].concat()), Ok(expected));
    let mut flipped = whole.clone();
    flipped[whole.len() - 6] ^= 1;
    let error = csv_gz(&flipped).unwrap_err();
    assert!(error.contains("checksum does not match; fetch the file again"), "{error}");
    for damaged in [&whole[..whole.len() - 1], &whole[..20], &[&whole[..], b"and more"].concat(), rows.as_bytes()] {
        let error = csv_gz(damaged).unwrap_err();
        assert!(error.contains("fetch the file again"), "{error}");
    }
}

#[test]
fn a_packed_file_that_would_fill_the_memory_is_refused() {
    let error = csv_gz(&gzip("0\n".repeat(20 << 20).as_bytes())).unwrap_err();
    assert!(error.contains("unpack it first"), "{error}");
    let rows = (17 << 20) / 8;
    let bomb = npz_of(&[("x", npy("|u1", rows, 8, &vec![0; 8 * rows]))], true);
    let read = |path: &Path| npz(path, [&["x"]]);
    let (result, peak) = relgrad_adversary::peak_bytes(|| in_file("a.npz", &bomb, read));
    assert!(result.clone().unwrap_err().contains("unpack it first"), "{result:?}");
    assert!(peak < 1 << 20, "{peak}");
}

#[test]
fn an_npz_with_one_bit_flipped_is_refused() {
    let numbers: Vec<u8> = (0..24).flat_map(|i| f64::from(i).to_le_bytes()).collect();
    for packed in [false, true] {
        let whole = npz_of(&[("x", npy("<f8", 12, 2, &numbers))], packed);
        let read = |bytes: &[u8]| in_file("a.npz", bytes, |path| npz(path, [&["x"]]));
        assert_eq!(read(&whole).unwrap()[0].count(), 12);
        let mut damaged = whole.clone();
        // In the numbers: after the names and the header of the array.
        damaged[if packed { 150 } else { 140 }] ^= 1;
        let error = read(&damaged).unwrap_err();
        assert!(error.contains("a.npz: x.npy: ") && error.contains("fetch the file again"), "{error}");
    }
    let longer = npz_of(&[("x", npy("<f8", 11, 2, &numbers))], false);
    let error = in_file("a.npz", &longer, |path| npz(path, [&["x"]])).unwrap_err();
    assert!(error.contains("192 bytes of numbers, and its header announces 176"), "{error}");
}
