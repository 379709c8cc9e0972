//! Dropout.

use std::marker::PhantomData;

use conv_kernels::{Scalar, vectorized};
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::{
    Layer, LayerError, Pass, Phase, State,
    random::Stream,
    views::{elements, elements_mut, expect_rank},
};

/// While training, sets each value to zero with probability `p` and multiplies the others by 1/(1−p); else passes values on.
///
/// So the expectation of a value is the same in both phases ("inverted" dropout, as in PyTorch). With
/// [`inverted(false)`](Dropout::inverted) kept values stay as they are while training, and all are multiplied by 1−p otherwise:
/// the paper's and Nielsen's form. Its steps are smaller, for weights of the same size. The mask of a sample
/// depends on the run's seed, the layer's name, the epoch and the sample's number, and on nothing else: not on the batch that the
/// sample came in, nor on threads. A dropped value is 0 whatever it was, NaN included.
///
/// Source: Srivastava et al., "Dropout", 2014; the article's "Discussion" names regularisation.
///
/// ```
/// use layers::{Dropout, Phase, Solo, random::Key};
/// use ndarray::{Array2, Ix2};
///
/// let mut drop = Solo::<f32, _>::new(Dropout::<Ix2>::new(0.5)?, &[1000], 0)?;
/// let x = Array2::from_elem((1, 1000), 1.0);
/// let y = drop.forward_in(&x, Phase::Train { key: Key::new(1), epoch: 0, samples: &[0] })?;
/// assert!(y.iter().all(|&v| v == 0.0 || v == 2.0));
/// assert!((y.mean().unwrap() - 1.0).abs() < 0.1);
/// assert_eq!(drop.forward(&x)?, x);
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dropout<D> {
    p: f64,
    inverted: bool,
    name: String,
    rank: PhantomData<D>,
}

impl<D: Dimension> Dropout<D> {
    /// A layer that drops each value with probability `p`.
    ///
    /// # Errors
    /// [`LayerError::Range`] unless 0 ≤ `p` < 1.
    pub fn new(p: f64) -> Result<Self, LayerError> {
        if !(0.0..1.0).contains(&p) {
            return Err(LayerError::Range { what: "the dropout probability", range: "at least 0 and below 1", got: p });
        }
        Ok(Self { p, inverted: true, name: "drop".into(), rank: PhantomData })
    }

    /// Whether values are multiplied by 1/(1−p) while training, rather than by 1−p otherwise.
    ///
    /// ```
    /// use layers::{Dropout, Phase, Solo, random::Key};
    /// use ndarray::{Array2, Ix2};
    ///
    /// let mut drop = Solo::<f32, _>::new(Dropout::<Ix2>::new(0.25)?.inverted(false), &[1000], 0)?;
    /// let x = Array2::from_elem((1, 1000), 1.0);
    /// let y = drop.forward_in(&x, Phase::Train { key: Key::new(1), epoch: 0, samples: &[0] })?;
    /// assert!(y.iter().all(|&v| v == 0.0 || v == 1.0));
    /// assert_eq!(drop.forward(&x)?, x * 0.75);
    /// # Ok::<(), layers::LayerError>(())
    /// ```
    #[must_use]
    pub fn inverted(mut self, inverted: bool) -> Self {
        self.inverted = inverted;
        self
    }
}

/// Random bits that are drawn at a time.
const DRAW: usize = 256;

/// Which values the last forward pass kept.
#[derive(Clone, Debug)]
pub struct Mask<T> {
    /// What each kept value is multiplied by, and 0 for the others.
    scale: Vec<T>,
    /// Whether the last forward pass dropped at all: not in [`Phase::Infer`].
    dropping: bool,
}

impl<D> Dropout<D> {
    /// What values are multiplied by: those that are kept while training, and all of them otherwise.
    fn scales(&self) -> [f64; 2] {
        if self.inverted { [1.0 / (1.0 - self.p), 1.0] } else { [1.0, 1.0 - self.p] }
    }

    /// Outside training: all values, scaled alike.
    fn pass_on<T: Scalar>(&self, from: ArrayView<'_, T, D>, mut to: ArrayViewMut<'_, T, D>)
    where
        D: Dimension,
    {
        if self.inverted {
            to.assign(&from);
        } else {
            let scale = T::of(self.scales()[1]);
            to.zip_mut_with(&from, |to, &from| *to = from * scale);
        }
    }

    /// The mask of one sample: a value is kept when 32 random bits, read as a fraction, are at least p.
    fn draw<T: Scalar>(&self, mut stream: Stream, scale: &mut [T]) {
        let (threshold, kept) = ((self.p * 2f64.powi(32)) as u32, T::of(self.scales()[0]));
        let mut words = [0; DRAW];
        for scale in scale.chunks_mut(DRAW) {
            let words = &mut words[..scale.len()];
            stream.fill_bits(words);
            vectorized(|| {
                for (scale, &word) in scale.iter_mut().zip(&*words) {
                    *scale = if word >= threshold { kept } else { T::ZERO };
                }
            });
        }
    }
}

impl<T: Scalar, D: Dimension + 'static> Layer<T> for Dropout<D> {
    type In = D;
    type Out = D;
    type Memo = Mask<T>;

    fn kind(&self) -> &'static str {
        "drop"
    }

    fn describe(&self) -> String {
        format!("p = {}{}", self.p, if self.inverted { "" } else { ", not inverted" })
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        expect_rank::<D>(input)?;
        Ok(input.to_vec())
    }

    fn attach(&mut self, name: &str) {
        self.name = name.into();
    }

    fn memo(&self, input: &D) -> Mask<T> {
        Mask { scale: vec![T::ZERO; input.size()], dropping: false }
    }

    fn forward(
        &self,
        _: State<'_, T>,
        x: ArrayView<'_, T, D>,
        mut y: ArrayViewMut<'_, T, D>,
        mask: &mut Mask<T>,
        phase: Phase<'_>,
    ) {
        let Phase::Train { key, epoch, samples } = phase else {
            mask.dropping = false;
            self.pass_on(x, y);
            return;
        };
        mask.dropping = true;
        let scale = &mut mask.scale[..x.len()];
        let sample_len = x.len() / samples.len().max(1);
        for (scale, &sample) in scale.chunks_exact_mut(sample_len.max(1)).zip(samples) {
            self.draw(key.stream("dropout", &self.name, epoch, sample), scale);
        }
        multiply(scale, elements(&x), elements_mut(&mut y));
    }

    fn backward(&self, _: State<'_, T>, mut pass: Pass<'_, T, Self>, dx: Option<ArrayViewMut<'_, T, D>>, _: &mut [T]) {
        let Some(mut dx) = dx else { return };
        if !pass.memo.dropping {
            self.pass_on(pass.dy.view(), dx);
            return;
        }
        multiply(&pass.memo.scale[..pass.dy.len()], elements_mut(&mut pass.dy), elements_mut(&mut dx));
    }
}

/// `to = from · scale` where the scale is above 0, else 0.
fn multiply<T: Scalar>(scale: &[T], from: &[T], to: &mut [T]) {
    vectorized(|| {
        for ((to, &from), &scale) in to.iter_mut().zip(from).zip(scale) {
            *to = if scale > T::ZERO { from * scale } else { T::ZERO };
        }
    });
}
