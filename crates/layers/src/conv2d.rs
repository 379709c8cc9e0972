//! The convolutional layer.

use std::{any::Any, sync::Arc};

use conv_kernels::{
    Activation, Conv2dPlan, Conv2dShape, Epilogue, Gradients, Options, PackFor, Padding, Pool2dShape, Scalar, Weights,
};
use ndarray::{ArrayView4, ArrayViewMut4, Ix4};

use crate::{
    Init, Layer, LayerError, MaxPool2d, Pass, Phase, Size, State, TensorSpec, pool2d,
    random::Stream,
    split, split_mut,
    views::{elements, elements_mut, expect_sample},
    workroom::{Claim, Rooms},
};

const CHECKED: &str = "the shapes were checked when the layer was built and the batch entered";

/// A stack of feature maps: `y = σ(x ⋆ w + b)`, images `(N, C, H, W)` to maps `(N, O, OH, OW)`.
///
/// Each of the `O` maps slides its own overlay of weights `(C/groups, KH, KW)` over the whole stack of channels below it,
/// without flipping it (cross-correlation, as in the article), adds its one bias, and applies the activation.
/// Parameters: `weight` `(O, C/groups, KH, KW)` and `bias` `(O,)`.
///
/// Source: "Convolutional Neural Networks: An Intuitive Primer", sections "Feature Map Activation" and
/// "Chaining Convolutional Layers".
///
/// ```
/// use layers::{Activation, Conv2d, Layer, Solo};
/// use ndarray::Array4;
///
/// // 20 maps of 5x5 overlays on 28x28 images: Nielsen's first layer
/// let conv = Conv2d::new([1, 28, 28], 20, 5).activation(Activation::Sigmoid).build()?;
/// let mut conv = Solo::<f32, _>::new(conv, &[1, 28, 28], 0)?;
/// assert_eq!(conv.layer().describe(), "20 maps 5x5, sigmoid");
/// assert_eq!(conv.forward(&Array4::zeros((64, 1, 28, 28)))?.dim(), (64, 20, 24, 24));
/// assert_eq!(conv.params().layout().count(), 520); // 20 x (5 x 5 + 1)
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias("FeatureMap", "overlay", "filter"))]
pub struct Conv2d<T: Scalar> {
    plan: Conv2dPlan<T>,
    bias: bool,
    activation: Activation,
    init: Init,
    /// The 2x2 max pooling that follows, once [`Layer::fuse`] has taken it in.
    pool: Option<Pool2dShape>,
    rooms: Arc<Rooms<T>>,
}

/// What the backward pass of a [`Conv2d`] needs besides input and output.
#[derive(Debug)]
pub struct Conv2dMemo<T: Scalar> {
    /// To a scratch.
    room: Claim<T>,
    /// With a pooling: where in its map each output was the largest.
    positions: Vec<u32>,
}

// `new` belongs to one element type only so that `Conv2d::new(…)` needs no annotation: it is `build` that chooses the type.
impl Conv2d<f32> {
    /// Maps over images of shape `input` = `(C, H, W)`; `kernel_size` is a side, or `[height, width]`.
    ///
    /// Stride 1, no padding, a bias, no activation, until the builder is told otherwise. [`Conv2dBuilder::build`] checks the sizes
    /// and chooses the element type.
    #[expect(clippy::new_ret_no_self, reason = "a convolution has too many sizes to be made in one call")]
    pub fn new(input: [usize; 3], out_channels: usize, kernel_size: impl Into<Size>) -> Conv2dBuilder {
        Conv2dBuilder {
            input,
            out_channels,
            kernel_size: kernel_size.into(),
            stride: Size::from(1),
            padding: Padding::NONE,
            dilation: Size::from(1),
            groups: 1,
            bias: true,
            activation: Activation::Identity,
            init: None,
            options: Options::default(),
        }
    }
}

impl<T: Scalar> Conv2d<T> {
    /// The geometry, and the algorithm of each pass.
    #[must_use]
    pub fn plan(&self) -> &Conv2dPlan<T> {
        &self.plan
    }

    /// The activation that is applied to the maps.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The lengths of weight and bias.
    fn lens(&self) -> [usize; 2] {
        let shape = self.plan.shape();
        [shape.weight_len(), if self.bias { shape.out_channels() } else { 0 }]
    }

    /// The weights, as far as they are ready.
    fn weights<'a>(&self, state: State<'a, T>) -> Weights<'a, T> {
        if state.packed.is_empty() {
            Weights::Plain(split(state.params, self.lens())[0])
        } else {
            Weights::Packed(state.packed)
        }
    }
}

/// Sizes of a [`Conv2d`], on their way to be checked.
///
/// ```
/// use layers::{Conv2d, Layer, LayerError};
/// // the maps of a "same" convolution are as large as its input
/// let conv = Conv2d::new([3, 32, 32], 8, 3).padding(1).build::<f32>()?;
/// assert_eq!(conv.output_shape(&[3, 32, 32])?, [8, 32, 32]);
/// // an overlay that does not fit is refused
/// let error = Conv2d::new([3, 4, 4], 8, 5).build::<f32>().unwrap_err();
/// assert!(error.to_string().starts_with("the kernel covers 5x5 pixels, more than the padded input 4x4"));
/// # Ok::<(), LayerError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `build` to make the layer"]
pub struct Conv2dBuilder {
    input: [usize; 3],
    out_channels: usize,
    kernel_size: Size,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: usize,
    bias: bool,
    activation: Activation,
    init: Option<Init>,
    options: Options,
}

impl Conv2dBuilder {
    /// How far the overlay moves at each step (default 1).
    #[doc(alias = "stride length")]
    pub fn stride(self, stride: impl Into<Size>) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// Zeros around the image (default none): one number, `[vertical, horizontal]`, or a [`Padding`] for each side its own.
    pub fn padding(self, padding: impl Into<Padding>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// The distance between the pixels that neighbouring weights look at (default 1).
    pub fn dilation(self, dilation: impl Into<Size>) -> Self {
        Self { dilation: dilation.into(), ..self }
    }

    /// Cuts channels and maps into groups; each group of maps sees its own group of channels alone (default 1).
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Whether each map has a bias (default yes).
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// The activation of the maps (default [`Activation::Identity`]).
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// How the parameters begin (default: [`Init::default_for`] the activation).
    pub fn init(self, init: Init) -> Self {
        Self { init: Some(init), ..self }
    }

    /// What the plan is told, such as an algorithm to use (default: the plan chooses).
    pub fn options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Checks the sizes and plans the passes.
    ///
    /// # Errors
    /// [`LayerError::Kernel`] when the geometry is impossible (a size of zero, an overlay larger than the padded input, groups
    /// that do not divide the channels) or a forced algorithm cannot compute it; [`LayerError::Zero`] for a `pool_area` of 0.
    pub fn build<T: Scalar>(self) -> Result<Conv2d<T>, LayerError> {
        let [channels, height, width] = self.input;
        let shape = Conv2dShape::builder(channels, self.out_channels, [height, width], self.kernel_size.pair())
            .stride(self.stride.pair())
            .padding(self.padding)
            .dilation(self.dilation.pair())
            .groups(self.groups)
            .build()?;
        let init = self.init.unwrap_or(Init::default_for(self.activation)).check()?;
        let plan = Conv2dPlan::new(shape, &self.options)?;
        Ok(Conv2d {
            plan,
            bias: self.bias,
            activation: self.activation.check()?,
            init,
            pool: None,
            rooms: Rooms::new(),
        })
    }
}

impl<T: Scalar> Layer<T> for Conv2d<T> {
    type In = Ix4;
    type Out = Ix4;
    type Memo = Conv2dMemo<T>;

    fn kind(&self) -> &'static str {
        "conv"
    }

    fn describe(&self) -> String {
        let shape = self.plan.shape();
        let mut line = format!("{} maps {}", shape.out_channels(), Size::from(shape.kernel()));
        if shape.stride() != [1, 1] {
            line += &format!(", stride {}", Size::from(shape.stride()));
        }
        if self.activation != Activation::Identity {
            line += &format!(", {}", self.activation);
        }
        if let Some(pool) = &self.pool {
            line += &format!(", {}", pool2d::describe("max", pool));
        }
        line
    }

    /// Algorithms are among them: each adds in an order of its own.
    fn settings(&self) -> String {
        let shape = self.plan.shape();
        let Padding { top, bottom, left, right } = shape.padding();
        let (dilation, groups) = (Size::from(shape.dilation()), shape.groups());
        let [forward, input_gradient, weight_gradient] = self.plan.algorithms();
        format!(
            "{}, padding {top} {bottom} {left} {right}, dilation {dilation}, groups {groups}, {}, algorithms {forward} \
             {input_gradient} {weight_gradient}",
            self.describe(),
            if self.bias { "biases" } else { "no biases" },
        )
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        let shape = self.plan.shape();
        let [height, width] = shape.input();
        expect_sample(&[shape.in_channels(), height, width], input)?;
        let [out_height, out_width] = self.pool.map_or(shape.output(), |pool| pool.output());
        Ok(vec![shape.out_channels(), out_height, out_width])
    }

    fn params(&self) -> Vec<TensorSpec> {
        let shape = self.plan.shape();
        let mut tensors = vec![TensorSpec::weight("weight", &shape.weight_dim())];
        if self.bias {
            tensors.push(TensorSpec::plain("bias", &[shape.out_channels()]));
        }
        tensors
    }

    fn init(&self, params: &mut [T], stream: &mut Stream) {
        let [maps, channels, height, width] = self.plan.shape().weight_dim();
        let fan_out = maps / self.plan.shape().groups() * height * width;
        let [weight, bias] = split_mut(params, self.lens());
        self.init.fill(channels * height * width, fan_out, weight, bias, stream);
    }

    fn at_once(&self) -> usize {
        self.plan.images_at_once()
    }

    fn macs(&self, _: &[usize]) -> u64 {
        self.plan.shape().macs()
    }

    /// Max pooling by windows of 2x2 pixels, side by side: the maps need not be written to memory.
    fn fuse(&self, next: &dyn Any) -> Option<Self> {
        let pool = *next.downcast_ref::<MaxPool2d>()?.shape();
        let pairs = pool.window() == [2, 2] && pool.stride() == [2, 2];
        (pairs && self.pool.is_none()).then(|| Self {
            plan: self.plan.clone().max_pooled(),
            pool: Some(pool),
            ..self.clone()
        })
    }

    fn packed_len(&self, passes: PackFor) -> usize {
        self.plan.packed_len(passes)
    }

    fn pack(&self, passes: PackFor, params: &[T], packed: &mut [T]) {
        let [weight, _] = split(params, self.lens());
        self.plan.pack(passes, weight, packed).expect(CHECKED);
    }

    fn memo(&self, input: &Ix4) -> Conv2dMemo<T> {
        let outputs = self.pool.map_or(0, |pool| pool.output_len());
        let room = Claim::new(&self.rooms, self.plan.scratch(input[0]));
        Conv2dMemo { room, positions: vec![0; input[0] * outputs] }
    }

    fn forward(
        &self,
        state: State<'_, T>,
        x: ArrayView4<'_, T>,
        mut y: ArrayViewMut4<'_, T>,
        memo: &mut Conv2dMemo<T>,
        _: Phase<'_>,
    ) {
        let [_, bias] = split(state.params, self.lens());
        let epilogue = Epilogue { bias: self.bias.then_some(bias), activation: self.activation };
        let (batch, weights, x, y) = (x.dim().0, self.weights(state), elements(&x), elements_mut(&mut y));
        let Conv2dMemo { room, positions } = memo;
        let done = room.enter(|scratch| {
            if self.pool.is_some() {
                let positions = &mut positions[..y.len()];
                self.plan.forward_max_pooled(batch, x, weights, epilogue, y, positions, scratch)
            } else {
                self.plan.forward(batch, x, weights, epilogue, y, scratch)
            }
        });
        done.expect(CHECKED);
    }

    /// With δ = ∂C/∂z = ∂C/∂y · σ′(z), as in the article: ∂C/∂b sums δ over each map, ∂C/∂w correlates the input with δ,
    /// ∂C/∂x is the full convolution of w with δ.
    ///
    /// With a pooling, δ is that of the winners, and zero elsewhere; ∂C/∂b sums the winners alone.
    fn backward(
        &self,
        state: State<'_, T>,
        mut pass: Pass<'_, T, Self>,
        dx: Option<ArrayViewMut4<'_, T>>,
        grads: &mut [T],
    ) {
        let Conv2dMemo { room, positions } = pass.memo;
        let (batch, x, dy) = (pass.x.dim().0, elements(&pass.x), elements_mut(&mut pass.dy));
        self.activation.backprop(elements(&pass.y), dy);
        let ([dweight, dbias], weights) = (split_mut(grads, self.lens()), self.weights(state));
        let mut dx = dx;
        let (dx, dbias) = (dx.as_mut().map(elements_mut), self.bias.then_some(dbias));
        let done = room.enter(|scratch| {
            if self.pool.is_some() {
                let (positions, to) = (&positions[..dy.len()], Gradients { dx, dweight, dbias });
                return self.plan.backward_max_pooled(batch, x, weights, dy, positions, to, scratch);
            }
            dbias.map_or(Ok(()), |dbias| self.plan.bias_gradient(batch, dy, dbias))?;
            self.plan.weight_gradient(batch, x, dy, dweight, scratch)?;
            dx.map_or(Ok(()), |dx| self.plan.input_gradient(batch, dy, weights, dx, scratch))
        });
        done.expect(CHECKED);
    }
}
