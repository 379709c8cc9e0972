//! The reusable buffer that kernels work in.

use std::fmt;

use crate::Scalar;

/// Cache lines, and the widest vectors, have this many bytes.
const ALIGNMENT: usize = 64;

/// A reusable working buffer: make one, and hand it to every call.
///
/// It grows to the largest need it has met and never shrinks, so repeated calls do not allocate. Its contents mean
/// nothing between calls, and no result depends on them. One scratch serves any number of plans, one call at a time.
///
/// ```
/// use conv_kernels::{Conv2dPlan, Conv2dShape, Epilogue, Options, Scratch};
///
/// let shape = Conv2dShape::builder(1, 1, [3, 3], [2, 2]).build()?;
/// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
/// let mut scratch = Scratch::new();
/// let mut y = [0.0; 4];
/// plan.forward(1, &[1.0; 9], &[1.0; 4], Epilogue::none(), &mut y, &mut scratch)?;
/// assert_eq!(y, [4.0; 4]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[derive(Clone, Default)]
pub struct Scratch<T> {
    /// Over-allocated by one alignment, since a `Vec` aligns to its element only.
    buffer: Vec<T>,
}

impl<T> Scratch<T> {
    /// An empty scratch; the first call that needs room makes it.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: Vec::new() }
    }

    /// Elements that it can lend without growing.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len().saturating_sub(slack::<T>())
    }

    /// Whether it has no room yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Scalar> Scratch<T> {
    /// A scratch with room for `len` elements.
    pub(crate) fn with_len(len: usize) -> Self {
        let mut scratch = Self::new();
        scratch.lend(len);
        scratch
    }

    /// `len` elements of any value, the first of them aligned to 64 bytes.
    pub(crate) fn lend(&mut self, len: usize) -> &mut [T] {
        if len > self.len() {
            // What was there means nothing: a new zeroed allocation, not a copy into a larger one.
            self.buffer = vec![T::ZERO; len + slack::<T>()];
        }
        if len == 0 {
            return &mut [];
        }
        let skip = self.buffer.as_ptr().align_offset(ALIGNMENT);
        // `align_offset` may decline to answer; then the buffer is merely not aligned.
        let skip = if skip <= slack::<T>() { skip } else { 0 };
        &mut self.buffer[skip..skip + len]
    }
}

/// Prints the length alone.
impl<T> fmt::Debug for Scratch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("len", &self.len()).finish()
    }
}

/// `len` rounded up so that what follows it in a scratch is aligned too.
pub(crate) fn aligned<T>(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT / size_of::<T>())
}

/// Elements that alignment may cost.
const fn slack<T>() -> usize {
    ALIGNMENT / size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_aligned_memory_and_grows_once() {
        let mut scratch = Scratch::<f32>::new();
        assert!(scratch.is_empty());
        assert_eq!(scratch.lend(0).len(), 0);
        for len in [1, 100, 7, 100] {
            let lent = scratch.lend(len);
            assert_eq!(lent.len(), len);
            assert_eq!(lent.as_ptr() as usize % ALIGNMENT, 0);
        }
        assert_eq!(scratch.len(), 100);
        assert_eq!(format!("{scratch:?}"), "Scratch { len: 100 }");
    }

    #[test]
    fn rounds_lengths_up_to_whole_cache_lines() {
        assert_eq!([0, 1, 16, 17].map(aligned::<f32>), [0, 16, 16, 32]);
        assert_eq!([0, 1, 8, 9].map(aligned::<f64>), [0, 8, 8, 16]);
    }
}
