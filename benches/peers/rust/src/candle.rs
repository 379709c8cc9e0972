//! candle: the operations that its backward pass is made of, called one at a time, since that computes both gradients.

use anyhow::Result;
use candle_core::{Device, Tensor};
use overlay_benches::numbers;
use overlay_benches::passes::Pass;
use overlay_benches::shapes::Layer;

use crate::way::{Computed, Way};

pub fn ways(layer: &Layer, pass: Pass) -> Result<Vec<Way>> {
    let arrays = Arrays::new(layer)?;
    Ok(vec![match pass {
        Pass::Forward => Way::new("conv2d", move || arrays.forward()),
        Pass::InputGradient => Way::new("conv_transpose2d", move || arrays.input_gradient()),
        Pass::WeightGradient => {
            Way::new("conv2d", move || Ok((arrays.weight_gradient()?, arrays.dy.sum_keepdim((0, 2, 3))?)))
        }
    }])
}

/// One layer. candle's geometry is the same along both axes.
struct Arrays {
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
    fn new(layer: &Layer) -> Result<Self> {
        let shape = &layer.shape;
        let tensor = |dim: [usize; 4]| Tensor::from_vec(numbers(dim.iter().product()), &dim[..], &Device::Cpu);
        Ok(Self {
            x: tensor(shape.input_dim(layer.batch)?)?,
            weight: tensor(shape.weight_dim())?,
            bias: tensor([1, shape.out_channels(), 1, 1])?,
            dy: tensor(shape.output_dim(layer.batch)?)?,
            stride: shape.stride()[0],
            padding: shape.padding().top,
            dilation: shape.dilation()[0],
            groups: shape.groups(),
        })
    }

    fn forward(&self) -> Result<Tensor> {
        let y = self.x.conv2d(&self.weight, self.padding, self.stride, self.dilation, self.groups)?;
        Ok(y.broadcast_add(&self.bias)?)
    }

    /// As `candle_core::backprop` does it, group by group.
    fn input_gradient(&self) -> Result<Tensor> {
        let covered = (self.dy.dim(2)? - 1) * self.stride + self.dilation * (self.weight.dim(2)? - 1) + 1;
        let rest = self.x.dim(2)? + 2 * self.padding - covered;
        let groups = self.dy.chunk(self.groups, 1)?.into_iter().zip(self.weight.chunk(self.groups, 0)?);
        let parts = groups
            .map(|(dy, weight)| dy.conv_transpose2d(&weight, self.padding, rest, self.stride, self.dilation))
            .collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 1)?)
    }

    /// As `candle_core::backprop` does it, group by group: stride and dilation change places.
    fn weight_gradient(&self) -> Result<Tensor> {
        let (_, _, rows, columns) = self.weight.dims4()?;
        let groups = self.x.chunk(self.groups, 1)?.into_iter().zip(self.dy.chunk(self.groups, 1)?);
        let parts = groups.map(|(x, dy)| {
            let (x, dy) = (x.transpose(0, 1)?, dy.transpose(0, 1)?);
            let gradient = x.conv2d(&dy, self.padding, self.dilation, self.stride, 1)?.transpose(0, 1)?;
            gradient.narrow(2, 0, rows)?.narrow(3, 0, columns)
        });
        Ok(Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
    }
}

impl Computed for Tensor {
    fn values(&self) -> Result<Vec<f32>> {
        Ok(self.flatten_all()?.to_vec1()?)
    }
}
