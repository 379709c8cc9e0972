//! Nielsen's expanded data: every image, and four shifts of it.

use std::ops::Range;

use ndarray::{Array1, ArrayView1, ArrayView4, Axis};

use super::shift::shifted;

/// Pixels down and to the right, in the order of Nielsen's `expand_mnist.py`.
const SHIFTS: [[isize; 2]; 5] = [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]];

/// Five samples for each: the image itself, then the image moved by one pixel down, up, right and left. Image i becomes samples
/// 5i to 5i + 4; the row or column that is left empty is 0.
///
/// Nielsen's `expand_mnist.py`, without its file: images are moved when they are loaded, only labels are copied. A validation
/// split is made *before*, or it would hold images that training has seen, a pixel away.
///
/// ```
/// use net::{Data, Sequential, Trainer, augment::Expanded, optim::Sgd};
/// let data = mnist_io::Mnist::sample()?;
/// let (train, validation) = data.train.take(300).split_at(200);
/// let expanded = Expanded::new(train.pair());
/// assert_eq!(Data::<f32>::from(expanded.pair()).len(), 1000);
/// let mut net = Sequential::builder([1, 28, 28]).dense(10).build(42)?;
/// Trainer::new(Sgd::new(0.03)).fit(&mut net, expanded.pair(), validation.pair())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Expanded<'a> {
    images: ArrayView4<'a, u8>,
    labels: Array1<u8>,
}

impl<'a> Expanded<'a> {
    /// From images `(N, C, H, W)` and labels `(N,)`.
    #[must_use]
    pub fn new((images, labels): (ArrayView4<'a, u8>, ArrayView1<'_, u8>)) -> Self {
        Self { images, labels: labels.iter().flat_map(|&label| [label; SHIFTS.len()]).collect() }
    }

    /// Images `(5 N, C, H, W)` and labels `(5 N,)`, for a trainer.
    #[must_use]
    pub fn pair(&self) -> (ExpandedImages<'_>, ArrayView1<'_, u8>) {
        let (images, channels, rows, columns) = self.images.dim();
        let shape = [images.saturating_mul(SHIFTS.len()), channels, rows, columns];
        (ExpandedImages { images: self.images.view(), first: 0, shape }, self.labels.view())
    }
}

/// The images of [`Expanded`], or some of them in a row.
#[derive(Clone, Debug)]
pub struct ExpandedImages<'a> {
    images: ArrayView4<'a, u8>,
    first: usize,
    shape: [usize; 4],
}

impl ExpandedImages<'_> {
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Some samples in a row.
    pub(crate) fn slice(&self, range: Range<usize>) -> ExpandedImages<'_> {
        let [_, channels, rows, columns] = self.shape;
        let shape = [range.len(), channels, rows, columns];
        ExpandedImages { images: self.images.view(), first: self.first + range.start, shape }
    }

    /// Writes sample `index` in C order, each byte looked up in the table of its channel.
    pub(crate) fn write<T: Copy>(&self, index: usize, tables: &[T], out: &mut [T]) {
        let sample = self.first + index;
        let image = self.images.index_axis(Axis(0), sample / SHIFTS.len());
        let by = SHIFTS[sample % SHIFTS.len()];
        let mut out = out.iter_mut();
        for (plane, table) in image.outer_iter().zip(tables.chunks_exact(256)) {
            shifted(plane, by, table[0], |byte| table[usize::from(byte)], out.by_ref().take(plane.len()));
        }
    }
}
