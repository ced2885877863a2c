//! NumPy's npy format: a header in the notation of a Python dictionary, then the numbers (NumPy, "NEP 1").

use std::io::Read;

use super::{Samples, open};
use crate::console::quoted;

/// What a header says.
#[derive(Debug, PartialEq)]
struct Header {
    /// Byte order, kind and width, such as `<f8`.
    kind: String,
    /// Whether the numbers of a column stand together, not those of a row.
    by_column: bool,
    shape: Vec<usize>,
    /// Bytes up to the numbers.
    length: usize,
}

/// A matrix, one sample a row, whatever the type and order of its numbers; `bytes` is the length of the whole stream,
/// which must be what the header announces.
pub(crate) fn read(mut reader: impl Read, bytes: u64) -> Result<Samples, String> {
    let header = header(&mut reader)?;
    let [rows, columns] = header.shape[..] else {
        return Err(format!("its array has {} dimensions; samples are the rows of a matrix", header.shape.len()));
    };
    if rows == 0 || columns == 0 {
        return Err("its array is empty".to_string());
    }
    let (convert, width) = converter(&header.kind)?;
    let count = rows.checked_mul(columns).ok_or("its shape is impossible")?;
    let expected = count.checked_mul(width).ok_or("its shape is impossible")?;
    let found = bytes.saturating_sub(header.length as u64);
    if found != expected as u64 {
        return Err(format!(
            "it has {found} bytes of numbers, and its header announces {expected}; fetch the file again"
        ));
    }
    open::require_memory(count as u64)?;
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|cause| cause.to_string())?;
    values.resize(count, 0.0);
    let place = |i: usize| if header.by_column { i % rows * columns + i / rows } else { i };
    let mut block = [0; BLOCK];
    let mut i = 0;
    while i < count {
        let part = &mut block[..width * (BLOCK / width).min(count - i)];
        reader.read_exact(part).map_err(|cause| open::reason(&cause))?;
        for number in part.chunks_exact(width) {
            values[place(i)] = convert(number);
            i += 1;
        }
    }
    // To the end of the stream, where containers compare their checksums.
    match reader.read(&mut block[..1]) {
        Ok(0) => Ok(Samples { dim: columns, values }),
        Ok(_) => Err("it goes on after its numbers; fetch the file again".to_string()),
        Err(cause) => Err(open::reason(&cause)),
    }
}

/// Bytes converted at a time, a multiple of every width.
const BLOCK: usize = 1 << 15;

fn header(reader: &mut impl Read) -> Result<Header, String> {
    const LONGEST: usize = 1 << 16;
    let mut read = |bytes: &mut [u8]| reader.read_exact(bytes).map_err(|cause| open::reason(&cause));
    let mut start = [0; 8];
    read(&mut start)?;
    if !start.starts_with(b"\x93NUMPY") {
        return Err("it is no array of NumPy's".to_string());
    }
    // Two bytes of length in version 1, four since.
    let width = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(format!("its version is {version}; 1 to 3 are read")),
    };
    let mut length = [0; 4];
    read(&mut length[..width])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err("its header is too long".to_string());
    }
    let mut text = vec![0; length];
    read(&mut text)?;
    Ok(Header { length: start.len() + width + length, ..parse(&String::from_utf8_lossy(&text))? })
}

/// `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }`
fn parse(text: &str) -> Result<Header, String> {
    let after = |key: &str| text.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ']));
    let parsed = || {
        let kind = after("'descr'")?.strip_prefix('\'')?.split('\'').next()?.to_string();
        let order = after("'fortran_order'")?;
        let by_column = order.starts_with("True");
        let shape = after("'shape'")?.strip_prefix('(')?.split(')').next()?;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
        (by_column || order.starts_with("False")).then_some(Header { kind, by_column, shape, length: 0 })
    };
    parsed().ok_or_else(|| format!("its header is `{}`", quoted(text)))
}

/// From the bytes of one number to an f64, and how many they are.
type Converter = (fn(&[u8]) -> f64, usize);

fn converter(kind: &str) -> Result<Converter, String> {
    macro_rules! of {
        ($number:ty) => {
            (|bytes| <$number>::from_le_bytes(bytes.try_into().unwrap_or_default()) as f64, size_of::<$number>())
        };
    }
    Ok(match kind {
        "<f8" => of!(f64),
        "<f4" => of!(f32),
        "|u1" => of!(u8),
        "|i1" => of!(i8),
        "<u2" => of!(u16),
        "<i2" => of!(i16),
        "<u4" => of!(u32),
        "<i4" => of!(i32),
        "<u8" => of!(u64),
        "<i8" => of!(i64),
        _ => {
            let kind = quoted(kind);
            return Err(format!("its numbers are `{kind}`; save them as float64 or float32, little-endian"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::{npy, npy_with};
    use super::*;

    fn all(bytes: &[u8]) -> Result<Samples, String> {
        read(bytes, bytes.len() as u64)
    }

    fn bytes<const N: usize>(number: impl Fn(u8) -> [u8; N]) -> Vec<u8> {
        (1..5).flat_map(number).collect()
    }

    #[test]
    fn every_kind_of_number_becomes_the_same_matrix() {
        let expected = Samples { dim: 2, values: vec![1.0, 2.0, 3.0, 4.0] };
        for (kind, numbers) in [
            ("<f8", bytes(|x| f64::from(x).to_le_bytes())),
            ("<f4", bytes(|x| f32::from(x).to_le_bytes())),
            ("|u1", bytes(u8::to_le_bytes)),
            ("<i4", bytes(|x| i32::from(x).to_le_bytes())),
        ] {
            assert_eq!(all(&npy(kind, 2, 2, &numbers)), Ok(expected.clone()), "{kind}");
        }
        let by_column = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }\n";
        assert_eq!(all(&npy_with(by_column, &[1, 3, 2, 4])), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let of = |kind: &str, shape: &str, count: usize| {
            let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
            npy_with(&header, &vec![0; count])
        };
        let cases = [
            (of("<f8", "(2, 2)", 31), "31 bytes of numbers, and its header announces 32"),
            (of("<f8", "(4,)", 32), "rows of a matrix"),
            (of("<f8", "(0, 2)", 0), "empty"),
            (of(">f8", "(2, 2)", 32), "`>f8`"),
            (of("|O", "(2, 2)", 32), "`|O`"),
            (of("<f8", "(x, 2)", 32), "header"),
            (of("<f8", "(2, 2)", 33), "33 bytes of numbers"),
            (of("<f8", "(1000000000000000, 2)", 32), "announces 16000000000000000"),
            (of("<f8", "(4294967296, 4294967296)", 32), "impossible"),
            (of("\u{1b}[2J", "(2, 2)", 32), "`\\x1b[2J`"),
            (npy_with(&"x".repeat(60_000), &[0; 32]), "xxx…`"),
            (b"\x93NUMPY\x01\x00\xff\xff".to_vec(), "ends too early"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "too long"),
            (b"PK".to_vec(), "ends too early"),
            (vec![0; 64], "no array"),
        ];
        for (bytes, part) in cases {
            let error = all(&bytes).unwrap_err();
            assert!(error.contains(part) && error.len() < 200, "{error} for {part}");
        }
    }
}
