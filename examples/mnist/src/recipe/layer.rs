//! The layers of a recipe, as they are written.

use net::{Activation, Init, LayerSpec};
use serde::{Deserialize, Deserializer};

/// `{ conv2d = { out_channels = 20, kernel_size = 5, activation = "relu" } }`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Layer {
    Conv2d {
        out_channels: usize,
        kernel_size: usize,
        #[serde(default = "one")]
        stride: usize,
        #[serde(default)]
        padding: usize,
        #[serde(default = "yes")]
        bias: bool,
        #[serde(default, with = "ActivationName")]
        activation: Activation,
        #[serde(default, deserialize_with = "init")]
        init: Option<Init>,
    },
    Dense {
        outputs: usize,
        #[serde(default, with = "ActivationName")]
        activation: Activation,
        #[serde(default, deserialize_with = "init")]
        init: Option<Init>,
    },
    MaxPool2d {
        window: usize,
        /// The window, unless said.
        stride: Option<usize>,
    },
    AvgPool2d {
        window: usize,
        stride: Option<usize>,
    },
    Activation {
        #[serde(with = "ActivationName")]
        function: Activation,
    },
    Dropout {
        probability: f64,
        #[serde(default = "yes")]
        inverted: bool,
    },
    BatchNorm2d {
        #[serde(default, with = "ActivationName")]
        activation: Activation,
    },
}

impl Layer {
    /// The same in the library's words, every setting said.
    pub(super) fn spec(&self) -> LayerSpec {
        match *self {
            Self::Conv2d { out_channels, kernel_size, stride, padding, bias, activation, init } => LayerSpec::Conv2d {
                out_channels,
                kernel_size: [kernel_size; 2],
                stride: [stride; 2],
                padding: [padding; 4],
                dilation: [1; 2],
                groups: 1,
                bias,
                activation,
                init,
            },
            Self::Dense { outputs, activation, init } => LayerSpec::Dense { outputs, bias: true, activation, init },
            Self::MaxPool2d { window, stride } => {
                LayerSpec::MaxPool2d { window: [window; 2], stride: [stride.unwrap_or(window); 2] }
            }
            Self::AvgPool2d { window, stride } => {
                LayerSpec::AvgPool2d { window: [window; 2], stride: [stride.unwrap_or(window); 2] }
            }
            Self::Activation { function } => LayerSpec::Activation { activation: function },
            Self::Dropout { probability, inverted } => LayerSpec::Dropout { probability, inverted },
            Self::BatchNorm2d { activation } => LayerSpec::BatchNorm2d { epsilon: 1e-5, momentum: 0.1, activation },
        }
    }
}

/// [`Activation`] as it is written.
#[derive(Deserialize)]
#[serde(remote = "Activation", rename_all = "snake_case", deny_unknown_fields)]
enum ActivationName {
    Identity,
    Sigmoid,
    Tanh,
    Relu,
    #[serde(skip)]
    LeakyRelu {
        slope: f64,
    },
}

/// [`Init`] as it is written.
#[derive(Deserialize)]
#[serde(remote = "Init", rename_all = "snake_case", deny_unknown_fields)]
enum InitName {
    StandardNormal,
    HeNormal,
    GlorotUniform,
    NielsenFanIn,
    NielsenFanOut {
        pool_area: usize,
    },
    #[serde(rename = "pytorch")]
    PyTorch,
    Zeros,
}

fn init<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Init>, D::Error> {
    InitName::deserialize(from).map(Some)
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}
