//! Are a layer's gradients right? Its backward pass against central differences of its forward pass, in `f64`.
//!
//! The cost is C = Σ g·y with a random g, so that every output counts, each differently. Analytic gradient a and numeric
//! gradient n are compared tensor by tensor: ‖a − n‖ / (‖a‖ + ‖n‖) must not exceed 10⁻⁶. Two things keep the check honest:
//!
//! - a gradient so small that rounding could have made it proves nothing: the verdict is [`Verdict::Unchecked`], which is no
//!   pass. (The feature map of the article's own demo, drawn with seed 0, is such a case: its neurons are saturated, and a
//!   backward pass that returns zeros is within 10⁻⁸ of the truth.)
//! - at a kink (a ReLU at 0, a tie in a max-pooling) differences mean nothing. Elements whose difference quotients disagree
//!   between two steps, or between left and right, are left out, and counted; too many of them, and the verdict is `Unchecked`.
//!
//! ```
//! use layers::{Activation, Conv2d, Solo, gradcheck::{Options, gradcheck}};
//! use ndarray::Array4;
//!
//! let conv = Conv2d::new([2, 6, 7], 3, [2, 3]).stride(2).padding(1).activation(Activation::Tanh).build()?;
//! let mut conv = Solo::<f64, _>::new(conv, &[2, 6, 7], 0)?;
//! let x = Array4::from_shape_fn((2, 2, 6, 7), |(n, c, h, w)| ((5 * n + 7 * c + 3 * h + w) as f64).sin());
//! let report = gradcheck(&mut conv, &x, &Options::default())?.into_result()?;
//! assert_eq!(report.tensors().len(), 3); // x, weight, bias
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use conv_kernels::Scalar;
use ndarray::{Array, ArrayRef};

use crate::{Arena, Layer, LayerError, Phase, Solo, random::Key};

mod compare;
mod report;

pub use compare::compare;
pub use report::{GradcheckError, Report, TensorReport, Verdict, Worst};

/// How strict a check is, and what it draws.
///
/// ```
/// use layers::gradcheck::Options;
/// let options = Options { seed: 7, ..Options::default() };
/// assert_eq!(options.tolerance, 1e-6);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The largest ‖a − n‖ / (‖a‖ + ‖n‖) that passes (default 10⁻⁶).
    pub tolerance: f64,
    /// The step, as a share of the value that is varied, or of 1 when that is larger (default 10⁻⁵).
    pub step: f64,
    /// Gradients with a smaller norm prove nothing (default 10⁻⁴; raised where rounding alone could reach it).
    pub floor: f64,
    /// The largest share of a tensor's elements that may lie at kinks (default 0.2).
    pub max_excluded: f64,
    /// The seed of the random g.
    pub seed: u64,
    /// The phase of the passes (default [`Phase::Infer`]). In [`Phase::Train`] key, epoch and samples stay the same for
    /// every pass, so that every pass drops the same values.
    pub phase: Phase<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { tolerance: 1e-6, step: 1e-5, floor: 1e-4, max_excluded: 0.2, seed: 0, phase: Phase::Infer }
    }
}

/// Checks the gradients of a layer by its input and by each of its parameters, at `x` `(N, …)` and its present parameters.
///
/// Parameters and buffers are afterwards as before, gradients zero. It takes four forward passes for each number that is
/// varied: small inputs tell as much as large ones.
///
/// # Errors
/// [`LayerError::ArrayShape`] when a sample of `x` has another shape than the layer was made for, or when
/// [`Options::phase`] names another number of samples.
pub fn gradcheck<L: Layer<f64>>(
    layer: &mut Solo<f64, L>,
    x: &ArrayRef<f64, L::In>,
    options: &Options<'_>,
) -> Result<Report, LayerError> {
    let x = x.as_standard_layout().into_owned();
    let (params, buffers) = (layer.params().clone(), layer.buffers().clone());
    let y = layer.forward_in(&x, options.phase)?;
    let mut stream = Key::new(options.seed).stream("gradcheck", "", 0, 0);
    let g = y.mapv(|_| stream.normal());
    layer.clear_grads();
    let dx = layer.backward(&g)?;
    let grads = layer.grads().clone();

    let mut probe = Probe { layer, g, buffers, phase: options.phase };
    let by_x = |at: &[f64]| probe.cost(&Array::from_shape_vec(x.raw_dim(), at.to_vec()).expect("as long as x"));
    let dx = dx.as_slice().expect("a new array is in standard layout");
    let mut tensors = vec![compare("x", dx, by_x, x.as_slice().expect("made standard above"), options)];
    for (spec, range) in params.layout().iter() {
        let by_tensor = |at: &[f64]| {
            probe.layer.params_mut().values_mut()[range.clone()].copy_from_slice(at);
            probe.cost(&x)
        };
        let (analytic, here) = (&grads.values()[range.clone()], &params.values()[range.clone()]);
        tensors.push(compare(&spec.name, analytic, by_tensor, here, options));
        probe.layer.params_mut().values_mut().copy_from_slice(params.values());
    }
    probe.restore_buffers();
    layer.clear_grads();
    Ok(Report::new(tensors))
}

/// A layer, and what its cost is made of.
struct Probe<'a, T: Scalar, L: Layer<T>> {
    layer: &'a mut Solo<T, L>,
    g: Array<T, L::Out>,
    buffers: Arena<T>,
    phase: Phase<'a>,
}

impl<L: Layer<f64>> Probe<'_, f64, L> {
    /// C = Σ g·y.
    fn cost(&mut self, x: &ArrayRef<f64, L::In>) -> f64 {
        // a training pass changes the buffers: every pass begins with the same
        self.restore_buffers();
        let y = self.layer.forward_in(x, self.phase).expect("a batch of the same shape was accepted before");
        y.iter().zip(&self.g).map(|(y, g)| y * g).sum()
    }

    fn restore_buffers(&mut self) {
        self.layer.buffers_mut().values_mut().copy_from_slice(self.buffers.values());
    }
}
