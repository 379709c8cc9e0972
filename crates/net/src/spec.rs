//! Networks as data: what a model file says about its architecture.

use layers::{
    Activate, Activation, AvgPool2d, BatchNorm2d, Conv2d, Dense, Dropout, Flatten, Init, Layer, LayerError, MaxPool2d,
    Padding, Scalar,
};
use ndarray::{Ix2, Ix4};
use serde::{Deserialize, Serialize};

use crate::{data::Scaling, erased::Erased};

/// A network's architecture, as stored in a model file.
///
/// ```
/// use net::{NetSpec, Sequential};
/// let net = Sequential::builder([1, 28, 28]).conv2d(20, 5).max_pool2d(2).dense(10).build(0)?;
/// let spec: NetSpec = net.spec().expect("no layer of the user's own").clone();
/// let json = serde_json::to_string(&spec)?;
/// assert_eq!(serde_json::from_str::<NetSpec>(&json)?, spec);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetSpec {
    /// The shape of one sample, without the batch axis.
    pub input: Vec<usize>,
    /// How bytes become numbers.
    pub scaling: Scaling,
    /// The layers, in order, by name.
    pub layers: Vec<NamedLayer>,
}

/// A layer and its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedLayer {
    /// The name, which begins the names of its tensors.
    pub name: String,
    /// What it is.
    pub layer: LayerSpec,
}

/// A layer whose sizes are those of whatever comes before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerSpec {
    /// [`layers::Conv2d`].
    Conv2d {
        /// The number of feature maps.
        out_channels: usize,
        /// Rows and columns of the overlay.
        kernel_size: [usize; 2],
        /// Rows and columns that it moves by.
        stride: [usize; 2],
        /// Zeros around the image: top, bottom, left, right.
        padding: [usize; 4],
        /// Rows and columns between neighbouring weights.
        dilation: [usize; 2],
        /// Groups of channels that do not meet.
        groups: usize,
        /// Whether a bias is added.
        bias: bool,
        /// What is applied to the sum.
        #[serde(with = "ActivationSpec")]
        activation: Activation,
        /// How weights start; `None` is the default for the activation.
        #[serde(with = "optional_init")]
        init: Option<Init>,
    },
    /// [`layers::Dense`].
    Dense {
        /// The number of neurons.
        outputs: usize,
        /// Whether a bias is added.
        bias: bool,
        /// What is applied to the sum.
        #[serde(with = "ActivationSpec")]
        activation: Activation,
        /// How weights start; `None` is the default for the activation.
        #[serde(with = "optional_init")]
        init: Option<Init>,
    },
    /// [`layers::MaxPool2d`].
    MaxPool2d {
        /// Rows and columns of the window.
        window: [usize; 2],
        /// Rows and columns that it moves by.
        stride: [usize; 2],
    },
    /// [`layers::AvgPool2d`].
    AvgPool2d {
        /// Rows and columns of the window.
        window: [usize; 2],
        /// Rows and columns that it moves by.
        stride: [usize; 2],
    },
    /// [`layers::Activate`].
    Activation {
        /// The function.
        #[serde(with = "ActivationSpec")]
        activation: Activation,
    },
    /// [`layers::Dropout`].
    Dropout {
        /// The probability of dropping a value.
        probability: f64,
        /// Whether kept values are scaled while training, rather than all of them otherwise.
        #[serde(default = "yes")]
        inverted: bool,
    },
    /// [`layers::BatchNorm2d`].
    BatchNorm2d {
        /// Added to the variance.
        epsilon: f64,
        /// The weight of the newest batch in the running statistics.
        momentum: f64,
        /// What is applied to the normalized values.
        #[serde(with = "ActivationSpec", default)]
        activation: Activation,
    },
    /// [`layers::Flatten`].
    Flatten {},
}

impl LayerSpec {
    /// A convolution with `kernel_size` overlays, everything else at its default.
    #[must_use]
    pub fn conv2d(out_channels: usize, kernel_size: [usize; 2]) -> Self {
        Self::Conv2d {
            out_channels,
            kernel_size,
            stride: [1, 1],
            padding: [0; 4],
            dilation: [1, 1],
            groups: 1,
            bias: true,
            activation: Activation::Identity,
            init: None,
        }
    }

    /// A fully connected layer.
    #[must_use]
    pub fn dense(outputs: usize) -> Self {
        Self::Dense { outputs, bias: true, activation: Activation::Identity, init: None }
    }

    /// Batch normalization with PyTorch's defaults: ε 10⁻⁵, momentum 0.1.
    #[must_use]
    pub fn batch_norm2d() -> Self {
        Self::BatchNorm2d { epsilon: 1e-5, momentum: 0.1, activation: Activation::Identity }
    }

    /// What the layer is called when nobody gives it a name; a number follows.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv",
            Self::Dense { .. } => "fc",
            Self::MaxPool2d { .. } | Self::AvgPool2d { .. } => "pool",
            Self::Activation { activation } => Layer::<f32>::kind(&Activate::<Ix2>::new(*activation)),
            Self::Dropout { .. } => "drop",
            Self::BatchNorm2d { .. } => "bn",
            Self::Flatten {} => "flatten",
        }
    }

    /// The layer, made for samples of shape `input`.
    pub(crate) fn make<T: Scalar>(&self, input: &[usize]) -> Result<Box<dyn Erased<T>>, LayerError> {
        Ok(match *self {
            Self::Conv2d { out_channels, kernel_size, stride, padding, dilation, groups, bias, activation, init } => {
                let [top, bottom, left, right] = padding;
                let layer = Conv2d::new(image(input)?, out_channels, kernel_size)
                    .stride(stride)
                    .padding(Padding { top, bottom, left, right })
                    .dilation(dilation)
                    .groups(groups)
                    .bias(bias)
                    .activation(activation)
                    .init(init.unwrap_or(Init::default_for(activation)));
                Box::new(layer.build::<T>()?)
            }
            Self::Dense { outputs, bias, activation, init } => {
                let layer = Dense::new(input.iter().product(), outputs)
                    .bias(bias)
                    .activation(activation)
                    .init(init.unwrap_or(Init::default_for(activation)));
                Box::new(layer.build::<T>()?)
            }
            Self::MaxPool2d { window, stride } => {
                Box::new(MaxPool2d::new(image(input)?, window).stride(stride).build()?)
            }
            Self::AvgPool2d { window, stride } => {
                Box::new(AvgPool2d::new(image(input)?, window).stride(stride).build()?)
            }
            Self::Activation { activation } if input.len() == 3 => Box::new(Activate::<Ix4>::new(activation)),
            Self::Activation { activation } => Box::new(Activate::<Ix2>::new(activation)),
            Self::Dropout { probability, inverted } if input.len() == 3 => {
                Box::new(Dropout::<Ix4>::new(probability)?.inverted(inverted))
            }
            Self::Dropout { probability, inverted } => Box::new(Dropout::<Ix2>::new(probability)?.inverted(inverted)),
            Self::BatchNorm2d { epsilon, momentum, activation } => {
                let layer = BatchNorm2d::new(image(input)?).epsilon(epsilon).momentum(momentum);
                Box::new(layer.activation(activation).build()?)
            }
            Self::Flatten {} => Box::new(Flatten::new()),
        })
    }
}

/// The sizes of an image, or the error that says what is wrong.
fn image(input: &[usize]) -> Result<[usize; 3], LayerError> {
    let wants = "images (channels, rows, columns)";
    input.try_into().map_err(|_| LayerError::InputShape { wants: wants.into(), got: input.to_vec() })
}

/// What files say that do not say.
fn yes() -> bool {
    true
}

/// [`Activation`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Activation", rename_all = "snake_case")]
enum ActivationSpec {
    Identity,
    Sigmoid,
    Tanh,
    Relu,
    LeakyRelu { slope: f64 },
}

/// [`Init`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Init", rename_all = "snake_case")]
enum InitSpec {
    StandardNormal,
    HeNormal,
    GlorotUniform,
    NielsenFanIn,
    NielsenFanOut { pool_area: usize },
    PyTorch,
    Zeros,
}

/// An [`Init`] or none.
mod optional_init {
    use layers::Init;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::InitSpec;

    #[derive(Serialize, Deserialize)]
    struct Written(#[serde(with = "InitSpec")] Init);

    pub(super) fn serialize<S: Serializer>(init: &Option<Init>, to: S) -> Result<S::Ok, S::Error> {
        init.map(Written).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Init>, D::Error> {
        Ok(Option::<Written>::deserialize(from)?.map(|Written(init)| init))
    }
}
