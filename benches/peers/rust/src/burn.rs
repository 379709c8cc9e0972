//! burn, on its backend for the CPU: the operations that its automatic differentiation calls.

use std::hint::black_box;

use anyhow::Result;
use burn_backend::TensorData;
use burn_backend::ops::{ConvOptions, FloatTensorOps, ModuleOps};
use burn_flex::{Flex, FlexTensor};
use overlay_benches::numbers;
use overlay_benches::passes::Pass;
use overlay_benches::shapes::Layer;

use crate::Way;

/// One layer.
pub struct Arrays {
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    dy: FlexTensor,
    options: ConvOptions<2>,
}

impl Arrays {
    pub fn new(layer: &Layer) -> Result<Self> {
        let shape = &layer.shape;
        let random = |dim: &[usize]| {
            Flex::float_from_data(TensorData::new(numbers(dim.iter().product()), dim.to_vec()), &Default::default())
        };
        let pad = shape.padding();
        Ok(Self {
            x: random(&shape.input_dim(layer.batch)?),
            weight: random(&shape.weight_dim()),
            bias: random(&[shape.out_channels()]),
            dy: random(&shape.output_dim(layer.batch)?),
            options: ConvOptions::new(shape.stride(), [pad.top, pad.left], shape.dilation(), shape.groups()),
        })
    }

    pub fn ways(self, pass: Pass) -> Vec<Way<'static>> {
        let call = move || {
            let Self { x, weight, bias, dy, options } = &self;
            let (x, weight, bias, dy, options) = (x.clone(), weight.clone(), bias.clone(), dy.clone(), options.clone());
            black_box(match pass {
                Pass::Forward => Flex::conv2d(x, weight, Some(bias), options),
                Pass::InputGradient => Flex::conv2d_x_backward(x, weight, dy, options),
                Pass::WeightGradient => {
                    black_box(Flex::conv2d_bias_backward(x.clone(), bias, dy.clone()));
                    Flex::conv2d_weight_backward(x, weight, dy, options)
                }
            });
            Ok(())
        };
        vec![("conv2d", Box::new(call))]
    }
}
