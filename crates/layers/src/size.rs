//! Heights and widths.

/// A height and a width: of a kernel, a window, a step. One number means a square.
///
/// ```
/// use layers::Size;
/// assert_eq!(Size::from(5), Size::from([5, 5]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Along the rows of an image, downwards.
    pub height: usize,
    /// Along its columns, to the right.
    pub width: usize,
}

impl Size {
    pub(crate) fn pair(self) -> [usize; 2] {
        [self.height, self.width]
    }
}

impl From<usize> for Size {
    fn from(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

impl From<[usize; 2]> for Size {
    fn from([height, width]: [usize; 2]) -> Self {
        Self { height, width }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}
