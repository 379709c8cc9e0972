//! The IDX format.
//!
//! ```text
//! 00 00          two zero bytes
//! TT             element type: 08 u8, 09 i8, 0b i16, 0c i32, 0d f32, 0e f64
//! RR             rank, the number of dimensions
//! NN NN NN NN    size of each dimension, RR times, 32 bits
//! ...            the elements, last dimension fastest
//! ```
//!
//! All numbers are big-endian. A file may be gzipped, whatever its name says.

mod element;
mod error;
mod gunzip;
mod header;
mod read;
mod write;

pub use element::{ElementType, Idx, IdxElement};
pub use error::{IdxError, IdxProblem};
pub use read::{IdxReader, read_idx, read_idx_from};
pub use write::{write_idx, write_idx_to};

#[cfg(feature = "download")]
pub(crate) use read::uncompressed_sum;

/// The rank byte could say 255; nothing real has more dimensions than this.
pub(crate) const MAX_RANK: usize = 8;
