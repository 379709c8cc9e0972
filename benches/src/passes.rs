//! The passes of a layer as whole calls, ready to be timed.

use std::fmt;
use std::hint::black_box;

use anyhow::Result;
use clap::ValueEnum;
use conv_kernels::{Conv2dPlan, Epilogue, KernelError, Scratch};

use crate::numbers;
use crate::peak::seconds;
use crate::shapes::Layer;

/// What a layer does in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Pass {
    /// The sums and the bias.
    Forward,
    /// The gradient by the input.
    InputGradient,
    /// The gradients by the weights and by the bias.
    WeightGradient,
}

impl Pass {
    /// All three, in the order of [`Conv2dPlan::algorithms`].
    pub const ALL: [Self; 3] = [Self::Forward, Self::InputGradient, Self::WeightGradient];
}

/// `forward`, `input_gradient`, `weight_gradient`.
impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::InputGradient => "input_gradient",
            Self::WeightGradient => "weight_gradient",
        })
    }
}

/// The arrays of one layer: what its passes read and write.
#[derive(Debug)]
pub struct Arrays {
    batch: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
    y: Vec<f32>,
    dx: Vec<f32>,
    dweight: Vec<f32>,
    dbias: Vec<f32>,
}

impl Arrays {
    /// Arrays of random numbers.
    #[must_use]
    pub fn new(layer: &Layer) -> Self {
        let (batch, shape) = (layer.batch, &layer.shape);
        let (x, weight) = (numbers(batch * shape.input_len()), numbers(shape.weight_len()));
        let (bias, dy) = (numbers(shape.out_channels()), numbers(batch * shape.output_len()));
        let (y, dx, dweight, dbias) = (dy.clone(), x.clone(), weight.clone(), bias.clone());
        Self { batch, x, weight, bias, dy, y, dx, dweight, dbias }
    }

    /// One whole call.
    ///
    /// # Errors
    ///
    /// If the plan is for another layer.
    pub fn call(&mut self, plan: &Conv2dPlan<f32>, pass: Pass, scratch: &mut Scratch<f32>) -> Result<(), KernelError> {
        let Self { batch, x, weight, bias, dy, y, dx, dweight, dbias } = self;
        let (x, weight, dy) = (black_box(&x[..]), black_box(&weight[..]), black_box(&dy[..]));
        match pass {
            Pass::Forward => {
                let epilogue = Epilogue { bias: Some(bias), ..Epilogue::none() };
                plan.forward(*batch, x, weight, epilogue, y, scratch)
            }
            Pass::InputGradient => plan.input_gradient(*batch, dy, weight, dx, scratch),
            Pass::WeightGradient => {
                plan.weight_gradient(*batch, x, dy, dweight, scratch)?;
                plan.bias_gradient(*batch, dy, dbias)
            }
        }
    }
}

/// How long calls took, in seconds: the one in the middle, and the shortest, which other work disturbed least.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The median.
    pub median: f64,
    /// The shortest.
    pub best: f64,
}

/// The median duration of a call in seconds, as [`times`] has it.
///
/// # Errors
///
/// The first error of a call.
pub fn median_seconds(least_seconds: f64, call: impl FnMut() -> Result<()>) -> Result<f64> {
    Ok(times(least_seconds, call)?.median)
}

/// The durations of at least 5 calls, and of `least_seconds`, after 2 to warm up.
///
/// # Errors
///
/// The first error of a call.
pub fn times(least_seconds: f64, mut call: impl FnMut() -> Result<()>) -> Result<Times> {
    for _ in 0..2 {
        call()?;
    }
    let (mut times, mut total) = (Vec::new(), 0.0);
    while times.len() < 5 || total < least_seconds {
        let (seconds, result) = seconds(&mut call);
        result?;
        times.push(seconds);
        total += seconds;
    }
    let best = times.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Times { median: median(times), best })
}

/// The middle of a list that is not empty.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::layers;
    use conv_kernels::Options;

    #[test]
    fn every_pass_is_called_and_timed() {
        let layer = layers(r#"{"s": {"l": [2,3,8,8,4,3,3,1,1,1,1]}}"#, "s").unwrap().remove(0);
        let plan = Conv2dPlan::new(layer.shape, &Options::default()).unwrap();
        let (mut arrays, mut scratch) = (Arrays::new(&layer), plan.scratch(layer.batch));
        let before = (arrays.y.clone(), arrays.dx.clone(), arrays.dweight.clone(), arrays.dbias.clone());
        for pass in Pass::ALL {
            let seconds = median_seconds(0.0, || Ok(arrays.call(&plan, pass, &mut scratch)?)).unwrap();
            assert!(seconds > 0.0);
            assert_eq!(Pass::from_str(&pass.to_string(), false), Ok(pass));
        }
        assert!(
            before.0 != arrays.y && before.1 != arrays.dx && before.2 != arrays.dweight && before.3 != arrays.dbias
        );
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
