//! Writing.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::{ArrayRef, Dimension};

use super::{IdxElement, IdxError, IdxProblem, MAX_RANK};
use crate::atomic;

/// Writes an array as an IDX file, gzipped when the name ends in `.gz`.
///
/// The file appears whole or not at all (a temporary file in the same folder, fsync, rename), and replaces one of
/// that name. Owned arrays and views of any memory layout are written alike.
///
/// # Errors
///
/// [`IdxError`] when the array has no dimension, more than 8, or one above 2³² − 1, or when the file cannot be
/// written.
///
/// ```
/// use mnist_io::{read_idx, write_idx};
/// use ndarray::arr2;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights-idx2-float");
/// let weights = arr2(&[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
/// write_idx(&path, &weights.t())?;
/// assert_eq!(read_idx::<f32>(&path)?.shape(), [3, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_idx<T: IdxElement, D: Dimension>(path: impl AsRef<Path>, array: &ArrayRef<T, D>) -> Result<(), IdxError> {
    let path = path.as_ref();
    let named = |problem| IdxError::new(path.display().to_string(), problem);
    let header = header(array).map_err(named)?;
    let zipped = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    write_file(path, zipped, |output| write_elements(output, &header, array))
        .map_err(|error| named(IdxProblem::Write(error)))
}

/// Writes the plain bytes of an IDX file. (For gzip, wrap the output in a compressor.)
///
/// # Errors
///
/// As [`write_idx`].
///
/// ```
/// use ndarray::arr1;
///
/// let mut file = Vec::new();
/// mnist_io::write_idx_to(&mut file, &arr1(&[-1_i32]))?;
/// assert_eq!(file, [0, 0, 0x0C, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]);
/// # Ok::<(), mnist_io::IdxError>(())
/// ```
pub fn write_idx_to<T: IdxElement, D: Dimension>(
    mut output: impl Write,
    array: &ArrayRef<T, D>,
) -> Result<(), IdxError> {
    let header = header(array).map_err(IdxError::unnamed)?;
    write_elements(&mut output, &header, array)
        .and_then(|()| output.flush())
        .map_err(|error| IdxError::unnamed(IdxProblem::Write(error)))
}

fn header<T: IdxElement, D: Dimension>(array: &ArrayRef<T, D>) -> Result<Vec<u8>, IdxProblem> {
    let shape = array.shape();
    let unwritable = || IdxProblem::Unwritable { shape: shape.to_vec() };
    if !(1..=MAX_RANK).contains(&shape.len()) {
        return Err(unwritable());
    }
    let rank = u8::try_from(shape.len()).map_err(|_| unwritable())?;
    let mut bytes = vec![0, 0, T::TYPE.code(), rank];
    for &size in shape {
        let size = u32::try_from(size).map_err(|_| unwritable())?;
        bytes.extend_from_slice(&size.to_be_bytes());
    }
    Ok(bytes)
}

fn write_elements<T: IdxElement, D: Dimension>(
    output: &mut dyn Write,
    header: &[u8],
    array: &ArrayRef<T, D>,
) -> io::Result<()> {
    const PIECE: usize = 16 * 1024;
    output.write_all(header)?;
    let mut piece = Vec::with_capacity(PIECE + 8);
    for &element in array {
        element.append_to(&mut piece);
        if piece.len() >= PIECE {
            output.write_all(&piece)?;
            piece.clear();
        }
    }
    output.write_all(&piece)
}

fn write_file(path: &Path, zipped: bool, contents: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = atomic::temporary_beside(path)?;
    if zipped {
        let mut encoder = GzEncoder::new(BufWriter::new(&mut file), Compression::default());
        contents(&mut encoder)?;
        encoder.finish()?.flush()?;
    } else {
        contents(&mut file)?;
    }
    atomic::replace(file, path)
}
