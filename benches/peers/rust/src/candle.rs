//! candle: the operations that its backward pass is made of, called one at a time.

use std::hint::black_box;

use anyhow::Result;
use candle_core::{Device, Tensor};
use overlay_benches::passes::Pass;
use overlay_benches::shapes::Layer;

use crate::Way;

/// One layer. candle's geometry is the same along both axes.
pub struct Arrays {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    dy: Tensor,
    stride: usize,
    padding: usize,
    dilation: usize,
    groups: usize,
}

impl Arrays {
    pub fn new(layer: &Layer) -> Result<Self> {
        let shape = &layer.shape;
        let random = |dim: [usize; 4]| Tensor::randn(0f32, 1.0, &dim[..], &Device::Cpu);
        Ok(Self {
            x: random(shape.input_dim(layer.batch)?)?,
            weight: random(shape.weight_dim())?,
            bias: random([1, shape.out_channels(), 1, 1])?,
            dy: random(shape.output_dim(layer.batch)?)?,
            stride: shape.stride()[0],
            padding: shape.padding().top,
            dilation: shape.dilation()[0],
            groups: shape.groups(),
        })
    }

    pub fn ways(self, pass: Pass) -> Vec<Way<'static>> {
        let call = move || {
            black_box(match pass {
                Pass::Forward => self.forward()?,
                Pass::InputGradient => self.input_gradient()?,
                Pass::WeightGradient => {
                    black_box(self.dy.sum_keepdim((0, 2, 3))?);
                    self.weight_gradient()?
                }
            });
            Ok(())
        };
        vec![("conv2d", Box::new(call))]
    }

    fn forward(&self) -> Result<Tensor> {
        let y = self.x.conv2d(&self.weight, self.padding, self.stride, self.dilation, self.groups)?;
        Ok(y.broadcast_add(&self.bias)?)
    }

    /// As `candle_core::backprop` does it, group by group.
    fn input_gradient(&self) -> Result<Tensor> {
        let groups = self.dy.chunk(self.groups, 1)?.into_iter().zip(self.weight.chunk(self.groups, 0)?);
        let covered = (self.dy.dim(2)? - 1) * self.stride + self.dilation * (self.weight.dim(2)? - 1) + 1;
        let rest = self.x.dim(2)? + 2 * self.padding - covered;
        let parts = groups.map(|(dy, weight)| {
            Ok(dy.contiguous()?.conv_transpose2d(&weight, self.padding, rest, self.stride, self.dilation)?)
        });
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)?)
    }

    /// As `candle_core::backprop` does it, group by group: stride and dilation change places.
    fn weight_gradient(&self) -> Result<Tensor> {
        let [_, _, rows, columns] = <[usize; 4]>::from(self.weight.dims4()?);
        let groups = self.x.chunk(self.groups, 1)?.into_iter().zip(self.dy.chunk(self.groups, 1)?);
        let parts = groups.map(|(x, dy)| {
            let (x, dy) = (x.transpose(0, 1)?, dy.transpose(0, 1)?);
            let gradient = x.conv2d(&dy, self.padding, self.dilation, self.stride, 1)?.transpose(0, 1)?;
            Ok(gradient.narrow(2, 0, rows)?.narrow(3, 0, columns)?)
        });
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }
}
