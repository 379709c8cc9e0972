//! ndarray-conv: one image and one kernel, directly or by Fourier transforms.

use std::hint::black_box;

use ::ndarray_conv::{ConvExt as _, ConvFFTExt as _, ConvMode, PaddingMode, ReverseKernel as _};
use anyhow::{Result, anyhow};
use ndarray::Array2;
use overlay_benches::numbers;
use overlay_benches::passes::Pass;
use overlay_benches::shapes::Layer;

use crate::Way;

/// Whether a layer is one image, one kernel, and nothing else.
pub fn applies_to(layer: &Layer) -> bool {
    let shape = &layer.shape;
    let plain = shape.stride() == [1, 1] && shape.dilation() == [1, 1] && shape.padding() == 0.into();
    plain && [layer.batch, shape.in_channels(), shape.out_channels()] == [1, 1, 1]
}

/// One layer.
pub struct Arrays {
    x: Array2<f32>,
    weight: Array2<f32>,
    dy: Array2<f32>,
}

impl Arrays {
    pub fn new(layer: &Layer) -> Result<Self> {
        let shape = &layer.shape;
        let random = |[rows, columns]: [usize; 2]| Array2::from_shape_vec([rows, columns], numbers(rows * columns));
        Ok(Self { x: random(shape.input())?, weight: random(shape.kernel())?, dy: random(shape.output())? })
    }

    pub fn ways(self, pass: Pass) -> Vec<Way<'static>> {
        let Self { x, weight, dy } = self;
        // a convolution for the input gradient, correlations for the other two
        let (image, kernel) = match pass {
            Pass::Forward => (x, weight),
            Pass::InputGradient => (dy, weight),
            Pass::WeightGradient => (x, dy),
        };
        let (direct, fft, fft_par) =
            ((image.clone(), kernel.clone()), (image.clone(), kernel.clone()), (image, kernel));
        macro_rules! way {
            ($arrays:ident, $method:ident) => {
                Box::new(move || {
                    let (image, kernel) = &$arrays;
                    let result = if pass == Pass::InputGradient {
                        image.$method(kernel, ConvMode::Full, PaddingMode::Zeros)
                    } else {
                        image.$method(kernel.no_reverse(), ConvMode::Valid, PaddingMode::Zeros)
                    };
                    black_box(result.map_err(|error| anyhow!("{error:?}"))?);
                    Ok(())
                })
            };
        }
        vec![
            ("conv", way!(direct, conv)),
            ("conv_fft", way!(fft, conv_fft)),
            ("conv_fft_par", way!(fft_par, conv_fft_par)),
        ]
    }
}
