//! NumPy's npy format: a header in the notation of a Python dictionary, then the numbers (NumPy, "NEP 1").

use std::io::{self, Read};

use super::Samples;

/// What a header says.
#[derive(Debug, PartialEq)]
struct Header {
    /// Byte order, kind and width, such as `<f8`.
    kind: String,
    shape: Vec<usize>,
}

/// A matrix, one sample a row, whatever the type of its numbers.
///
/// # Errors
/// In a sentence, what is wrong with the stream or cannot be read.
pub(crate) fn read(mut reader: impl Read) -> Result<Samples, String> {
    let header = header(&mut reader)?;
    let [rows, columns] = header.shape[..] else {
        return Err(format!("its array has shape {:?}; samples are the rows of a matrix", header.shape));
    };
    if rows == 0 || columns == 0 {
        return Err("its array is empty".to_string());
    }
    let convert = converter(&header.kind)?;
    let width: usize = header.kind[2..].parse().map_err(|_| unknown(&header.kind))?;
    let expected =
        rows.checked_mul(columns).and_then(|n| n.checked_mul(width)).ok_or("its shape is impossible")?;
    let mut bytes = Vec::new();
    reader.take(expected as u64).read_to_end(&mut bytes).map_err(said)?;
    if bytes.len() != expected {
        return Err(format!("it ends after {} of {expected} bytes of numbers", bytes.len()));
    }
    Ok(Samples { dim: columns, values: bytes.chunks_exact(width).map(convert).collect() })
}

fn said(cause: io::Error) -> String {
    cause.to_string()
}

fn unknown(kind: &str) -> String {
    format!("its numbers are `{kind}`; save them as float64 or float32, little-endian")
}

fn header(reader: &mut impl Read) -> Result<Header, String> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(said)?;
    if !start.starts_with(b"\x93NUMPY") {
        return Err("it is no array of NumPy's".to_string());
    }
    let length = if start[6] == 1 {
        let mut length = [0; 2];
        reader.read_exact(&mut length).map_err(said)?;
        usize::from(u16::from_le_bytes(length))
    } else {
        let mut length = [0; 4];
        reader.read_exact(&mut length).map_err(said)?;
        u32::from_le_bytes(length) as usize
    };
    const LONGEST: usize = 1 << 16;
    if length > LONGEST {
        return Err("its header is too long".to_string());
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).map_err(said)?;
    parse(&String::from_utf8_lossy(&text))
}

/// `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }`
fn parse(text: &str) -> Result<Header, String> {
    let after = |key: &str| text.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ']));
    let broken = || format!("its header is `{}`", text.trim());
    let kind =
        after("'descr'").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next()).ok_or_else(broken)?;
    if !after("'fortran_order'").ok_or_else(broken)?.starts_with("False") {
        return Err("its array is in Fortran order; save numpy.ascontiguousarray of it".to_string());
    }
    let shape =
        after("'shape'").and_then(|rest| rest.strip_prefix('(')?.split(')').next()).ok_or_else(broken)?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_err(|_| broken())).collect::<Result<_, _>>()?;
    Ok(Header { kind: kind.to_string(), shape })
}

/// From the bytes of one number to an f64.
fn converter(kind: &str) -> Result<fn(&[u8]) -> f64, String> {
    macro_rules! of {
        ($number:ty) => {
            |bytes| <$number>::from_le_bytes(bytes.try_into().unwrap_or_default()) as f64
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
        _ => return Err(unknown(kind)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(header: &str, numbers: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), numbers].concat()
    }

    fn dictionary(kind: &str, shape: &str) -> String {
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n")
    }

    #[test]
    fn every_kind_of_number_becomes_the_same_matrix() {
        let expected = Samples { dim: 2, values: vec![1.0, 2.0, 3.0, 4.0] };
        let kinds: [(&str, Vec<u8>); 4] = [
            ("<f8", [1.0, 2.0, 3.0, 4.0].iter().flat_map(|x: &f64| x.to_le_bytes()).collect()),
            ("<f4", [1.0, 2.0, 3.0, 4.0].iter().flat_map(|x: &f32| x.to_le_bytes()).collect()),
            ("|u1", vec![1, 2, 3, 4]),
            ("<i4", [1, 2, 3, 4].iter().flat_map(|x: &i32| x.to_le_bytes()).collect()),
        ];
        for (kind, numbers) in kinds {
            assert_eq!(
                read(&stream(&dictionary(kind, "(2, 2)"), &numbers)[..]),
                Ok(expected.clone()),
                "{kind}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let cases = [
            (stream(&dictionary("<f8", "(2, 2)"), &[0; 31]), "ends after 31 of 32 bytes"),
            (stream(&dictionary("<f8", "(4,)"), &[0; 32]), "rows of a matrix"),
            (stream(&dictionary("<f8", "(0, 2)"), &[]), "empty"),
            (stream(&dictionary(">f8", "(2, 2)"), &[0; 32]), "`>f8`"),
            (stream(&dictionary("|O", "(2, 2)"), &[0; 32]), "`|O`"),
            (stream(&dictionary("<f8", "(x, 2)"), &[0; 32]), "header"),
            (stream("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 2), }", &[0; 32]), "Fortran"),
            (b"PK".to_vec(), "fill whole buffer"),
            (vec![0; 64], "no array"),
        ];
        for (bytes, part) in cases {
            let error = read(&bytes[..]).unwrap_err();
            assert!(error.contains(part), "{error} for {part}");
        }
    }
}
