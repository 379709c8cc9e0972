//! The plan of a convolution layer: one geometry, one algorithm, any batch.

use std::marker::PhantomData;

use crate::conv::depthwise;
use crate::conv::direct::Geometry;
use crate::conv::images::Images;
use crate::conv::pass_lanes;
use crate::simd::Isa;
use crate::{Activation, Conv2dShape, KernelError, Padding, Pool2dShape, Scalar, Scratch};

mod algorithm;
mod choice;
mod cost;
mod passes;
mod pooled;
mod run;
mod weights;

pub use algorithm::Algorithm;
use choice::{cheapest_of, choose, of_few};
use cost::Costs;
pub(crate) use run::Pass;
pub use weights::{PackFor, Weights};

/// Why a plan has the algorithms that it was told to have.
const FORCED: &str = "forced by Options::force";

/// What a caller may decide instead of the plan.
///
/// ```
/// use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options};
/// let shape = Conv2dShape::builder(8, 8, [6, 6], [1, 1]).build()?;
/// let plan = Conv2dPlan::<f32>::new(shape, &Options::default().force(Algorithm::Im2col))?;
/// assert!(plan.explain().contains("im2col"));
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Use this algorithm in every pass that it has; `None` lets the plan choose.
    pub force: Option<Algorithm>,
}

impl Options {
    /// Makes the plan use `algorithm`.
    #[must_use]
    pub fn force(mut self, algorithm: Algorithm) -> Self {
        self.force = Some(algorithm);
        self
    }
}

/// What follows the sum in the forward pass: `y = σ(conv + b)`, done while the numbers are still in the cache.
///
/// ```
/// use conv_kernels::{Activation, Epilogue};
/// let bias = [0.1f32, 0.2];
/// let epilogue = Epilogue { bias: Some(&bias), activation: Activation::Sigmoid };
/// assert_eq!(Epilogue::<f32>::none().activation, Activation::Identity);
/// # let _ = epilogue;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T> {
    /// One number for each output channel, added to its whole feature map.
    pub bias: Option<&'a [T]>,
    /// σ, applied to each sum.
    pub activation: Activation,
}

impl<T> Epilogue<'_, T> {
    /// No bias, no activation: the bare sums.
    #[must_use]
    pub const fn none() -> Self {
        Self { bias: None, activation: Activation::Identity }
    }
}

/// Where the gradients of a layer go.
///
/// ```
/// let (mut dweight, mut dbias) = ([0.0f32; 4], [0.0]);
/// // of a first layer, whose input has no gradient
/// let to = conv_kernels::Gradients { dx: None, dweight: &mut dweight, dbias: Some(&mut dbias) };
/// # let _ = to;
/// ```
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// By the input `(N, C, H, W)`: overwritten.
    pub dx: Option<&'a mut [T]>,
    /// By the weights `(O, C / groups, KH, KW)`: added to.
    pub dweight: &'a mut [T],
    /// By the biases `(O,)`: added to.
    pub dbias: Option<&'a mut [T]>,
}

/// A convolution layer's three passes, for one geometry and any batch.
///
/// Arrays are slices in row-major order: images `(N, C, H, W)`, weights `(O, C / groups, KH, KW)`. A batch of 0 is
/// valid and does nothing. Large calls run on all threads of the current rayon pool; no bit of any result depends on
/// how many there are, and no bit of one image's result (`forward`, `input_gradient`) on the batch that it came in.
///
/// Working memory is a [`Scratch`], made by [`Conv2dPlan::scratch`], or an empty one that grows with the first call.
///
/// ```
/// use conv_kernels::{Conv2dPlan, Conv2dShape, Epilogue, Options};
///
/// let shape = Conv2dShape::builder(1, 1, [3, 3], [2, 2]).build()?;
/// let plan = Conv2dPlan::<f64>::new(shape, &Options::default())?;
/// let mut scratch = plan.scratch(1);
///
/// // The article's appendix A.
/// let x = [1., 2., 3., 4., 5., 6., 7., 8., 9.];
/// let weight = [10., 20., 30., 40.];
/// let mut y = [0.0; 4];
/// plan.forward(1, &x, &weight, Epilogue::none(), &mut y, &mut scratch)?;
/// assert_eq!(y, [370.0, 470.0, 670.0, 770.0]);
///
/// let dy = [1.0, 0.0, 0.0, -1.0];
/// let (mut dx, mut dweight, mut dbias) = ([0.0; 9], [0.0; 4], [0.0]);
/// plan.input_gradient(1, &dy, &weight, &mut dx, &mut scratch)?;
/// plan.weight_gradient(1, &x, &dy, &mut dweight, &mut scratch)?;
/// plan.bias_gradient(1, &dy, &mut dbias)?;
/// assert_eq!(dx, [10.0, 20.0, 0.0, 30.0, 30.0, -20.0, 0.0, -30.0, -40.0]);
/// assert_eq!(dweight, [-4.0; 4]);
/// assert_eq!(dbias, [0.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[doc(alias = "FeatureMap")]
#[derive(Clone, Debug)]
pub struct Conv2dPlan<T: Scalar> {
    shape: Conv2dShape,
    /// The algorithms of the forward pass, the input gradient and the weight gradient.
    passes: [Algorithm; 3],
    reason: &'static str,
    isa: Isa,
    /// What [`Algorithm::Direct`] computes once.
    direct: Option<Geometry>,
    /// What [`Algorithm::Mirrored`] does.
    mirror: Option<(Conv2dShape, Geometry)>,
    /// What [`Algorithm::Depthwise`] computes once.
    depthwise: Option<depthwise::Geometry>,
    /// Where the taps lie for the weight gradient of [`Algorithm::Images`].
    taps: Vec<usize>,
    /// The same for images that fill no vector: others instead of [`Algorithm::Images`].
    few: [Algorithm; 3],
    element: PhantomData<T>,
}

impl<T: Scalar> Conv2dPlan<T> {
    /// Chooses the algorithm for `shape`.
    ///
    /// # Errors
    ///
    /// [`KernelError::NotApplicable`] if `options` force an algorithm that cannot compute the shape;
    /// [`KernelError::InstructionSet`] if the environment variable `CONV_ISA` names an instruction set that is not
    /// available ([`Machine::available`](crate::machine::Machine::available) lists those that are).
    ///
    /// ```
    /// use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 20, [28, 28], [5, 5]).build()?;
    /// let refused = Conv2dPlan::<f32>::new(shape, &Options::default().force(Algorithm::Pointwise));
    /// assert_eq!(
    ///     refused.unwrap_err().to_string(),
    ///     "pointwise cannot compute 1x28x28 -> 20 @ 5x5: it is for 1x1 kernels with stride 1 and no padding; \
    ///      leave Options::force empty to let the plan choose",
    /// );
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn new(shape: Conv2dShape, options: &Options) -> Result<Self, KernelError> {
        Self::with_isa(shape, options, Isa::detect()?)
    }

    /// The same for kernels of any set.
    pub(crate) fn with_isa(shape: Conv2dShape, options: &Options, isa: Isa) -> Result<Self, KernelError> {
        let lanes = [isa.lanes::<T>(), isa.piece::<T>()];
        let (mut passes, mut reason) = choose::<T>(&shape, isa);
        if let Some(algorithm) = options.force {
            let has = algorithm.passes(&shape, lanes);
            if has == [false; 3] {
                let (shape, applies_to) = (shape.to_string(), algorithm.domain());
                return Err(KernelError::NotApplicable { algorithm, shape, applies_to });
            }
            reason = FORCED;
            for (pass, has) in passes.iter_mut().zip(has) {
                *pass = if has { algorithm } else { *pass };
            }
        }
        Ok(Self::of(shape, passes, reason, isa))
    }

    /// A plan with these passes.
    fn of(shape: Conv2dShape, passes: [Algorithm; 3], reason: &'static str, isa: Isa) -> Self {
        let geometry = |shape: &Conv2dShape| Geometry::new::<T>(shape, isa);
        let few = of_few::<T>(&shape, isa, passes);
        let straight = [few[0], few[2]].iter().any(|pass| pass.is_direct()) || few[1] == Algorithm::Direct;
        let direct = straight.then(|| geometry(&shape));
        let by_mirror = matches!(few[1], Algorithm::Channels | Algorithm::Mirrored);
        let mirror = mirrored(&shape).filter(|_| by_mirror);
        let mirror = mirror.map(|mirror| (mirror, geometry(&mirror)));
        let depthwise =
            few.contains(&Algorithm::Depthwise).then(|| depthwise::Geometry::new::<T>(&shape, isa.lanes::<T>()));
        let taps = if passes[2] == Algorithm::Images { Images::new(&shape, 1, isa).taps::<T>() } else { Vec::new() };
        Self { shape, passes, reason, isa, direct, mirror, depthwise, taps, few, element: PhantomData }
    }

    /// The same plan for calls of [`Conv2dPlan::forward_max_pooled`] and [`Conv2dPlan::backward_max_pooled`]: what is pooled
    /// on the way may be fastest by another algorithm, with the same bits.
    ///
    /// ```
    /// use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 6, [28, 28], [5, 5]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default().force(Algorithm::Im2col))?;
    /// assert_eq!(plan.clone().max_pooled().algorithms(), plan.algorithms());
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    #[must_use]
    pub fn max_pooled(self) -> Self {
        let costs = Costs::new::<T>(&self.shape, self.isa);
        let chains = [Algorithm::Direct, Algorithm::Channels, Algorithm::Images];
        let forward = cheapest_of(chains, |algorithm| costs.pooled(algorithm));
        if self.reason == FORCED || !chains.contains(&self.passes[0]) || forward == self.passes[0] {
            return self;
        }
        let [_, input_gradient, weight_gradient] = self.passes;
        Self::of(self.shape, [forward, input_gradient, weight_gradient], self.reason, self.isa)
    }

    /// The algorithms of the forward pass, the input gradient and the weight gradient.
    ///
    /// ```
    /// use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 8, [6, 6], [3, 3]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default().force(Algorithm::Im2col))?;
    /// assert_eq!(plan.algorithms(), [Algorithm::Im2col; 3]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn algorithms(&self) -> [Algorithm; 3] {
        self.passes
    }

    /// Images that fill the vectors of [`Algorithm::Images`], if a pass is computed by it; else 1. Batches of a multiple are
    /// fastest.
    ///
    /// ```
    /// use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 6, [28, 28], [5, 5]).build()?;
    /// let plan = |algorithm| Conv2dPlan::<f32>::new(shape, &Options::default().force(algorithm));
    /// assert_eq!(plan(Algorithm::Direct)?.images_at_once(), 1);
    /// assert!(plan(Algorithm::Images)?.images_at_once() > 1); // 16 with AVX-512
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn images_at_once(&self) -> usize {
        if self.passes.contains(&Algorithm::Images) { self.isa.lanes::<T>() } else { 1 }
    }

    /// The geometry that the plan is for.
    pub fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// In words: the geometry, the algorithm of each pass and why, and the working memory.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 20, [28, 28], [5, 5]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// assert_eq!(plan.explain().lines().next(), Some("1x28x28 -> 20 @ 5x5, f32, 288000 multiply-adds an image"));
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn explain(&self) -> String {
        let Self { shape, reason, isa, .. } = self;
        let kib = |elements: usize| (elements * size_of::<T>()).div_ceil(1024);
        let costs = Costs::new::<T>(shape, *isa);
        let names = ["forward", "input_gradient", "weight_gradient"];
        let passes = names.into_iter().enumerate().map(|(pass, name)| {
            let algorithm = self.passes[pass];
            let share = costs.of(algorithm, pass).map_or(f64::NAN, |cycles| 100.0 * costs.ideal() / cycles);
            let [one, many] = [1, 64].map(|batch| kib(self.pass_scratch_len(pass, batch)));
            format!(
                "{name}: {algorithm}, {share:.0} % of peak by estimate, scratch {one} KiB for 1 image, {many} KiB for 64\n"
            )
        });
        let (name, lanes) = (isa.name(), isa.lanes::<T>());
        let others = names.into_iter().zip(self.few).zip(self.passes).filter(|((_, few), pass)| few != pass);
        let others = others.map(|((name, few), _)| format!("{name} of images that fill no vector: {few}\n"));
        format!(
            "{shape}, {}, {} multiply-adds an image\n{}{}{reason}; vectors: {name}, {lanes} lanes\n\
             cut into at most {} parts for 1 image, {} for 64\n",
            T::NAME,
            shape.macs(),
            passes.collect::<String>(),
            others.collect::<String>(),
            pass_lanes(shape, 1),
            pass_lanes(shape, 64),
        )
    }

    /// Working memory that is large enough for every call with at most `batch` images.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 20, [28, 28], [5, 5]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// assert!(plan.scratch(64).len() >= plan.scratch(1).len());
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn scratch(&self, batch: usize) -> Scratch<T> {
        Scratch::with_len(self.scratch_len(batch))
    }

    /// The most that any pass needs.
    fn scratch_len(&self, batch: usize) -> usize {
        let pooled = |_| self.pooled_scratch_len(batch).max(self.backward_scratch_len(batch));
        let pooled = self.max_pool().map_or(0, pooled);
        [0, 1, 2].map(|pass| self.pass_scratch_len(pass, batch)).into_iter().fold(pooled, usize::max)
    }

    /// Windows of 2x2 pixels, side by side, over the feature maps.
    fn max_pool(&self) -> Result<Pool2dShape, KernelError> {
        Pool2dShape::new(self.shape.out_channels(), self.shape.output(), [2; 2], [2; 2])
    }
}

/// The shape whose forward pass is the input gradient of `shape`, by which rows and columns of the gradient that the
/// padding got are left out.
pub(crate) fn mirrored(shape: &Conv2dShape) -> Option<Conv2dShape> {
    let pad = shape.padding();
    let covered = [0, 1].map(|axis| (shape.kernel()[axis] - 1) * shape.dilation()[axis]);
    let padding = Padding {
        top: covered[0].checked_sub(pad.top)?,
        bottom: covered[0].checked_sub(pad.bottom)?,
        left: covered[1].checked_sub(pad.left)?,
        right: covered[1].checked_sub(pad.right)?,
    };
    let builder = Conv2dShape::builder(shape.out_channels(), shape.in_channels(), shape.output(), shape.kernel())
        .dilation(shape.dilation())
        .padding(padding)
        .groups(shape.groups());
    builder.build().ok().filter(|_| shape.stride() == [1, 1])
}
