//! The fully connected layer.

use std::marker::PhantomData;

use conv_kernels::{Activation, PackFor, Scalar, gemm, vectorized};
use ndarray::{ArrayView2, ArrayViewMut2, Ix2};

use crate::{
    Init, Layer, LayerError, Pass, Phase, Scope, State, TensorSpec,
    random::Stream,
    split, split_mut,
    views::{elements, elements_mut},
};

/// Weights of at most this many bytes are kept transposed for inference: more would not be in a cache anyway.
const TRANSPOSED_BYTES: usize = 16 << 20;

/// At most so many samples read transposed weights.
const FEW: usize = 14;

/// From so many multiply-adds on, the two products of the backward pass run side by side.
const SIDE_BY_SIDE: usize = 500_000;

/// Side of the squares by which weights are transposed.
const SQUARE: usize = 16;

const CHECKED: &str = "the shapes were checked when the layer was built and the batch entered";

/// Every output sees every input: `y = σ(x wᵀ + b)`, vectors `(N, inputs)` to `(N, outputs)`.
///
/// Parameters: `weight` `(outputs, inputs)` and `bias` `(outputs,)`. It accepts samples of any shape with `inputs` elements: a
/// network hands it images as rows (the article's `as_col`).
///
/// Source: "Convolutional Neural Networks: An Intuitive Primer", `FullyConnectedLayer`. The article's remark that such a layer
/// is a convolution whose maps are 1×1 holds, and is tested: [`Conv2d`](crate::Conv2d) with a kernel as large as its input.
///
/// ```
/// use layers::{Activation, Dense, Solo};
/// use ndarray::array;
///
/// let fc = Dense::new(3, 2).activation(Activation::Relu).build()?;
/// let mut fc = Solo::<f64, _>::new(fc, &[3], 0)?;
/// fc.params_mut().set("weight", &array![[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]].into_dyn())?;
/// assert_eq!(fc.forward(&array![[1.0, 1.0, 1.0]])?, array![[6.0, 0.0]]);
/// assert_eq!(fc.backward(&array![[1.0, 1.0]])?, array![[1.0, 2.0, 3.0]]);
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias("FullyConnectedLayer", "Linear"))]
pub struct Dense<T> {
    inputs: usize,
    outputs: usize,
    bias: bool,
    activation: Activation,
    init: Init,
    element: PhantomData<T>,
}

// `new` belongs to one element type only so that `Dense::new(…)` needs no annotation: it is `build` that chooses the type.
impl Dense<f32> {
    /// A layer of `outputs` neurons over `inputs` values; with a bias and without activation until the builder is told otherwise.
    #[expect(clippy::new_ret_no_self, reason = "layers with options are made by builders, all alike")]
    pub fn new(inputs: usize, outputs: usize) -> DenseBuilder {
        DenseBuilder { inputs, outputs, bias: true, activation: Activation::Identity, init: None }
    }
}

impl<T: Scalar> Dense<T> {
    /// The activation of the neurons.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The lengths of weight and bias.
    fn lens(&self) -> [usize; 2] {
        [self.outputs * self.inputs, if self.bias { self.outputs } else { 0 }]
    }

    /// The weights as a matrix.
    fn matrix<'a>(&self, weight: &'a [T]) -> ArrayView2<'a, T> {
        ArrayView2::from_shape((self.outputs, self.inputs), weight).expect("a tensor is as long as its shape")
    }
}

/// Sizes of a [`Dense`] layer, on their way to be checked.
///
/// ```
/// use layers::{Dense, Layer};
/// let fc = Dense::new(800, 10).bias(false).build::<f32>()?;
/// assert_eq!(fc.output_shape(&[32, 5, 5])?, [10]);
/// assert_eq!(fc.macs(&[32, 5, 5]), 8000);
/// assert_eq!(Dense::new(0, 10).build::<f32>().unwrap_err().to_string(), "inputs must be at least 1");
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `build` to make the layer"]
pub struct DenseBuilder {
    inputs: usize,
    outputs: usize,
    bias: bool,
    activation: Activation,
    init: Option<Init>,
}

impl DenseBuilder {
    /// Whether each neuron has a bias (default yes).
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// The activation of the neurons (default [`Activation::Identity`]).
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// How the parameters begin (default: [`Init::default_for`] the activation).
    pub fn init(self, init: Init) -> Self {
        Self { init: Some(init), ..self }
    }

    /// Checks the sizes and chooses the element type.
    ///
    /// # Errors
    /// [`LayerError::Zero`] when a size is zero; [`LayerError::TooLarge`] when no memory could hold the weights.
    pub fn build<T: Scalar>(self) -> Result<Dense<T>, LayerError> {
        for (what, size) in [("inputs", self.inputs), ("outputs", self.outputs)] {
            if size == 0 {
                return Err(LayerError::Zero { what });
            }
        }
        let bytes = self.inputs.checked_mul(self.outputs).and_then(|len| len.checked_mul(size_of::<T>()));
        if bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            return Err(LayerError::TooLarge { what: "weight", shape: vec![self.outputs, self.inputs] });
        }
        let init = self.init.unwrap_or(Init::default_for(self.activation)).check()?;
        let activation = self.activation.check()?;
        let Self { inputs, outputs, bias, .. } = self;
        Ok(Dense { inputs, outputs, bias, activation, init, element: PhantomData })
    }
}

impl<T: Scalar> Layer<T> for Dense<T> {
    type In = Ix2;
    type Out = Ix2;
    type Memo = ();

    fn kind(&self) -> &'static str {
        "fc"
    }

    fn describe(&self) -> String {
        match self.activation {
            Activation::Identity => format!("{} neurons", self.outputs),
            activation => format!("{} neurons, {activation}", self.outputs),
        }
    }

    fn settings(&self) -> String {
        format!("{}, {}", self.describe(), if self.bias { "biases" } else { "no biases" })
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        if input.iter().product::<usize>() == self.inputs {
            return Ok(vec![self.outputs]);
        }
        Err(LayerError::InputShape { wants: format!("{} values", self.inputs), got: input.to_vec() })
    }

    fn params(&self) -> Vec<TensorSpec> {
        let mut tensors = vec![TensorSpec::weight("weight", &[self.outputs, self.inputs])];
        if self.bias {
            tensors.push(TensorSpec::plain("bias", &[self.outputs]));
        }
        tensors
    }

    fn init(&self, params: &mut [T], stream: &mut Stream) {
        let [weight, bias] = split_mut(params, self.lens());
        self.init.fill(self.inputs, self.outputs, weight, bias, stream);
    }

    /// To learn, the whole batch: one large product is faster than many small ones.
    fn scope(&self) -> Scope {
        Scope::BatchToLearn
    }

    fn macs(&self, _: &[usize]) -> u64 {
        self.inputs as u64 * self.outputs as u64
    }

    /// For inference, where weights stay as they are, the transposed weights, if they are not too many: a few samples then read
    /// them from end to end.
    fn packed_len(&self, passes: PackFor) -> usize {
        let len = self.inputs * self.outputs;
        if passes == PackFor::Forward && len <= TRANSPOSED_BYTES / size_of::<T>() { len } else { 0 }
    }

    fn pack(&self, _: PackFor, params: &[T], packed: &mut [T]) {
        let [weight, _] = split(params, self.lens());
        for (first, rows) in weight.chunks(SQUARE * self.inputs).enumerate() {
            for columns in (0..self.inputs).step_by(SQUARE) {
                let columns = columns..self.inputs.min(columns + SQUARE);
                for (output, row) in (SQUARE * first..).zip(rows.chunks_exact(self.inputs)) {
                    for input in columns.clone() {
                        packed[input * self.outputs + output] = row[input];
                    }
                }
            }
        }
    }

    fn memo(&self, _: &Ix2) {}

    fn forward(
        &self,
        state: State<'_, T>,
        x: ArrayView2<'_, T>,
        mut y: ArrayViewMut2<'_, T>,
        (): &mut (),
        _: Phase<'_>,
    ) {
        let [weight, bias] = split(state.params, self.lens());
        let transposed = match state.packed {
            packed if packed.is_empty() || x.nrows() > FEW => self.matrix(weight).reversed_axes(),
            packed => ArrayView2::from_shape((self.inputs, self.outputs), packed).expect(CHECKED),
        };
        gemm(T::one(), &x, &transposed, T::ZERO, &mut y).expect(CHECKED);
        let y = elements_mut(&mut y);
        vectorized(|| {
            for row in y.chunks_exact_mut(self.outputs) {
                row.iter_mut().zip(bias).for_each(|(z, &b)| *z += b);
            }
        });
        self.activation.apply(y);
    }

    /// With δ = ∂C/∂z = ∂C/∂y · σ′(z): ∂C/∂b sums δ over the batch, ∂C/∂w = δᵀ x, ∂C/∂x = δ w.
    fn backward(
        &self,
        state: State<'_, T>,
        mut pass: Pass<'_, T, Self>,
        dx: Option<ArrayViewMut2<'_, T>>,
        grads: &mut [T],
    ) {
        let [weight, _] = split(state.params, self.lens());
        let [dweight, dbias] = split_mut(grads, self.lens());
        let delta = elements_mut(&mut pass.dy);
        self.activation.backprop(elements(&pass.y), delta);
        vectorized(|| {
            for row in delta.chunks_exact(self.outputs) {
                dbias.iter_mut().zip(row).for_each(|(db, &d)| *db += d);
            }
        });
        let mut dweight =
            ArrayViewMut2::from_shape((self.outputs, self.inputs), dweight).expect("a tensor is as long as its shape");
        let (x, dy) = (&pass.x, &pass.dy);
        let mut weights = || gemm(T::one(), &dy.t(), x, T::one(), &mut dweight).expect(CHECKED);
        let Some(mut dx) = dx else { return weights() };
        let mut images = || gemm(T::one(), dy, &self.matrix(weight), T::ZERO, &mut dx).expect(CHECKED);
        let macs = x.nrows() * self.inputs * self.outputs;
        if macs < SIDE_BY_SIDE {
            weights();
            images();
        } else {
            rayon::join(weights, images);
        }
    }
}
