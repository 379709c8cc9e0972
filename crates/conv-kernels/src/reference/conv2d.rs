//! The definition of a convolution layer, forward and backward.
//!
//! The article slides an *overlay* of weights over the image. Where it lies, the part of the image that it covers is
//! the *underlay*; each weight is multiplied with the neuron under it, and the products are added up to one neuron of
//! the *feature map*. The three passes add up the same products, each by another one of the three arrays.

use crate::{Conv2dShape, Epilogue, KernelError, Scalar};

/// `y = σ(x ⋆ w + b)`: each feature map is the cross-correlation of the image with its overlay
/// (the article's section "Feature Map Activation").
///
/// `x (N, C, H, W)`, `weight (O, C / groups, KH, KW)`, `y (N, O, OH, OW)`. Each sum runs over channels, rows and
/// columns of the overlay in this order, and skips the padding.
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape.
///
/// ```
/// use conv_kernels::{Conv2dShape, Epilogue, reference};
///
/// let shape = Conv2dShape::builder(1, 1, [3, 3], [2, 2]).build()?;
/// let mut y = [0.0; 4];
/// let x = [1., 2., 3., 4., 5., 6., 7., 8., 9.];
/// reference::conv2d_forward(&shape, 1, &x, &[10., 20., 30., 40.], Epilogue::none(), &mut y)?;
/// assert_eq!(y, [370.0, 470.0, 670.0, 770.0]); // the article's appendix A
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[doc(alias = "FeatureMap")]
pub fn conv2d_forward<T: Scalar>(
    shape: &Conv2dShape,
    batch: usize,
    x: &[T],
    weight: &[T],
    epilogue: Epilogue<'_, T>,
    y: &mut [T],
) -> Result<(), KernelError> {
    shape.expect_input("x", batch, x.len())?;
    shape.expect_weight("weight", weight.len())?;
    shape.expect_output("y", batch, y.len())?;
    epilogue.bias.map_or(Ok(()), |bias| shape.expect_bias("bias", bias.len()))?;
    y.fill(T::ZERO);
    for_each_product(shape, batch, |neuron, w, feature| y[feature] += weight[w] * x[neuron]);
    let [map_rows, map_columns] = shape.output();
    for (index, map) in y.chunks_exact_mut(map_rows * map_columns).enumerate() {
        if let Some(bias) = epilogue.bias {
            map.iter_mut().for_each(|z| *z += bias[index % shape.out_channels()]);
        }
        epilogue.activation.apply(map);
    }
    Ok(())
}

/// `dx`, the gradient of the cost by each neuron of the image: what each feature neuron's gradient `dy` sends back
/// through the weights (the article's section "Backpropagation through a Feature Map"). `dx` is overwritten.
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape.
///
/// ```
/// use conv_kernels::{Conv2dShape, reference};
///
/// let shape = Conv2dShape::builder(1, 1, [2, 3], [1, 2]).build()?;
/// let mut dx = [f64::NAN; 6];
/// reference::conv2d_input_gradient(&shape, 1, &[1.0, 1.0, 0.0, 5.0], &[10.0, 20.0], &mut dx)?;
/// assert_eq!(dx, [10.0, 30.0, 20.0, 0.0, 50.0, 100.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn conv2d_input_gradient<T: Scalar>(
    shape: &Conv2dShape,
    batch: usize,
    dy: &[T],
    weight: &[T],
    dx: &mut [T],
) -> Result<(), KernelError> {
    shape.expect_output("dy", batch, dy.len())?;
    shape.expect_weight("weight", weight.len())?;
    shape.expect_input("dx", batch, dx.len())?;
    dx.fill(T::ZERO);
    for_each_product(shape, batch, |neuron, w, feature| dx[neuron] += weight[w] * dy[feature]);
    Ok(())
}

/// `dweight += ` the gradient of the cost by each weight, which all neurons of a feature map share: the sum over
/// them, and over the batch (the article's "Weight Gradient").
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape.
///
/// ```
/// use conv_kernels::{Conv2dShape, reference};
///
/// let shape = Conv2dShape::builder(1, 1, [1, 3], [1, 2]).build()?;
/// let mut dweight = [0.5, 0.5];
/// reference::conv2d_weight_gradient(&shape, 1, &[1.0, 2.0, 3.0], &[10.0, 100.0], &mut dweight)?;
/// assert_eq!(dweight, [210.5, 320.5]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn conv2d_weight_gradient<T: Scalar>(
    shape: &Conv2dShape,
    batch: usize,
    x: &[T],
    dy: &[T],
    dweight: &mut [T],
) -> Result<(), KernelError> {
    shape.expect_input("x", batch, x.len())?;
    shape.expect_output("dy", batch, dy.len())?;
    shape.expect_weight("dweight", dweight.len())?;
    for_each_product(shape, batch, |neuron, w, feature| dweight[w] += x[neuron] * dy[feature]);
    Ok(())
}

/// `dbias += ` the gradient of the cost by each bias: the sum of `dy` over its feature map, and over the batch
/// (the article's "Bias Gradient").
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape.
///
/// ```
/// use conv_kernels::{Conv2dShape, reference};
///
/// let shape = Conv2dShape::builder(1, 2, [2, 2], [1, 1]).build()?;
/// let mut dbias = [0.0; 2];
/// reference::conv2d_bias_gradient(&shape, 1, &[1., 2., 3., 4., 10., 20., 30., 40.], &mut dbias)?;
/// assert_eq!(dbias, [10.0, 100.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn conv2d_bias_gradient<T: Scalar>(
    shape: &Conv2dShape,
    batch: usize,
    dy: &[T],
    dbias: &mut [T],
) -> Result<(), KernelError> {
    shape.expect_output("dy", batch, dy.len())?;
    shape.expect_bias("dbias", dbias.len())?;
    let [map_rows, map_columns] = shape.output();
    for (index, map) in dy.chunks_exact(map_rows * map_columns).enumerate() {
        for &dz in map {
            dbias[index % shape.out_channels()] += dz;
        }
    }
    Ok(())
}

/// Slides each overlay over its underlay, and visits every pair of a weight and the neuron under it: calls
/// `visit(index into x, index into weight, index into y)`.
fn for_each_product(shape: &Conv2dShape, batch: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let [height, width] = shape.input();
    let [map_rows, map_columns] = shape.output();
    let [maps, depth, kernel_rows, kernel_columns] = shape.weight_dim();
    let maps_per_group = maps / shape.groups();
    for image in 0..batch {
        for map in 0..maps {
            for (row, column) in pairs(map_rows, map_columns) {
                let feature = ((image * maps + map) * map_rows + row) * map_columns + column;
                for channel in 0..depth {
                    let plane = image * shape.in_channels() + map / maps_per_group * depth + channel;
                    for (i, j) in pairs(kernel_rows, kernel_columns) {
                        if let Some([y, x]) = underlay(shape, [row, column], [i, j]) {
                            let w = ((map * depth + channel) * kernel_rows + i) * kernel_columns + j;
                            visit((plane * height + y) * width + x, w, feature);
                        }
                    }
                }
            }
        }
    }
}

/// The image position under `element` of the overlay when that lies at `position`; `None` on the padding.
pub(crate) fn underlay(shape: &Conv2dShape, position: [usize; 2], element: [usize; 2]) -> Option<[usize; 2]> {
    let before = [shape.padding().top, shape.padding().left];
    let along = |axis: usize| {
        let padded = position[axis] * shape.stride()[axis] + element[axis] * shape.dilation()[axis];
        padded.checked_sub(before[axis]).filter(|&real| real < shape.input()[axis])
    };
    Some([along(0)?, along(1)?])
}

/// All positions of a grid, row by row.
fn pairs(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}
