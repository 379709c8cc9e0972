//! Everything that can be wrong with an IDX file.

use std::fmt;
use std::io;

use super::{ElementType, MAX_RANK};
use crate::text::{by, looks_like, thousands};

/// What is wrong with an IDX file, and with which one.
///
/// Displayed as one line: the file, what is wrong at which byte, what to do.
#[derive(Debug)]
pub struct IdxError {
    file: String,
    problem: IdxProblem,
}

impl IdxError {
    pub(crate) fn new(file: impl Into<String>, problem: IdxProblem) -> Self {
        Self { file: file.into(), problem }
    }

    /// For data that came from a stream or from memory.
    pub(crate) fn unnamed(problem: IdxProblem) -> Self {
        Self::new("the IDX data", problem)
    }

    /// The same problem with a better name for the data, say the URL that the stream came from.
    ///
    /// ```
    /// let error = mnist_io::read_idx_from::<u8>(&b""[..]).unwrap_err().named("labels");
    /// assert!(error.to_string().starts_with("labels: "));
    /// ```
    #[must_use]
    pub fn named(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }

    /// The file's path, or the name of the stream.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &IdxProblem {
        &self.problem
    }
}

impl fmt::Display for IdxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.problem)
    }
}

impl std::error::Error for IdxError {}

/// The ways in which an IDX file can be wrong. Offsets count bytes after decompression.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxProblem {
    /// The file cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(io::Error),

    /// The system failed to read; says nothing about the contents.
    #[error("cannot be read at byte {offset}: {error}; try again, or copy the file to another disk")]
    Read {
        /// How far reading got.
        offset: u64,
        /// What the system said.
        error: io::Error,
    },

    /// The file does not start as IDX files do.
    #[error("bytes 0 and 1 are {:02x} {:02x}, an IDX file starts with 00 00: this is not an IDX file{}; \
             delete it and fetch the right one", start[0], start[1], looks_like(start))]
    Magic {
        /// The first four bytes.
        start: [u8; 4],
    },

    /// The file ends inside its header, or is empty.
    #[error("the file ends at byte {length}, inside the header: it is cut short; delete it and fetch it again")]
    Header {
        /// Bytes in the file.
        length: u64,
    },

    /// The third byte names no element type.
    #[error(
        "byte 2 is 0x{code:02x}, which is no element type (0x08, 0x09, 0x0b, 0x0c, 0x0d and 0x0e are): \
             this is not an IDX file, or it is damaged; delete it and fetch it again"
    )]
    ElementType {
        /// The byte.
        code: u8,
    },

    /// The elements are not of the type that was asked for.
    #[error("holds {found} values, {expected} were asked for: read it as {found}")]
    WrongElementType {
        /// Asked for.
        expected: ElementType,
        /// In the file.
        found: ElementType,
    },

    /// The fourth byte promises no dimension, or more than this crate reads.
    #[error(
        "byte 3 promises {rank} dimensions, 1 to {MAX_RANK} can be read: \
             the file is damaged or not for this library; delete it and fetch it again"
    )]
    Rank {
        /// The byte.
        rank: u8,
    },

    /// The sizes in the header multiply to more than this machine can address.
    #[error(
        "the header promises {} {element} elements, more than this machine can address: \
             the header is damaged; delete the file and fetch it again",
        by(shape)
    )]
    Overflow {
        /// The sizes in the header.
        shape: Vec<u32>,
        /// The element type.
        element: ElementType,
    },

    /// The header promises more than the reader's limit.
    #[error("the header promises {}, the limit is {}: the header is damaged, or raise the limit with \
             IdxReader::max_bytes", promise(shape, *element), thousands(*limit))]
    TooLarge {
        /// The sizes in the header.
        shape: Vec<u32>,
        /// The element type.
        element: ElementType,
        /// The most that the reader accepts, in bytes.
        limit: u64,
    },

    /// Fewer elements follow than the header promises.
    #[error("the header promises {}, the file has {}: it is cut short; delete it and fetch it again",
            promise(shape, *element), thousands(*found))]
    Truncated {
        /// The sizes in the header.
        shape: Vec<u32>,
        /// The element type.
        element: ElementType,
        /// Bytes after the header.
        found: u64,
    },

    /// More follows than the header promises.
    #[error("the header promises {}, but the data go on at byte {offset}: the file is damaged; \
             delete it and fetch it again", promise(shape, *element))]
    Trailing {
        /// The sizes in the header.
        shape: Vec<u32>,
        /// The element type.
        element: ElementType,
        /// The first byte that should not be there.
        offset: u64,
    },

    /// The compressed data end before their checksum.
    #[error("the gzip data end early, after {} decompressed bytes: the file is cut short; \
             delete it and fetch it again", thousands(*offset))]
    GzipTruncated {
        /// How far decompression got.
        offset: u64,
    },

    /// The compressed data do not decompress, or not to what the checksum says.
    #[error("the gzip data are damaged, seen after {} decompressed bytes ({reason}): \
             delete the file and fetch it again", thousands(*offset))]
    Gzip {
        /// How far decompression got.
        offset: u64,
        /// What the decompressor said.
        reason: String,
    },

    /// Something that is not gzip follows the compressed data.
    #[error("the gzip data are followed by something else, after {} decompressed bytes: \
             the file is damaged; delete it and fetch it again", thousands(*offset))]
    GzipTrailing {
        /// Bytes that the gzip data decompressed to.
        offset: u64,
    },

    /// The system has not that much memory.
    #[error("{} do not fit in memory: close other programs, or read it on a larger machine",
            promise(shape, *element))]
    OutOfMemory {
        /// The sizes in the header.
        shape: Vec<u32>,
        /// The element type.
        element: ElementType,
    },

    /// The file cannot be written.
    #[error("cannot be written: {0}")]
    Write(io::Error),

    /// The array has no form as an IDX file.
    #[error(
        "an array of shape ({}) cannot be an IDX file: 1 to {MAX_RANK} dimensions of at most {} elements \
             can be written; reshape it",
        list(shape),
        thousands(u64::from(u32::MAX))
    )]
    Unwritable {
        /// The array's shape.
        shape: Vec<usize>,
    },
}

/// `60000x28x28 = 47,040,000 bytes`, or with the element type where that is more than a byte.
fn promise(shape: &[u32], element: ElementType) -> String {
    let size = element.size() as u64;
    let bytes = shape
        .iter()
        .try_fold(size, |product, &n| product.checked_mul(u64::from(n)))
        .map_or_else(|| "too many".to_owned(), thousands);
    let kind = if size == 1 { String::new() } else { format!(" {element}") };
    format!("{}{kind} = {bytes} bytes", by(shape))
}

fn list(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    sizes.join(", ")
}
