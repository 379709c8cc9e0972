//! The six element types, and an array of any of them.

use std::fmt;
use std::io::{Read, Write};
use std::path::Path;

use ndarray::ArrayD;

use super::error::{IdxError, IdxProblem};
use super::{IdxReader, write_idx, write_idx_to};

/// What an IDX file's third byte says that its elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// `0x08`: unsigned bytes, as in MNIST.
    U8,
    /// `0x09`: signed bytes.
    I8,
    /// `0x0B`: 16-bit signed integers.
    I16,
    /// `0x0C`: 32-bit signed integers.
    I32,
    /// `0x0D`: IEEE 754 single precision.
    F32,
    /// `0x0E`: IEEE 754 double precision.
    F64,
}

impl ElementType {
    /// The type that a file's third byte names, if it names one.
    ///
    /// ```
    /// use mnist_io::ElementType;
    ///
    /// assert_eq!(ElementType::from_code(0x0D), Some(ElementType::F32));
    /// assert_eq!(ElementType::from_code(0x0A), None);
    /// ```
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x08 => Self::U8,
            0x09 => Self::I8,
            0x0B => Self::I16,
            0x0C => Self::I32,
            0x0D => Self::F32,
            0x0E => Self::F64,
            _ => return None,
        })
    }

    /// The byte that names this type in a file.
    ///
    /// ```
    /// assert_eq!(mnist_io::ElementType::U8.code(), 0x08);
    /// ```
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::U8 => 0x08,
            Self::I8 => 0x09,
            Self::I16 => 0x0B,
            Self::I32 => 0x0C,
            Self::F32 => 0x0D,
            Self::F64 => 0x0E,
        }
    }

    /// Bytes that one element takes.
    ///
    /// ```
    /// assert_eq!(mnist_io::ElementType::I16.size(), 2);
    /// ```
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// The Rust name of the type: `u8`.
impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A type that IDX files can hold: `u8`, `i8`, `i16`, `i32`, `f32`, `f64`. Sealed: the format knows no other.
pub trait IdxElement: Copy + sealed::Bytes {
    /// How files name the type.
    const TYPE: ElementType;
}

pub(crate) mod sealed {
    use super::{ArrayD, Idx};

    pub trait Bytes: Sized {
        /// Appends the elements of `bytes`, whose length is a whole number of elements.
        fn append(values: &mut Vec<Self>, bytes: &[u8]);
        /// Appends the big-endian bytes of this element.
        fn append_to(self, bytes: &mut Vec<u8>);
        fn into_idx(array: ArrayD<Self>) -> Idx;
        /// The array, or the whole back when it is of another type.
        fn from_idx(idx: Idx) -> Result<ArrayD<Self>, Idx>;
    }
}

/// An array of whichever type a file holds.
///
/// ```
/// use mnist_io::Idx;
/// use ndarray::arr1;
///
/// let labels = Idx::from(arr1(&[5_u8, 0, 4]).into_dyn());
/// let mut file = Vec::new();
/// labels.write_to(&mut file)?;
/// assert_eq!(file, [0, 0, 0x08, 1, 0, 0, 0, 3, 5, 0, 4]);
/// assert_eq!(Idx::read_from(file.as_slice())?, labels);
/// # Ok::<(), mnist_io::IdxError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Idx {
    /// Unsigned bytes.
    U8(ArrayD<u8>),
    /// Signed bytes.
    I8(ArrayD<i8>),
    /// 16-bit integers.
    I16(ArrayD<i16>),
    /// 32-bit integers.
    I32(ArrayD<i32>),
    /// Single precision.
    F32(ArrayD<f32>),
    /// Double precision.
    F64(ArrayD<f64>),
}

/// Evaluates `$body` with `$array` bound to the array inside, whichever it is.
macro_rules! each {
    ($idx:expr, $array:ident => $body:expr) => {
        match $idx {
            Idx::U8($array) => $body,
            Idx::I8($array) => $body,
            Idx::I16($array) => $body,
            Idx::I32($array) => $body,
            Idx::F32($array) => $body,
            Idx::F64($array) => $body,
        }
    };
}

impl Idx {
    /// Reads a file, gzipped or not. As [`read_idx`](crate::read_idx), but takes what it finds.
    ///
    /// # Errors
    ///
    /// [`IdxError`] naming the file, the place and the remedy when the file is malformed or cannot be read.
    ///
    /// ```
    /// let missing = mnist_io::Idx::read("no-such-file").unwrap_err();
    /// assert!(missing.to_string().starts_with("no-such-file: cannot be opened: "));
    /// ```
    pub fn read(path: impl AsRef<Path>) -> Result<Self, IdxError> {
        IdxReader::new().read_any(path)
    }

    /// Reads a stream to its end, gzipped or not.
    ///
    /// # Errors
    ///
    /// As [`Idx::read`].
    pub fn read_from(input: impl Read) -> Result<Self, IdxError> {
        IdxReader::new().read_any_from(input)
    }

    /// Writes a file. As [`write_idx`].
    ///
    /// # Errors
    ///
    /// As [`write_idx`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), IdxError> {
        each!(self, array => write_idx(path, array))
    }

    /// Writes the plain bytes of a file. As [`write_idx_to`].
    ///
    /// # Errors
    ///
    /// As [`write_idx_to`].
    pub fn write_to(&self, output: impl Write) -> Result<(), IdxError> {
        each!(self, array => write_idx_to(output, array))
    }

    /// What the elements are.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
            Self::I16(_) => ElementType::I16,
            Self::I32(_) => ElementType::I32,
            Self::F32(_) => ElementType::F32,
            Self::F64(_) => ElementType::F64,
        }
    }

    /// The size of each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        each!(self, array => array.shape())
    }

    /// The array, when its elements are `T`.
    ///
    /// # Errors
    ///
    /// [`IdxProblem::WrongElementType`] when they are not.
    ///
    /// ```
    /// use mnist_io::Idx;
    /// use ndarray::arr1;
    ///
    /// let idx = Idx::from(arr1(&[1.5_f32]).into_dyn());
    /// let error = idx.clone().into_array::<u8>().unwrap_err();
    /// assert!(error.to_string().contains("holds f32 values, u8 were asked for"));
    /// assert_eq!(idx.into_array::<f32>()?.shape(), [1]);
    /// # Ok::<(), mnist_io::IdxError>(())
    /// ```
    pub fn into_array<T: IdxElement>(self) -> Result<ArrayD<T>, IdxError> {
        T::from_idx(self).map_err(|other| {
            IdxError::unnamed(IdxProblem::WrongElementType { expected: T::TYPE, found: other.element_type() })
        })
    }
}

impl<T: IdxElement> From<ArrayD<T>> for Idx {
    fn from(array: ArrayD<T>) -> Self {
        T::into_idx(array)
    }
}

macro_rules! element {
    ($($t:ty, $variant:ident;)*) => {$(
        impl IdxElement for $t {
            const TYPE: ElementType = ElementType::$variant;
        }

        impl sealed::Bytes for $t {
            fn append(values: &mut Vec<Self>, bytes: &[u8]) {
                let (elements, _) = bytes.as_chunks();
                values.extend(elements.iter().map(|&element| <$t>::from_be_bytes(element)));
            }

            fn append_to(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_be_bytes());
            }

            fn into_idx(array: ArrayD<Self>) -> Idx {
                Idx::$variant(array)
            }

            fn from_idx(idx: Idx) -> Result<ArrayD<Self>, Idx> {
                match idx {
                    Idx::$variant(array) => Ok(array),
                    other => Err(other),
                }
            }
        }
    )*};
}

element! {
    u8, U8;
    i8, I8;
    i16, I16;
    i32, I32;
    f32, F32;
    f64, F64;
}
