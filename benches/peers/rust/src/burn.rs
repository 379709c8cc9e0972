//! burn, on its backend for the CPU: the operations that its tensors and its automatic differentiation call, one at a time.

use anyhow::{Context as _, Result};
use burn_backend::TensorData;
use burn_backend::ops::{ConvOptions, FloatTensorOps, ModuleOps};
use burn_flex::{Flex, FlexTensor};
use overlay_benches::numbers;
use overlay_benches::passes::Pass;
use overlay_benches::shapes::Layer;

use crate::way::{Computed, Way};

pub fn ways(layer: &Layer, pass: Pass) -> Result<Vec<Way>> {
    let shape = &layer.shape;
    let tensor = |dim: &[usize]| {
        Flex::float_from_data(TensorData::new(numbers(dim.iter().product()), dim.to_vec()), &Default::default())
    };
    let (x, dy) = (tensor(&shape.input_dim(layer.batch)?), tensor(&shape.output_dim(layer.batch)?));
    let (weight, bias) = (tensor(&shape.weight_dim()), tensor(&[shape.out_channels()]));
    let padding = [shape.padding().top, shape.padding().left];
    let options = ConvOptions::new(shape.stride(), padding, shape.dilation(), shape.groups());

    // clones of tensors share their numbers
    Ok(vec![match pass {
        Pass::Forward => {
            Way::new("conv2d", move || Ok(Flex::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone())))
        }
        Pass::InputGradient => Way::new("conv2d_x_backward", move || {
            Ok(Flex::conv2d_x_backward(x.clone(), weight.clone(), dy.clone(), options.clone()))
        }),
        Pass::WeightGradient => Way::new("conv2d_weight_backward", move || {
            let dweight = Flex::conv2d_weight_backward(x.clone(), weight.clone(), dy.clone(), options.clone());
            Ok((dweight, Flex::conv2d_bias_backward(x.clone(), bias.clone(), dy.clone())))
        }),
    }])
}

impl Computed for FlexTensor {
    fn values(&self) -> Result<Vec<f32>> {
        let contiguous = self.to_contiguous();
        Ok(contiguous.as_slice().context("a tensor that is not contiguous")?.to_vec())
    }
}
