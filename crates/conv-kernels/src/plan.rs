//! The plan of a convolution layer: one geometry, one algorithm, any batch.

use std::marker::PhantomData;

use crate::conv::depthwise;
use crate::conv::direct::Geometry;
use crate::conv::images::Images;
use crate::conv::{bias_gradient, pass_lanes};
use crate::simd::Isa;
use crate::{Activation, Conv2dShape, KernelError, Padding, Pool2dShape, Scalar, Scratch};

mod algorithm;
mod cost;
mod run;
mod weights;

pub use algorithm::Algorithm;
use cost::Costs;
pub(crate) use run::Pass;
pub use weights::{PackFor, Weights};

/// Feature maps of at least this width have rows long enough to be worth taking one by one.
const WIDE: usize = 64;

/// How much longer a few images may take for the sake of many.
const FEW_MAY_TAKE: f64 = 1.3;

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
    /// The weight gradient of batches that do not fill vectors: another one if it is [`Algorithm::Images`].
    few: Algorithm,
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
        let (mut passes, few, mut reason) = choose::<T>(&shape, isa);
        if let Some(algorithm) = options.force {
            let has = algorithm.passes(&shape, lanes);
            if has == [false; 3] {
                let (shape, applies_to) = (shape.to_string(), algorithm.domain());
                return Err(KernelError::NotApplicable { algorithm, shape, applies_to });
            }
            reason = "forced by Options::force";
            for (pass, has) in passes.iter_mut().zip(has) {
                *pass = if has { algorithm } else { *pass };
            }
        }
        let geometry = |shape: &Conv2dShape| Geometry::new::<T>(shape, isa);
        let few = if passes[2] == Algorithm::Images { few } else { passes[2] };
        let straight = [passes[0], few].iter().any(|pass| pass.is_direct()) || passes[1] == Algorithm::Direct;
        let direct = straight.then(|| geometry(&shape));
        let by_mirror = matches!(passes[1], Algorithm::Channels | Algorithm::Mirrored | Algorithm::Images);
        let mirror = mirrored(&shape).filter(|_| by_mirror);
        let mirror = mirror.map(|mirror| (mirror, geometry(&mirror)));
        let depthwise = passes.contains(&Algorithm::Depthwise) || few == Algorithm::Depthwise;
        let depthwise = depthwise.then(|| depthwise::Geometry::new::<T>(&shape, isa.lanes::<T>()));
        let taps = if passes[2] == Algorithm::Images { Images::new(&shape, 1, isa).taps::<T>() } else { Vec::new() };
        Ok(Self { shape, passes, reason, isa, direct, mirror, depthwise, taps, few, element: PhantomData })
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
        let passes = ["forward", "input_gradient", "weight_gradient"].into_iter().enumerate().map(|(pass, name)| {
            let algorithm = self.passes[pass];
            let share = costs.of(algorithm, pass).map_or(f64::NAN, |cycles| 100.0 * costs.ideal() / cycles);
            let [one, many] = [1, 64].map(|batch| kib(self.pass_scratch_len(pass, batch)));
            format!(
                "{name}: {algorithm}, {share:.0} % of peak by estimate, scratch {one} KiB for 1 image, {many} KiB for 64\n"
            )
        });
        let (name, lanes) = (isa.name(), isa.lanes::<T>());
        let others = [(1, "input_gradient", Algorithm::Mirrored), (2, "weight_gradient", self.few)].into_iter();
        let others = others.filter(|&(pass, ..)| self.passes[pass] == Algorithm::Images);
        let others = others.map(|(_, name, few)| format!("{name} of images that fill no vector: {few}\n"));
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
        let pooled = self.max_pool().map_or(0, |_| self.pooled_scratch_len(batch));
        [0, 1, 2].map(|pass| self.pass_scratch_len(pass, batch)).into_iter().fold(pooled, usize::max)
    }

    /// Windows of 2x2 pixels, side by side, over the feature maps.
    fn max_pool(&self) -> Result<Pool2dShape, KernelError> {
        Pool2dShape::new(self.shape.out_channels(), self.shape.output(), [2; 2], [2; 2])
    }

    /// `y = σ(x ⋆ weight + bias)`: slides each overlay over its underlay.
    ///
    /// `x (N, C, H, W)`, `y (N, O, OH, OW)`; `y` is overwritten. The article's section "Feature Map Activation".
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Activation, Conv2dPlan, Conv2dShape, Epilogue, Options};
    /// let shape = Conv2dShape::builder(1, 2, [1, 3], [1, 2]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let epilogue = Epilogue { bias: Some(&[0.5, -4.0]), activation: Activation::Relu };
    /// let mut y = [0.0; 4];
    /// plan.forward(1, &[1., 2., 3.], &[1., 1., 0., 1.], epilogue, &mut y, &mut plan.scratch(1))?;
    /// assert_eq!(y, [3.5, 5.5, 0.0, 0.0]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn forward<'w>(
        &self,
        batch: usize,
        x: &[T],
        weight: impl Into<Weights<'w, T>>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        self.shape.expect_input("x", batch, x.len())?;
        let weights = weight.into();
        self.expect_weights(0, weights)?;
        self.shape.expect_output("y", batch, y.len())?;
        epilogue.bias.map_or(Ok(()), |bias| self.shape.expect_bias("bias", bias.len()))?;
        T::convolution(self, batch, Pass::Forward { x, weights, epilogue, y }, scratch);
        Ok(())
    }

    /// [`Conv2dPlan::forward`] and [`max_pool2d`](crate::max_pool2d) with windows of 2x2 pixels, side by side, in one
    /// pass: the largest of each four pixels of `σ(x ⋆ weight + bias)`, and where it is.
    ///
    /// `x (N, C, H, W)`, `y` and `positions (N, O, OH / 2, OW / 2)`; both are overwritten. A position is the row-major
    /// index of the maximum in its `OH·OW` feature map, as [`max_pool2d_backward`](crate::max_pool2d_backward) wants
    /// it. An odd last row or column belongs to no window. Bits and positions are those of the two calls, but the
    /// feature maps are not written to memory where [`Algorithm::Direct`] or [`Algorithm::Channels`] computes them: a
    /// few rows of a few channels are pooled while they are in the cache. The article's section "Max Pooling".
    ///
    /// # Errors
    ///
    /// - [`KernelError::Length`] if a slice does not fit the shape and the batch;
    /// - [`KernelError::WindowTooLarge`] if a feature map has less than 2x2 pixels;
    /// - [`KernelError::PlaneTooLarge`] if it has more than 2³².
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Epilogue, Options};
    /// let shape = Conv2dShape::builder(1, 1, [3, 3], [2, 2]).build()?;
    /// let plan = Conv2dPlan::<f64>::new(shape, &Options::default())?;
    /// let x = [1., 2., 3., 4., 5., 6., 7., 8., 9.];
    /// let (weight, bare) = ([10., 20., 30., 40.], Epilogue::none());
    /// // The feature map is 370, 470, 670, 770.
    /// let (mut y, mut positions) = ([0.0], [0]);
    /// plan.forward_max_pooled(1, &x, &weight, bare, &mut y, &mut positions, &mut plan.scratch(1))?;
    /// assert_eq!((y, positions), ([770.0], [3]));
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    #[expect(clippy::too_many_arguments, reason = "those of `forward`, and the positions")]
    pub fn forward_max_pooled<'w>(
        &self,
        batch: usize,
        x: &[T],
        weight: impl Into<Weights<'w, T>>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        positions: &mut [u32],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        let pool = &self.max_pool()?;
        self.shape.expect_input("x", batch, x.len())?;
        let weights = weight.into();
        self.expect_weights(0, weights)?;
        pool.expect_output("y", batch, y.len())?;
        pool.expect_output("positions", batch, positions.len())?;
        epilogue.bias.map_or(Ok(()), |bias| self.shape.expect_bias("bias", bias.len()))?;
        T::convolution(self, batch, Pass::ForwardMaxPooled { x, weights, epilogue, pool, y, positions }, scratch);
        Ok(())
    }

    /// `dx`, the gradient of the cost by the input, from `dy`, that by the bare sums (before σ).
    ///
    /// `dy (N, O, OH, OW)`, `dx (N, C, H, W)`; `dx` is overwritten. For stride 1 this is the article's
    /// `convolve2d(w, d, "full")`.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 1, [1, 3], [1, 2]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let mut dx = [f32::NAN; 3];
    /// plan.input_gradient(1, &[1.0, 10.0], &[2.0, 3.0], &mut dx, &mut plan.scratch(1))?;
    /// assert_eq!(dx, [2.0, 23.0, 30.0]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn input_gradient<'w>(
        &self,
        batch: usize,
        dy: &[T],
        weight: impl Into<Weights<'w, T>>,
        dx: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        self.shape.expect_output("dy", batch, dy.len())?;
        let weights = weight.into();
        self.expect_weights(1, weights)?;
        self.shape.expect_input("dx", batch, dx.len())?;
        T::convolution(self, batch, Pass::InputGradient { dy, weights, dx }, scratch);
        Ok(())
    }

    /// `dweight += ` the gradient of the cost by the weights, summed over the batch.
    ///
    /// `x (N, C, H, W)`, `dy (N, O, OH, OW)`, `dweight (O, C / groups, KH, KW)`. The sum is complete before it is
    /// added to what `dweight` holds. The article's `correlate2d(a_prev, d, "valid")`.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 1, [1, 3], [1, 2]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let mut dweight = [0.5, 0.5];
    /// plan.weight_gradient(1, &[1., 2., 3.], &[10., 100.], &mut dweight, &mut plan.scratch(1))?;
    /// assert_eq!(dweight, [210.5, 320.5]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn weight_gradient(
        &self,
        batch: usize,
        x: &[T],
        dy: &[T],
        dweight: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        self.shape.expect_input("x", batch, x.len())?;
        self.shape.expect_output("dy", batch, dy.len())?;
        self.shape.expect_weight("dweight", dweight.len())?;
        T::convolution(self, batch, Pass::WeightGradient { x, dy, dweight }, scratch);
        Ok(())
    }

    /// `dbias += ` the sum of `dy` over each feature map and the batch.
    ///
    /// `dy (N, O, OH, OW)`, `dbias (O,)`. The sum is complete before it is added to what `dbias` holds.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 2, [2, 2], [1, 1]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let mut dbias = [0.0; 2];
    /// plan.bias_gradient(1, &[1., 2., 3., 4., 10., 20., 30., 40.], &mut dbias)?;
    /// assert_eq!(dbias, [10.0, 100.0]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn bias_gradient(&self, batch: usize, dy: &[T], dbias: &mut [T]) -> Result<(), KernelError> {
        self.shape.expect_output("dy", batch, dy.len())?;
        self.shape.expect_bias("dbias", dbias.len())?;
        bias_gradient(&self.shape, self.isa, batch, dy, dbias);
        Ok(())
    }
}

/// The fastest algorithms for a shape, the fastest weight gradient of a few images, and why.
fn choose<T: Scalar>(shape: &Conv2dShape, isa: Isa) -> ([Algorithm; 3], Algorithm, &'static str) {
    let lanes = [isa.lanes::<T>(), isa.piece::<T>()];
    if !isa.is_fast() {
        // A product works on 8 rows at once, however few there are.
        let few_maps = if shape.output()[1] >= WIDE { 2 } else { 1 };
        let lonely = Algorithm::Depthwise.passes(shape, lanes)[0] && shape.out_channels() / shape.groups() <= few_maps;
        let (algorithm, reason) = if lonely {
            (Algorithm::Depthwise, "each overlay sees one channel, and a channel has few overlays")
        } else if Algorithm::Pointwise.passes(shape, lanes)[0] {
            (Algorithm::Pointwise, "a 1x1 kernel needs no column matrix")
        } else {
            (Algorithm::Im2col, "the general form")
        };
        return ([algorithm; 3], algorithm, reason);
    }
    let costs = Costs::new::<T>(shape, isa);
    let cheapest_but = |other: Option<Algorithm>, pass: usize| {
        // The larger errors of F(4x4, 3x3) are for those who ask for it.
        let all = Algorithm::ALL.into_iter().filter(|&algorithm| algorithm != Algorithm::Winograd4);
        let all = all.filter(|&algorithm| Some(algorithm) != other);
        let all = all.filter_map(|algorithm| Some((algorithm, costs.of(algorithm, pass)?)));
        all.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(Algorithm::Im2col, |(algorithm, _)| algorithm)
    };
    // Of a few images `Images` leaves the input gradient to `Mirrored`, and should not lose much.
    let few = [1, 2].map(|pass| cheapest_but(Some(Algorithm::Images), pass));
    let [best, mirrored] = [few[0], Algorithm::Mirrored].map(|algorithm| costs.of(algorithm, 1).unwrap_or(f64::MAX));
    let input_gradient = if mirrored <= FEW_MAY_TAKE * best { cheapest_but(None, 1) } else { few[0] };
    ([cheapest_but(None, 0), input_gradient, cheapest_but(None, 2)], few[1], "the fewest cycles by estimate")
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
