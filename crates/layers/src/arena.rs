//! Parameters, gradients and optimizer state: equal arenas of named tensors.
//!
//! One arena is one contiguous, aligned buffer; a [`Layout`] says which tensor lies where. A gradient has the same type and
//! layout as the parameters, so one loop updates everything, one buffer is saved, averaged or sent.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use conv_kernels::Scalar;
use ndarray::{ArrayViewD, ArrayViewMutD, IxDyn};

use crate::LayerError;

/// Tensors begin at multiples of this many elements, so that none shares a cache line with another.
const ALIGN: usize = 16;

/// Name and shape of one tensor, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// PyTorch's name for it: `weight`, `bias`, `running_mean`, …
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether weight decay applies: weights yes, biases and scales no.
    pub decay: bool,
    /// Whether it counts something (saved as a 64-bit integer) rather than measures it.
    pub count: bool,
}

impl TensorSpec {
    /// A weight: weight decay applies.
    #[must_use]
    pub fn weight(name: &str, shape: &[usize]) -> Self {
        Self { name: name.into(), shape: shape.into(), decay: true, count: false }
    }

    /// A bias, scale or statistic: weight decay does not apply.
    #[must_use]
    pub fn plain(name: &str, shape: &[usize]) -> Self {
        Self { decay: false, ..Self::weight(name, shape) }
    }

    /// A counter, such as BatchNorm's `num_batches_tracked`: a scalar, saved as a 64-bit integer.
    #[must_use]
    pub fn counter(name: &str) -> Self {
        Self { count: true, ..Self::plain(name, &[]) }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which tensor lies where in an arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<(TensorSpec, usize)>,
    len: usize,
}

impl Layout {
    /// Tensors one after another, each at an aligned place.
    ///
    /// ```
    /// use layers::{Layout, TensorSpec};
    /// let layout = Layout::new([TensorSpec::weight("weight", &[10, 20]), TensorSpec::plain("bias", &[10])]);
    /// assert_eq!(layout.range("bias"), Some(208..218));
    /// ```
    #[must_use]
    pub fn new(specs: impl IntoIterator<Item = TensorSpec>) -> Self {
        let mut layout = Self::default();
        for spec in specs {
            let start = layout.len;
            layout.len += spec.len().next_multiple_of(ALIGN);
            layout.tensors.push((spec, start));
        }
        layout
    }

    /// The tensors in order, each with the range of elements that it takes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TensorSpec, std::ops::Range<usize>)> {
        self.tensors.iter().map(|(spec, start)| (spec, *start..*start + spec.len()))
    }

    /// The place of a tensor.
    #[must_use]
    pub fn range(&self, name: &str) -> Option<std::ops::Range<usize>> {
        self.iter().find(|(spec, _)| spec.name == name).map(|(_, range)| range)
    }

    /// The length of an arena, the gaps of alignment included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of values that are learnt or kept, gaps not counted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().map(|(spec, _)| spec.len()).sum()
    }
}

/// One buffer of named tensors: parameters, their gradient, an optimizer's momentum.
///
/// ```
/// use layers::{Arena, Layout, TensorSpec};
/// let layout = Layout::new([TensorSpec::weight("weight", &[2, 3]), TensorSpec::plain("bias", &[2])]);
/// let mut arena = Arena::<f32>::zeros(layout);
/// arena.tensor_mut("bias")?.fill(1.0);
/// assert_eq!(arena.tensor("bias")?.sum(), 2.0);
/// assert_eq!(arena.tensor("weight")?.shape(), [2, 3]);
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Debug)]
pub struct Arena<T> {
    layout: Arc<Layout>,
    storage: Vec<T>,
    start: usize,
    version: u64,
}

/// A number that no arena has had yet.
fn new_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A tensor of an arena: its name, shape and values.
#[derive(Clone, Debug)]
pub struct Tensor<'a, T> {
    /// Name, shape and purpose.
    pub spec: &'a TensorSpec,
    /// The values, in C order.
    pub values: &'a [T],
}

impl<T: Scalar> Arena<T> {
    /// An arena of zeros.
    #[must_use]
    pub fn zeros(layout: impl Into<Arc<Layout>>) -> Self {
        let layout = layout.into();
        let storage = vec![T::ZERO; layout.len() + ALIGN];
        // where a 64-byte line begins; offset 0 where the platform will not say
        let start = storage.as_ptr().align_offset(64);
        let start = if start <= ALIGN { start } else { 0 };
        Self { layout, storage, start, version: new_version() }
    }

    /// Which tensor lies where.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Every value, the gaps of alignment (zeros) included.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.storage[self.start..self.start + self.layout.len()]
    }

    /// Another number after each chance to change a value: arenas of the same version have the same values.
    ///
    /// ```
    /// use layers::{Arena, Layout, TensorSpec};
    /// let mut arena = Arena::<f32>::zeros(Layout::new([TensorSpec::weight("weight", &[2])]));
    /// let copy = arena.clone();
    /// assert_eq!(arena.version(), copy.version());
    /// arena.values_mut()[0] = 1.0;
    /// assert_ne!(arena.version(), copy.version());
    /// ```
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every value, for writing; what is written into the gaps is never read.
    pub fn values_mut(&mut self) -> &mut [T] {
        self.version = new_version();
        &mut self.storage[self.start..self.start + self.layout.len()]
    }

    /// The tensors in order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_, T>> {
        self.layout.iter().map(|(spec, range)| Tensor { spec, values: &self.values()[range] })
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// [`LayerError::UnknownTensor`] when there is none of that name.
    pub fn tensor(&self, name: &str) -> Result<ArrayViewD<'_, T>, LayerError> {
        let (shape, range) = self.find(name)?;
        Ok(ArrayViewD::from_shape(shape, &self.values()[range]).expect("a range is as long as its shape"))
    }

    /// A tensor by name, for writing.
    ///
    /// # Errors
    /// [`LayerError::UnknownTensor`] when there is none of that name.
    pub fn tensor_mut(&mut self, name: &str) -> Result<ArrayViewMutD<'_, T>, LayerError> {
        let (shape, range) = self.find(name)?;
        Ok(ArrayViewMutD::from_shape(shape, &mut self.values_mut()[range]).expect("a range is as long as its shape"))
    }

    /// Replaces a tensor's values.
    ///
    /// # Errors
    /// [`LayerError::UnknownTensor`], or [`LayerError::ArrayShape`] when `values` has another shape.
    pub fn set<'a>(&mut self, name: &str, values: impl Into<ArrayViewD<'a, T>>) -> Result<(), LayerError> {
        let values = values.into();
        let mut tensor = self.tensor_mut(name)?;
        if tensor.shape() != values.shape() {
            let (expected, got) = (tensor.shape().to_vec(), values.shape().to_vec());
            return Err(LayerError::ArrayShape { what: name.into(), expected, got });
        }
        tensor.assign(&values);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<(IxDyn, std::ops::Range<usize>), LayerError> {
        let found = self.layout.iter().find(|(spec, _)| spec.name == name);
        found.map(|(spec, range)| (IxDyn(&spec.shape), range)).ok_or_else(|| LayerError::UnknownTensor {
            name: name.into(),
            known: self.layout.iter().map(|(spec, _)| spec.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl<T: Scalar> Clone for Arena<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(Arc::clone(&self.layout));
        copy.values_mut().copy_from_slice(self.values());
        copy.version = self.version;
        copy
    }
}

/// Cuts a layer's stretch of an arena into its tensors, given their lengths.
///
/// ```
/// let params: Vec<f32> = (0..32).map(|v| v as f32).collect();
/// let [weight, bias] = layers::split(&params, [6, 2]);
/// assert_eq!((weight.len(), bias), (6, &[16.0, 17.0][..]));
/// ```
///
/// # Panics
/// When `values` is shorter than a [`Layout`] of such tensors.
#[must_use]
pub fn split<T, const N: usize>(values: &[T], lens: [usize; N]) -> [&[T]; N] {
    let mut rest = values;
    lens.map(|len| {
        let (head, tail) = rest.split_at(len.next_multiple_of(ALIGN));
        rest = tail;
        &head[..len]
    })
}

/// [`split`], for writing.
///
/// # Panics
/// When `values` is shorter than a [`Layout`] of such tensors.
#[must_use]
pub fn split_mut<T, const N: usize>(values: &mut [T], lens: [usize; N]) -> [&mut [T]; N] {
    let mut rest = values;
    lens.map(|len| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(len.next_multiple_of(ALIGN));
        rest = tail;
        &mut head[..len]
    })
}
