//! Reading: at no time is more memory held than the file can fill.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use ndarray::ArrayD;
use sha2::{Digest, Sha256};

use super::gunzip::{Gunzip, TrailingGarbage};
use super::header::{Header, fill};
use super::{ElementType, Idx, IdxElement, IdxError, IdxProblem};
use crate::text::hex;

/// Values are converted in pieces of this many bytes, a whole number of elements of any type.
const PIECE: usize = 16 * 1024;

const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// Reads an IDX file of `T`, gzipped or not (seen by its first two bytes, not by its name).
///
/// # Errors
///
/// [`IdxError`] naming the file, the place and the remedy when the file is malformed, holds other elements than `T`,
/// promises more than 1 GiB (see [`IdxReader::max_bytes`]), or cannot be read.
///
/// ```
/// use mnist_io::{read_idx, write_idx};
/// use ndarray::arr2;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("square-idx2-short.gz");
/// write_idx(&path, &arr2(&[[1_i16, 2], [3, 4]]))?;
/// let square = read_idx::<i16>(&path)?;
/// assert_eq!(square[[1, 0]], 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_idx<T: IdxElement>(path: impl AsRef<Path>) -> Result<ArrayD<T>, IdxError> {
    IdxReader::new().read(path)
}

/// Reads a stream of `T` to its end, gzipped or not.
///
/// # Errors
///
/// As [`read_idx`].
///
/// ```
/// let file = [0, 0, 0x08, 1, 0, 0, 0, 2, 7, 9];
/// let array = mnist_io::read_idx_from::<u8>(file.as_slice())?;
/// assert_eq!(array.as_slice(), Some(&[7, 9][..]));
/// # Ok::<(), mnist_io::IdxError>(())
/// ```
pub fn read_idx_from<T: IdxElement>(input: impl Read) -> Result<ArrayD<T>, IdxError> {
    IdxReader::new().read_from(input)
}

/// Reads IDX files, with a limit on what one may hold.
///
/// ```
/// use mnist_io::IdxReader;
///
/// let file = [0, 0, 0x08, 1, 0, 0, 0, 2, 7, 9];
/// let reader = IdxReader::new().max_bytes(1);
/// let error = reader.read_from::<u8>(file.as_slice()).unwrap_err();
/// assert!(error.to_string().contains("the header promises 2 = 2 bytes, the limit is 1: "));
/// ```
#[derive(Debug, Clone)]
pub struct IdxReader {
    max_bytes: u64,
    /// Whether to compute the SHA-256 of what is read.
    summed: bool,
}

impl Default for IdxReader {
    fn default() -> Self {
        Self { max_bytes: DEFAULT_MAX_BYTES, summed: false }
    }
}

impl IdxReader {
    /// A reader with the default limit, 1 GiB.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses files that promise more than `limit` bytes of elements, decompressed.
    #[must_use]
    pub fn max_bytes(mut self, limit: u64) -> Self {
        self.max_bytes = limit;
        self
    }

    /// As [`read_idx`].
    ///
    /// # Errors
    ///
    /// As [`read_idx`].
    pub fn read<T: IdxElement>(&self, path: impl AsRef<Path>) -> Result<ArrayD<T>, IdxError> {
        self.at(path.as_ref(), Stream::values)
    }

    /// As [`read_idx_from`].
    ///
    /// # Errors
    ///
    /// As [`read_idx`].
    pub fn read_from<T: IdxElement>(&self, input: impl Read) -> Result<ArrayD<T>, IdxError> {
        self.open(input, None).and_then(Stream::values).map_err(IdxError::unnamed)
    }

    /// As [`Idx::read`].
    ///
    /// # Errors
    ///
    /// As [`read_idx`], but whatever the element type.
    pub fn read_any(&self, path: impl AsRef<Path>) -> Result<Idx, IdxError> {
        self.at(path.as_ref(), Stream::any)
    }

    /// As [`Idx::read_from`].
    ///
    /// # Errors
    ///
    /// As [`IdxReader::read_any`].
    pub fn read_any_from(&self, input: impl Read) -> Result<Idx, IdxError> {
        self.open(input, None).and_then(Stream::any).map_err(IdxError::unnamed)
    }

    /// The array, and the SHA-256 of the whole decompressed file.
    pub(crate) fn read_hashed<T: IdxElement>(&self, path: &Path) -> Result<(ArrayD<T>, String), IdxError> {
        self.summed().at(path, Stream::values_and_sum)
    }

    /// As [`IdxReader::read_hashed`], from memory.
    #[cfg(feature = "sample")]
    pub(crate) fn read_hashed_from<T: IdxElement>(&self, file: &[u8]) -> Result<(ArrayD<T>, String), IdxError> {
        self.summed().open(file, None).and_then(Stream::values_and_sum).map_err(IdxError::unnamed)
    }

    fn summed(&self) -> Self {
        Self { summed: true, ..self.clone() }
    }

    fn at<A>(&self, path: &Path, read: impl FnOnce(Stream<'static>) -> Result<A, IdxProblem>) -> Result<A, IdxError> {
        File::open(path)
            .and_then(|file| Ok((file.metadata()?, file)))
            .map_err(IdxProblem::Open)
            .and_then(|(about, file)| {
                let length = (about.is_file() && about.len() > 0).then_some(about.len());
                read(self.open(file, length)?)
            })
            .map_err(|problem| IdxError::new(path.display().to_string(), problem))
    }

    /// Reads the header and compares what it promises with the limit and, where that is known, with the length.
    fn open<'a>(&self, input: impl Read + 'a, length: Option<u64>) -> Result<Stream<'a>, IdxProblem> {
        let (bytes, zipped) = decompressed(input).map_err(|error| IdxProblem::Read { offset: 0, error })?;
        let mut bytes = Tap::new(bytes, zipped, self.summed);
        let header = Header::read(&mut bytes).map_err(|problem| bytes.place(problem))?;
        let known = length.filter(|_| !zipped);
        if let Some(length) = known {
            let found = length.saturating_sub(header.length());
            if found < header.payload() {
                return Err(header.truncated(found));
            }
            if found > header.payload() {
                return Err(header.trailing());
            }
        }
        if header.payload() > self.max_bytes {
            return Err(IdxProblem::TooLarge { shape: header.sizes, element: header.element, limit: self.max_bytes });
        }
        Ok(Stream { bytes, header, known: known.is_some() })
    }
}

/// The SHA-256 of what a gzip file holds, of which at most `limit` bytes are read.
/// `None` when there is more, an error when the file is damaged.
#[cfg(feature = "download")]
pub(crate) fn uncompressed_sum(gzip: impl io::BufRead, limit: u64) -> io::Result<Option<String>> {
    let mut bytes = Tap::new(Box::new(Gunzip::new(gzip)), true, true);
    io::copy(&mut (&mut bytes).take(limit.saturating_add(1)), &mut io::sink())?;
    Ok((bytes.offset <= limit).then(|| bytes.sum()))
}

/// Looks at the first two bytes and decompresses if they are gzip's; says whether they are.
fn decompressed<'a>(input: impl Read + 'a) -> io::Result<(Box<dyn Read + 'a>, bool)> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut start = [0; 2];
    let got = fill(&mut input, &mut start)?;
    let start: Vec<u8> = start.into_iter().take(got).collect();
    let zipped = start == [0x1f, 0x8b];
    let whole = io::Cursor::new(start).chain(input);
    Ok(if zipped { (Box::new(Gunzip::new(whole)), true) } else { (Box::new(whole), false) })
}

/// Passes bytes on, counts them and, where that is wanted, sums them.
struct Tap<'a> {
    input: Box<dyn Read + 'a>,
    /// Whether the input is a decompressor.
    zipped: bool,
    offset: u64,
    sum: Option<Sha256>,
}

impl<'a> Tap<'a> {
    fn new(input: Box<dyn Read + 'a>, zipped: bool, summed: bool) -> Self {
        Self { input, zipped, offset: 0, sum: summed.then(Sha256::new) }
    }

    /// The sum in hexadecimal; empty if none was wanted.
    fn sum(self) -> String {
        self.sum.map_or_else(String::new, |sum| hex(&sum.finalize()))
    }

    /// Tells damaged gzip data from a failing disk, both of which reach us as a [`IdxProblem::Read`].
    fn place(&self, problem: IdxProblem) -> IdxProblem {
        let IdxProblem::Read { error, .. } = problem else {
            return problem;
        };
        let offset = self.offset;
        if error.get_ref().is_some_and(|inner| inner.is::<TrailingGarbage>()) {
            return IdxProblem::GzipTrailing { offset };
        }
        match error.kind() {
            _ if !self.zipped => IdxProblem::Read { offset, error },
            io::ErrorKind::UnexpectedEof => IdxProblem::GzipTruncated { offset },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                IdxProblem::Gzip { offset, reason: error.to_string() }
            }
            _ => IdxProblem::Read { offset, error },
        }
    }
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        if let Some(sum) = &mut self.sum {
            sum.update(buffer.get(..n).unwrap_or_default());
        }
        self.offset += n as u64;
        Ok(n)
    }
}

/// A file whose header has been read and believed.
struct Stream<'a> {
    bytes: Tap<'a>,
    header: Header,
    /// Whether the promised bytes are known to be there.
    known: bool,
}

impl Stream<'_> {
    fn any(self) -> Result<Idx, IdxProblem> {
        Ok(match self.header.element {
            ElementType::U8 => Idx::U8(self.values()?),
            ElementType::I8 => Idx::I8(self.values()?),
            ElementType::I16 => Idx::I16(self.values()?),
            ElementType::I32 => Idx::I32(self.values()?),
            ElementType::F32 => Idx::F32(self.values()?),
            ElementType::F64 => Idx::F64(self.values()?),
        })
    }

    fn values<T: IdxElement>(mut self) -> Result<ArrayD<T>, IdxProblem> {
        self.read_values()
    }

    fn values_and_sum<T: IdxElement>(mut self) -> Result<(ArrayD<T>, String), IdxProblem> {
        let array = self.read_values()?;
        Ok((array, self.bytes.sum()))
    }

    fn read_values<T: IdxElement>(&mut self) -> Result<ArrayD<T>, IdxProblem> {
        let header = &self.header;
        if header.element != T::TYPE {
            return Err(IdxProblem::WrongElementType { expected: T::TYPE, found: header.element });
        }
        let out_of_memory = || IdxProblem::OutOfMemory { shape: header.sizes.clone(), element: header.element };

        let mut values: Vec<T> = Vec::new();
        if self.known {
            values.try_reserve_exact(header.count).map_err(|_| out_of_memory())?;
        }
        let mut piece = [0; PIECE];
        let mut left = header.payload();
        while left > 0 {
            let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = piece.get_mut(..want).unwrap_or_default();
            let got = fill(&mut self.bytes, piece).map_err(|error| IdxProblem::Read { offset: 0, error });
            let got = got.map_err(|problem| self.bytes.place(problem))?;
            if got < want {
                return Err(header.truncated(header.payload() - left + got as u64));
            }
            make_room(&mut values, want / T::TYPE.size(), header.count).map_err(|_| out_of_memory())?;
            T::append(&mut values, piece);
            left -= want as u64;
        }
        match fill(&mut self.bytes, &mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(header.trailing()),
            Err(error) => return Err(self.bytes.place(IdxProblem::Read { offset: 0, error })),
        }
        // The count was made from the shape, so this fits; were it not so, the header would be to blame.
        ArrayD::from_shape_vec(header.shape.clone(), values)
            .map_err(|_| IdxProblem::Overflow { shape: header.sizes.clone(), element: header.element })
    }
}

/// Makes room for `more` values: twice the room so far at most, and never more than the promised `count`.
/// So what a stream makes us reserve is in proportion to what it has delivered.
fn make_room<T>(values: &mut Vec<T>, more: usize, count: usize) -> Result<(), std::collections::TryReserveError> {
    let needed = values.len() + more;
    if needed <= values.capacity() {
        return Ok(());
    }
    let room = (2 * values.capacity()).max(needed).min(count);
    values.try_reserve_exact(room - values.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that promises a terabyte and then delivers zeros for ever, counting them.
    struct Endless<'a> {
        header: &'a [u8],
        delivered: u64,
    }

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.header.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            buffer.fill(0);
            self.delivered += buffer.len() as u64;
            Ok(buffer.len())
        }
    }

    #[test]
    fn the_room_is_in_proportion_to_what_has_arrived() {
        let mut values: Vec<u8> = Vec::new();
        let count = 1_000_000_000;
        for arrived in (PIECE..2_000_000).step_by(PIECE) {
            make_room(&mut values, PIECE, count).unwrap();
            values.resize(arrived, 0);
            assert!(values.capacity() <= 2 * arrived.max(PIECE), "{} for {arrived}", values.capacity());
        }
        let mut values: Vec<u8> = vec![0; 900];
        values.shrink_to_fit();
        make_room(&mut values, 100, 1000).unwrap();
        assert_eq!(values.capacity(), 1000, "never more than was promised");
    }

    #[test]
    fn a_promise_above_the_limit_is_refused_before_the_data() {
        let header = [0, 0, 8, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
        let mut stream = Endless { header: &header, delivered: 0 };
        let error = IdxReader::new().read_from::<u8>(&mut stream).unwrap_err();
        assert!(matches!(error.problem(), IdxProblem::TooLarge { .. }), "{error}");
        assert!(stream.delivered <= 64 * 1024, "{}", stream.delivered);
    }

    #[test]
    fn an_endless_stream_is_left_at_the_first_byte_too_many() {
        let header = [0, 0, 8, 1, 0, 0, 0, 9];
        let mut stream = Endless { header: &header, delivered: 0 };
        let error = IdxReader::new().read_from::<u8>(&mut stream).unwrap_err();
        assert!(matches!(error.problem(), IdxProblem::Trailing { offset: 17, .. }), "{error}");
        assert!(stream.delivered <= 128 * 1024, "{}", stream.delivered);
    }

    #[test]
    fn a_failing_disk_is_not_a_damaged_file() {
        struct Failing(io::ErrorKind);
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(self.0, "the disk is on fire"))
            }
        }
        for kind in [io::ErrorKind::Other, io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
            let start: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 9, 1, 2];
            let error = IdxReader::new().read_from::<u8>(start.chain(Failing(kind))).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the IDX data: cannot be read at byte 10: the disk is on fire; try again, or copy the file to another \
                 disk"
            );
        }
    }
}
