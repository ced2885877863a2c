//! Tensor files in the format of safetensors, written and read a piece at a time: no array need be in memory whole.
//! Matrices are row-major in the file, as other tools read them.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use relgrad_kernels::{Dtype, Scalar};
use relgrad_reports::writer::write_atomically_by;
use safetensors::Dtype as TensorType;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use super::sealed::damaged;
use crate::error::{Error, Result};

/// The tensor file that belongs to a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tensors {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) crc32: u32,
}

/// An array of a file, wherever its numbers are.
pub(super) struct Named<A> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) array: A,
}

/// What takes numbers on their way to a file, row-major.
pub(super) type Put<'a, T> = &'a mut dyn FnMut(&[T]) -> io::Result<()>;

/// Writes a file of these arrays, whole or not at all: `numbers` hands over those of one array after another.
pub(super) fn write<T: Scalar, A>(
    path: &Path,
    arrays: &[Named<A>],
    mut numbers: impl FnMut(&A, Put<'_, T>) -> io::Result<()>,
) -> Result<Tensors> {
    let header = header::<T, A>(arrays).map_err(|cause| Error::output(path, cause))?;
    let (mut checksum, mut bytes) = (crc32fast::Hasher::new(), 0);
    let write = |file: &mut File| {
        let mut file = BufWriter::new(file);
        let mut put = |piece: &[u8]| {
            checksum.update(piece);
            bytes += piece.len() as u64;
            file.write_all(piece)
        };
        put(&header)?;
        for Named { array, .. } in arrays {
            numbers(array, &mut |piece: &[T]| put(&to_bytes(piece)))?;
        }
        file.flush()
    };
    write_atomically_by(path, write).map_err(|cause| Error::Output(cause.to_string()))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Tensors { file, bytes, crc32: checksum.finalize() })
}

/// Arrays in their order in a file.
pub(super) fn in_order<A>(mut arrays: Vec<Named<A>>) -> Vec<Named<A>> {
    arrays.sort_by(|a, b| a.name.cmp(&b.name));
    arrays
}

fn header<T: Scalar, A>(arrays: &[Named<A>]) -> std::result::Result<Vec<u8>, String> {
    let mut end = 0;
    let place = |Named { name, shape, .. }: &Named<A>| {
        let start = end;
        end += shape.iter().product::<usize>() * T::DTYPE.bytes();
        (name.clone(), TensorInfo { dtype: tensor_type::<T>(), shape: shape.clone(), data_offsets: (start, end) })
    };
    let metadata = Metadata::new(None, arrays.iter().map(place).collect()).map_err(|cause| cause.to_string())?;
    let mut json = serde_json::to_vec(&metadata).map_err(|cause| cause.to_string())?;
    // The numbers begin at a multiple of eight bytes.
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

/// A file that is read a piece at a time.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the numbers begin.
    start: u64,
}

impl Reader {
    /// Opens the file of a checkpoint, of which length, checksum and arrays must be as they should.
    pub(super) fn open<T: Scalar, A>(path: PathBuf, tensors: &Tensors, arrays: &[Named<A>]) -> Result<Self> {
        require_whole(&path, tensors)?;
        let read = || -> std::result::Result<_, String> {
            let failed = |cause: io::Error| cause.to_string();
            let mut file = File::open(&path).map_err(failed)?;
            let mut length = [0; 8];
            file.read_exact(&mut length).map_err(failed)?;
            let length = u64::from_le_bytes(length);
            let start =
                length.checked_add(8).filter(|start| *start <= tensors.bytes).ok_or("its header is too long")?;
            let mut header = Vec::new();
            header.try_reserve_exact(length as usize).map_err(|cause| cause.to_string())?;
            Read::by_ref(&mut file).take(length).read_to_end(&mut header).map_err(failed)?;
            let metadata: Metadata = serde_json::from_slice(&header).map_err(|cause| cause.to_string())?;
            if metadata.data_len() as u64 != tensors.bytes - start {
                return Err("it is shorter or longer than its header says".to_string());
            }
            Ok(Self { path: path.clone(), file, metadata, start })
        };
        let reader = read().map_err(|cause| damaged(&path, cause))?;
        for Named { name, shape, .. } in arrays {
            let fits = |info: &&TensorInfo| info.shape == *shape && info.dtype == tensor_type::<T>();
            if reader.metadata.info(name).filter(fits).is_none() {
                return Err(damaged(&path, format!("it has no {name} of shape {shape:?} in {}", T::DTYPE)));
            }
        }
        Ok(reader)
    }

    /// `count` numbers of an array from the one at `first` on, row-major.
    pub(super) fn numbers<T: Scalar>(&mut self, name: &str, first: usize, count: usize) -> Result<Vec<T>> {
        let from = self.metadata.info(name).map_or(0, |info| info.data_offsets.0) + first * T::DTYPE.bytes();
        let mut bytes = vec![0; count * T::DTYPE.bytes()];
        let at = self.file.seek(SeekFrom::Start(self.start + from as u64));
        let read = at.and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|cause| Error::input(&self.path, cause))?;
        let numbers = from_bytes::<T>(&bytes);
        if numbers.iter().all(|x| x.widen().is_finite()) {
            return Ok(numbers);
        }
        Err(damaged(&self.path, format!("{name} has a value that is not finite")))
    }
}

/// Refuses a file of another length or checksum.
fn require_whole(path: &Path, tensors: &Tensors) -> Result<()> {
    let facts = path.symlink_metadata().map_err(|cause| damaged(path, cause))?;
    if !facts.is_file() || facts.len() != tensors.bytes {
        return Err(damaged(path, format!("{} bytes instead of {}", facts.len(), tensors.bytes)));
    }
    let mut file = File::open(path).map_err(|cause| Error::input(path, cause))?;
    let (mut checksum, mut piece) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).map_err(|cause| Error::input(path, cause))? {
            0 => break,
            count => checksum.update(&piece[..count]),
        }
    }
    if checksum.finalize() == tensors.crc32 { Ok(()) } else { Err(damaged(path, "its checksum does not fit")) }
}

pub(super) fn tensor_type<T: Scalar>() -> TensorType {
    match T::DTYPE {
        Dtype::F32 => TensorType::F32,
        Dtype::F64 => TensorType::F64,
    }
}

/// Column-major rows×columns to row-major, or the other way round with the two exchanged.
pub(super) fn transposed<T: Scalar>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..rows).flat_map(|i| (0..columns).map(move |j| values[i + j * rows])).collect()
}

fn to_bytes<T: Scalar>(values: &[T]) -> Vec<u8> {
    match T::DTYPE {
        Dtype::F32 => values.iter().flat_map(|x| (x.widen() as f32).to_le_bytes()).collect(),
        Dtype::F64 => values.iter().flat_map(|x| x.widen().to_le_bytes()).collect(),
    }
}

pub(super) fn from_bytes<T: Scalar>(bytes: &[u8]) -> Vec<T> {
    match T::DTYPE {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| T::of(f64::from(f32::from_le_bytes(*b)))).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| T::of(f64::from_le_bytes(*b))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    /// Written a piece at a time it is what the crate of the format writes at once, and reads back in pieces.
    #[test]
    fn a_file_in_pieces_is_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-3.safetensors");
        let numbers: Vec<f32> = (0..36).map(|i| i as f32 / 7.0).collect();
        let named = |name: &str, shape: &[usize]| Named { name: name.to_string(), shape: shape.to_vec(), array: () };
        let arrays = in_order(vec![named("layer2.weight", &[6, 6]), named("layer10.weight", &[4, 9])]);
        let pieces = |(): &(), put: Put<'_, f32>| numbers.chunks(5).try_for_each(put);
        let tensors = write(&path, &arrays, pieces).unwrap();
        let bytes: Vec<u8> = to_bytes(&numbers);
        let view = |shape: &[usize]| TensorView::new(TensorType::F32, shape.to_vec(), &bytes).unwrap();
        let views = [("layer2.weight", view(&[6, 6])), ("layer10.weight", view(&[4, 9]))];
        assert_eq!(std::fs::read(&path).unwrap(), safetensors::serialize(views, None).unwrap());
        let mut reader = Reader::open::<f32, _>(path.clone(), &tensors, &arrays).unwrap();
        assert_eq!(reader.numbers::<f32>("layer2.weight", 6, 12).unwrap(), numbers[6..18]);
        for (other, part) in [
            (Tensors { bytes: 7, ..tensors.clone() }, "bytes instead of 7"),
            (Tensors { crc32: 7, ..tensors.clone() }, "its checksum does not fit"),
        ] {
            let told = Reader::open::<f32, _>(path.clone(), &other, &arrays).err().unwrap().to_string();
            assert!(told.contains(part), "{told}");
        }
        let told = Reader::open::<f64, _>(path.clone(), &tensors, &arrays).err().unwrap().to_string();
        assert!(told.contains("no layer10.weight of shape [4, 9] in f64"), "{told}");
        write::<f32, _>(&path, &arrays, |(), put| put(&[f32::NAN; 36])).unwrap();
        let tensors = Tensors { crc32: crc32fast::hash(&std::fs::read(&path).unwrap()), ..tensors };
        let mut reader = Reader::open::<f32, _>(path, &tensors, &arrays).unwrap();
        assert!(reader.numbers::<f32>("layer2.weight", 0, 1).unwrap_err().to_string().contains("not finite"));
    }
}
