//! ndarray-conv: one image and one kernel, directly or by Fourier transforms. ndarray adds the bias.

use std::rc::Rc;

use ::ndarray_conv::{ConvExt as _, ConvFFTExt as _, ConvMode, PaddingMode, ReverseKernel as _, get_fft_processor};
use anyhow::Result;
use ndarray::Array2;
use overlay_benches::numbers;
use overlay_benches::passes::Pass;
use overlay_benches::shapes::Layer;

use crate::way::{Computed, Way};

/// None if a layer is more than one image and one kernel.
pub fn ways(layer: &Layer, pass: Pass) -> Result<Vec<Way>> {
    let shape = &layer.shape;
    let plain = shape.stride() == [1, 1] && shape.dilation() == [1, 1] && shape.padding() == 0.into();
    if !plain || [layer.batch, shape.in_channels(), shape.out_channels()] != [1, 1, 1] {
        return Ok(Vec::new());
    }
    let array = |[rows, columns]: [usize; 2]| Array2::from_shape_vec([rows, columns], numbers(rows * columns));
    let (x, weight, dy) = (array(shape.input())?, array(shape.kernel())?, array(shape.output())?);
    let bias = numbers(1)[0];
    let operands = Rc::new(match pass {
        Pass::Forward => Operands { image: x, kernel: weight, flipped: false, mode: ConvMode::Valid },
        Pass::InputGradient => Operands { image: dy, kernel: weight, flipped: true, mode: ConvMode::Full },
        Pass::WeightGradient => Operands { image: x, kernel: dy, flipped: false, mode: ConvMode::Valid },
    });

    let ways = [("conv", Method::Direct), ("conv_fft", Method::Fourier), ("conv_fft_par", Method::ParallelFourier)];
    let ways = ways.into_iter().map(|(name, method)| {
        let (operands, mut processor) = (Rc::clone(&operands), get_fft_processor::<f32, f32>());
        Way::new(name, move || {
            let Operands { image, kernel, flipped, mode } = &*operands;
            let reversed = if *flipped { kernel.reverse() } else { kernel.no_reverse() };
            let result = match method {
                Method::Direct => image.conv(reversed, *mode, PaddingMode::Zeros),
                // a processor that is kept plans its transforms once
                Method::Fourier => image.conv_fft_with_processor(reversed, *mode, PaddingMode::Zeros, &mut processor),
                Method::ParallelFourier => image.conv_fft_par(reversed, *mode, PaddingMode::Zeros),
            }?;
            Ok(match pass {
                Pass::Forward => (result + bias, None),
                Pass::InputGradient => (result, None),
                Pass::WeightGradient => (result, Some(kernel.sum())),
            })
        })
    });
    Ok(ways.collect())
}

/// What is convolved with what.
struct Operands {
    image: Array2<f32>,
    kernel: Array2<f32>,
    /// Whether it is a convolution, not a correlation.
    flipped: bool,
    mode: ConvMode<2>,
}

#[derive(Clone, Copy)]
enum Method {
    Direct,
    Fourier,
    ParallelFourier,
}

impl Computed for Array2<f32> {
    fn values(&self) -> Result<Vec<f32>> {
        Ok(self.iter().copied().collect())
    }
}

/// The gradient by the bias, if there is one.
impl Computed for Option<f32> {
    fn values(&self) -> Result<Vec<f32>> {
        Ok(self.iter().copied().collect())
    }
}
