//! Building a network: the sizes of each layer are inferred from what comes before it.

use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use layers::{Activation, Init, Layer, Padding, Scalar, Size};

use crate::{
    LayerSpec, NetError, NetSpec, Scaling, Sequential,
    erased::Erased,
    error::dims,
    sequential::{Stage, layer_error},
    spec::NamedLayer,
};

/// The most values that one sample may have, in all of a network's layers together: 2²⁸, a gigabyte of `f32`. More is a
/// mistake in a size, or a hostile file.
const MAX_SAMPLE: usize = 1 << 28;

/// A network in the making; see [`Sequential::builder`].
///
/// A call that means nothing where it stands (a stride for a dropout) is remembered and reported by
/// [`build`](Self::build): nothing panics in between.
#[derive(Debug)]
pub struct SequentialBuilder<T: Scalar> {
    input: Vec<usize>,
    scaling: Scaling,
    entries: Vec<Entry<T>>,
    error: Option<NetError>,
}

/// A layer to be made, and its name if it was given one.
#[derive(Debug)]
struct Entry<T> {
    name: Option<String>,
    what: What<T>,
}

enum What<T> {
    Spec(LayerSpec),
    Own(Box<dyn Erased<T>>),
}

impl<T> fmt::Debug for What<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(spec) => spec.fmt(f),
            Self::Own(_) => f.write_str("a layer of the user's own"),
        }
    }
}

impl<T: Scalar> SequentialBuilder<T> {
    pub(crate) fn new(input: impl Into<Vec<usize>>) -> Self {
        Self { input: input.into(), scaling: Scaling::unit(), entries: Vec::new(), error: None }
    }

    /// How bytes become numbers; [`Scaling::unit`] (bytes / 255) unless said otherwise.
    #[must_use]
    pub fn scaling(mut self, scaling: Scaling) -> Self {
        self.scaling = scaling;
        self
    }

    /// A convolutional layer of `out_channels` feature maps; stride 1, no padding, biases.
    #[must_use]
    #[doc(alias = "FeatureMap")]
    pub fn conv2d(self, out_channels: usize, kernel_size: impl Into<Size>) -> Self {
        self.push(LayerSpec::conv2d(out_channels, pair(kernel_size)))
    }

    /// Max pooling; the stride equals the window unless said otherwise (the article's is `.stride(1)`).
    #[must_use]
    #[doc(alias = "MaxPoolingMap")]
    pub fn max_pool2d(self, window: impl Into<Size>) -> Self {
        let window = pair(window);
        self.push(LayerSpec::MaxPool2d { window, stride: window })
    }

    /// Average pooling; the stride equals the window unless said otherwise.
    #[must_use]
    pub fn avg_pool2d(self, window: impl Into<Size>) -> Self {
        let window = pair(window);
        self.push(LayerSpec::AvgPool2d { window, stride: window })
    }

    /// A fully connected layer; images are flattened.
    #[must_use]
    #[doc(alias = "FullyConnectedLayer")]
    pub fn dense(self, outputs: usize) -> Self {
        self.push(LayerSpec::dense(outputs))
    }

    /// Drops each value with a probability while learning, and scales the others up.
    #[must_use]
    pub fn dropout(self, probability: f64) -> Self {
        self.push(LayerSpec::Dropout { probability, inverted: true })
    }

    /// Batch normalization of images, with PyTorch's defaults: ε 10⁻⁵, momentum 0.1.
    #[must_use]
    pub fn batch_norm2d(self) -> Self {
        self.push(LayerSpec::batch_norm2d())
    }

    /// `(C, H, W)` to `(C·H·W)`.
    #[must_use]
    pub fn flatten(self) -> Self {
        self.push(LayerSpec::Flatten {})
    }

    /// Any layer by its description.
    #[must_use]
    pub fn spec(self, spec: LayerSpec) -> Self {
        self.push(spec)
    }

    /// A layer of one's own.
    #[must_use]
    pub fn layer(mut self, layer: impl Layer<T>) -> Self {
        self.entries.push(Entry { name: None, what: What::Own(Box::new(layer)) });
        self
    }

    /// An activation: inside the layer before it when that is a convolution, a dense layer or a batch normalization without one,
    /// else a layer of its own.
    #[must_use]
    pub fn activation(mut self, function: Activation) -> Self {
        if let Some(Entry { what: What::Spec(spec), .. }) = self.entries.last_mut()
            && let LayerSpec::Conv2d { activation, .. }
            | LayerSpec::Dense { activation, .. }
            | LayerSpec::BatchNorm2d { activation, .. } = spec
            && *activation == Activation::Identity
        {
            *activation = function;
            return self;
        }
        self.push(LayerSpec::Activation { activation: function })
    }

    /// The stride of the convolution or pooling before.
    #[must_use]
    pub fn stride(self, stride: impl Into<Size>) -> Self {
        let pair = pair(stride);
        self.change(&format!(".stride({pair:?})"), "a convolution or a pooling", |spec| match spec {
            LayerSpec::Conv2d { stride, .. }
            | LayerSpec::MaxPool2d { stride, .. }
            | LayerSpec::AvgPool2d { stride, .. } => {
                *stride = pair;
                true
            }
            _ => false,
        })
    }

    /// The padding of the convolution before: a number, `[vertical, horizontal]`, or a [`Padding`].
    #[must_use]
    pub fn padding(self, around: impl Into<Padding>) -> Self {
        let Padding { top, bottom, left, right } = around.into();
        self.change(".padding(…)", "a convolution", |spec| match spec {
            LayerSpec::Conv2d { padding, .. } => {
                *padding = [top, bottom, left, right];
                true
            }
            _ => false,
        })
    }

    /// The dilation of the convolution before.
    #[must_use]
    pub fn dilation(self, dilation: impl Into<Size>) -> Self {
        let pair = pair(dilation);
        self.change(&format!(".dilation({pair:?})"), "a convolution", |spec| match spec {
            LayerSpec::Conv2d { dilation, .. } => {
                *dilation = pair;
                true
            }
            _ => false,
        })
    }

    /// The groups of the convolution before.
    #[must_use]
    pub fn groups(self, count: usize) -> Self {
        self.change(&format!(".groups({count})"), "a convolution", |spec| match spec {
            LayerSpec::Conv2d { groups, .. } => {
                *groups = count;
                true
            }
            _ => false,
        })
    }

    /// Whether the convolution or dense layer before has biases (it has, unless told otherwise).
    #[must_use]
    pub fn bias(self, has: bool) -> Self {
        self.change(&format!(".bias({has})"), "a convolution or a dense layer", |spec| match spec {
            LayerSpec::Conv2d { bias, .. } | LayerSpec::Dense { bias, .. } => {
                *bias = has;
                true
            }
            _ => false,
        })
    }

    /// How the parameters of the convolution or dense layer before start. Unless said: He's for the ReLU family, Glorot's
    /// otherwise, biases zero.
    #[must_use]
    pub fn init(self, how: Init) -> Self {
        self.change(".init(…)", "a convolution or a dense layer", |spec| match spec {
            LayerSpec::Conv2d { init, .. } | LayerSpec::Dense { init, .. } => {
                *init = Some(how);
                true
            }
            _ => false,
        })
    }

    /// The name of the layer before: it begins the names of its tensors. Unless said, layers are counted by kind: `conv1`,
    /// `pool1`, `conv2`, …
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        match self.entries.last_mut() {
            Some(entry) => entry.name = Some(name.into()),
            None => self.fail(&format!(".named({name:?})"), "names the layer before it, and there is none yet"),
        }
        self
    }

    /// Infers every size and draws the parameters from `seed`.
    ///
    /// # Errors
    /// [`NetError`] names the layer that does not fit, with the shape that it wants and the one that it gets.
    pub fn build(self, seed: u64) -> Result<Sequential<T>, NetError> {
        let Blueprint { input, scaling, stages, spec } = self.blueprint()?;
        Ok(Sequential::assemble(input, scaling, stages, spec, seed))
    }

    /// Everything but the parameters: no memory to speak of is taken yet.
    pub(crate) fn blueprint(self) -> Result<Blueprint<T>, NetError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        check_sample("the input", &self.input)?;
        if self.entries.is_empty() {
            return Err(NetError::Shape("a network needs at least one layer".into()));
        }
        if self.input.len() == 3 {
            self.scaling.check(self.input[0])?;
        }
        let names = names(&self.entries)?;
        let mut stages: Vec<Stage<T>> = Vec::new();
        let mut specs = Some(Vec::new());
        let mut values = self.input.iter().product::<usize>();
        for (entry, name) in self.entries.into_iter().zip(names) {
            let before = stages.last();
            let shape = before.map_or(&self.input, |stage| &stage.output).clone();
            let fail = |source| layer_error(&name, before, source);
            let mut layer = match entry.what {
                What::Spec(spec) => {
                    let layer = spec.make::<T>(&shape).map_err(fail)?;
                    specs.iter_mut().for_each(|all| all.push(NamedLayer { name: name.clone(), layer: spec.clone() }));
                    layer
                }
                What::Own(layer) => {
                    specs = None;
                    layer
                }
            };
            let output = layer.output_shape(&shape).map_err(fail)?;
            check_sample(&format!("the output of {name}"), &output)?;
            values += output.iter().product::<usize>();
            if values > MAX_SAMPLE {
                return Err(NetError::Shape(format!(
                    "up to {name}, one sample makes {values} values; at most 2^28 are allowed"
                )));
            }
            layer.attach(&name);
            let nowhere: Range<usize> = 0..0;
            stages.push(Stage {
                name,
                end: stages.len() + 1,
                layer: Arc::from(layer),
                input: shape,
                output,
                params: nowhere.clone(),
                buffers: nowhere,
            });
        }
        let spec = specs.map(|layers| NetSpec { input: self.input.clone(), scaling: self.scaling.clone(), layers });
        Ok(Blueprint { input: self.input, scaling: self.scaling, stages, spec })
    }

    fn push(mut self, spec: LayerSpec) -> Self {
        self.entries.push(Entry { name: None, what: What::Spec(spec) });
        self
    }

    /// Changes the last layer, which must be one of `kinds`.
    fn change(mut self, method: &str, kinds: &str, change: impl FnOnce(&mut LayerSpec) -> bool) -> Self {
        let changed = match self.entries.last_mut() {
            Some(Entry { what: What::Spec(spec), .. }) => change(spec),
            _ => false,
        };
        if !changed {
            self.fail(method, &format!("belongs right after {kinds}"));
        }
        self
    }

    /// Remembers the first mistake.
    fn fail(&mut self, method: &str, problem: &str) {
        self.error.get_or_insert(NetError::Builder { method: method.into(), problem: problem.into() });
    }
}

/// A network of which everything is known but its parameters.
pub(crate) struct Blueprint<T> {
    pub(crate) input: Vec<usize>,
    pub(crate) scaling: Scaling,
    pub(crate) stages: Vec<Stage<T>>,
    pub(crate) spec: Option<NetSpec>,
}

impl<T: Scalar> From<NetSpec> for SequentialBuilder<T> {
    fn from(spec: NetSpec) -> Self {
        let entry = |NamedLayer { name, layer }| Entry { name: Some(name), what: What::Spec(layer) };
        Self {
            input: spec.input,
            scaling: spec.scaling,
            entries: spec.layers.into_iter().map(entry).collect(),
            error: None,
        }
    }
}

/// `[rows, columns]`.
fn pair(size: impl Into<Size>) -> [usize; 2] {
    let Size { height, width } = size.into();
    [height, width]
}

/// The layers' names: those that were given, else counted by kind.
fn names<T: Scalar>(entries: &[Entry<T>]) -> Result<Vec<String>, NetError> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for entry in entries {
        let kind = match &entry.what {
            What::Spec(spec) => spec.kind(),
            What::Own(layer) => layer.kind(),
        };
        let count = match counts.iter_mut().find(|(counted, _)| *counted == kind) {
            Some((_, count)) => count,
            None => {
                counts.push((kind, 0));
                &mut counts.last_mut().expect("just pushed").1
            }
        };
        *count += 1;
        let name = entry.name.clone().unwrap_or_else(|| format!("{kind}{count}"));
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            let problem = "a layer's name is 1 to 128 printable characters";
            return Err(NetError::Builder { method: format!(".named({name:?})"), problem: problem.into() });
        }
        if !seen.insert(name.clone()) {
            return Err(NetError::DuplicateName { name });
        }
        names.push(name);
    }
    Ok(names)
}

/// Whether a sample's sizes are at least 1, and together not beyond reason.
fn check_sample(what: &str, shape: &[usize]) -> Result<(), NetError> {
    let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
    match len {
        Some(1..=MAX_SAMPLE) if !shape.is_empty() => Ok(()),
        _ => Err(NetError::Shape(format!(
            "{what} has the shape {}: every size must be at least 1, and the product at most 2^28",
            dims(shape)
        ))),
    }
}
