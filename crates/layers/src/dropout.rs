//! Dropout.

use std::marker::PhantomData;

use conv_kernels::Scalar;
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::{
    Layer, LayerError, Pass, Phase, State,
    views::{elements, elements_mut, expect_rank},
};

/// While training, sets each value to zero with probability `p` and multiplies the others by 1/(1−p); else passes values on.
///
/// So the expectation of a value is the same in both phases ("inverted" dropout, as in PyTorch). The mask of a sample
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
        Ok(Self { p, name: "drop".into(), rank: PhantomData })
    }
}

/// Which values the last forward pass kept.
#[derive(Clone, Debug)]
pub struct Mask {
    keep: Vec<bool>,
    /// Whether the last forward pass dropped at all: not in [`Phase::Infer`].
    dropping: bool,
}

impl<T: Scalar, D: Dimension + 'static> Layer<T> for Dropout<D> {
    type In = D;
    type Out = D;
    type Memo = Mask;

    fn kind(&self) -> &'static str {
        "drop"
    }

    fn describe(&self) -> String {
        format!("p = {}", self.p)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        expect_rank::<D>(input)?;
        Ok(input.to_vec())
    }

    fn attach(&mut self, name: &str) {
        self.name = name.into();
    }

    fn memo(&self, input: &D) -> Mask {
        Mask { keep: vec![true; input.size()], dropping: false }
    }

    fn forward(
        &self,
        _: State<'_, T>,
        x: ArrayView<'_, T, D>,
        mut y: ArrayViewMut<'_, T, D>,
        mask: &mut Mask,
        phase: Phase<'_>,
    ) {
        let Phase::Train { key, epoch, samples } = phase else {
            mask.dropping = false;
            y.assign(&x);
            return;
        };
        mask.dropping = true;
        let keep = &mut mask.keep[..x.len()];
        let sample_len = x.len() / samples.len().max(1);
        // kept when 32 random bits, read as a fraction, are at least p
        let threshold = (self.p * 2f64.powi(32)) as u64;
        for (keep, &sample) in keep.chunks_exact_mut(sample_len.max(1)).zip(samples) {
            let mut stream = key.stream("dropout", &self.name, epoch, sample);
            keep.fill_with(|| u64::from(stream.bits()) >= threshold);
        }
        scale_kept(keep, self.p, elements(&x), elements_mut(&mut y));
    }

    fn backward(&self, _: State<'_, T>, mut pass: Pass<'_, T, Self>, dx: Option<ArrayViewMut<'_, T, D>>, _: &mut [T]) {
        let Some(mut dx) = dx else { return };
        if !pass.memo.dropping {
            dx.assign(&pass.dy);
            return;
        }
        let keep = &pass.memo.keep[..pass.dy.len()];
        scale_kept(keep, self.p, elements_mut(&mut pass.dy), elements_mut(&mut dx));
    }
}

/// `to = from/(1−p)` where kept, else 0.
fn scale_kept<T: Scalar>(keep: &[bool], p: f64, from: &[T], to: &mut [T]) {
    let scale = T::of(1.0 / (1.0 - p));
    for ((to, &from), &keep) in to.iter_mut().zip(from).zip(keep) {
        *to = if keep { from * scale } else { T::ZERO };
    }
}
