//! Single sums, as the definition has them: for numbers that are not finite.
//!
//! Algorithms multiply more than the definition does: the zeros of a border, and in Winograd's form each pixel of a tile
//! with all of a kernel. Among finite numbers nothing comes of it; but an infinity or a NaN reaches sums that it is no
//! part of. Never the other way round: a sum that has one among its numbers is finite in no algorithm. So whichever sums
//! come out as infinity or NaN are formed again:
//!
//! ```text
//! for each sum that is not finite
//!     add up the definition's products, until the sum is NaN
//! ```
//!
//! Cost: one multiply-add after the other, for these sums alone.

use ndarray::ArrayViewMut3;

use super::{LINE, READ, add};
use crate::reference::underlay;
use crate::threads::{Cell, Cuts, grid, lanes, view3};
use crate::{Conv2dShape, Scalar};

/// Whether there is neither an infinity nor a NaN.
#[inline(always)]
pub(crate) fn all_finite<T: Scalar>(values: &[T]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.is_finite())
}

/// Puts `exact(index)` in place of what is not finite.
#[inline(always)]
pub(crate) fn mend<T: Scalar>(values: &mut [T], exact: impl Fn(usize) -> T) {
    if !all_finite(values) {
        for (index, value) in values.iter_mut().enumerate().filter(|(_, value)| !value.is_finite()) {
            *value = exact(index);
        }
    }
}

/// [`mend`], in parallel.
pub(crate) fn mend_all<T: Scalar>(values: &mut [T], exact: &(impl Fn(usize) -> T + Sync)) {
    in_parallel(values, &|start, values| mend(values, |index| exact(start + index)));
}

/// `to += from`, where `exact(index)` takes the place of what is not finite; in parallel.
pub(crate) fn add_mended<T: Scalar>(to: &mut [T], from: &[T], exact: &(impl Fn(usize) -> T + Sync)) {
    in_parallel(to, &|start, to| {
        let from = &from[start..][..to.len()];
        if all_finite(from) {
            return add(to, from);
        }
        for ((index, to), &from) in (start..).zip(to).zip(from) {
            *to += if from.is_finite() { from } else { exact(index) };
        }
    });
}

/// Calls `work(start, part)` for parts of a slice.
fn in_parallel<T: Scalar>(values: &mut [T], work: &(impl Fn(usize, &mut [T]) + Sync)) {
    let len = values.len();
    let cuts = Cuts::new(lanes((READ * len) as u64), [1, 1, len], [1, 1, LINE], [2, 0, 1]);
    let whole = Cell::whole(view3([1, 1, len], values), &mut [][..]);
    grid(whole, cuts, 0, &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        work(cell.start[2], cell.view.into_slice().expect("a part of a row is contiguous"));
    });
}

/// Adds up products until there is nothing more to learn.
fn sum<T: Scalar>(products: impl Iterator<Item = T>) -> T {
    let mut sum = T::ZERO;
    for product in products {
        sum += product;
        if sum.is_nan() {
            break;
        }
    }
    sum
}

/// One number of `x ⋆ w`.
pub(crate) fn forward<T: Scalar>(shape: &Conv2dShape, x: &[T], weight: &[T], feature: usize) -> T {
    let [image, map, row, column] = place(shape.out_channels(), shape.output(), feature);
    let [maps, depth, ..] = shape.weight_dim();
    let first = image * shape.in_channels() + map / (maps / shape.groups()) * depth;
    sum((0..depth).flat_map(|channel| {
        elements(shape).filter_map(move |element| {
            let under = underlay(shape, [row, column], element)?;
            Some(
                weight[at(shape.kernel(), map * depth + channel, element)]
                    * x[at(shape.input(), first + channel, under)],
            )
        })
    }))
}

/// One number of the gradient of the cost by the input.
pub(crate) fn input_gradient<T: Scalar>(shape: &Conv2dShape, dy: &[T], weight: &[T], neuron: usize) -> T {
    let [image, plane, row, column] = place(shape.in_channels(), shape.input(), neuron);
    let [maps, depth, ..] = shape.weight_dim();
    let (maps, channel) = (maps / shape.groups(), plane % depth);
    let first = plane / depth * maps;
    sum((first..first + maps).flat_map(|map| {
        elements(shape).filter_map(move |element| {
            let over = overlay(shape, [row, column], element)?;
            let feature = at(shape.output(), image * shape.out_channels() + map, over);
            Some(weight[at(shape.kernel(), map * depth + channel, element)] * dy[feature])
        })
    }))
}

/// One number of the gradient of the cost by the weights.
pub(crate) fn weight_gradient<T: Scalar>(shape: &Conv2dShape, x: &[T], dy: &[T], weight: usize) -> T {
    let [map, channel, i, j] = place(shape.weight_dim()[1], shape.kernel(), weight);
    let [maps, depth, ..] = shape.weight_dim();
    let plane = map / (maps / shape.groups()) * depth + channel;
    let [height, width] = shape.output();
    sum((0..dy.len() / shape.output_len()).flat_map(|image| {
        (0..height * width).filter_map(move |pixel| {
            let over = [pixel / width, pixel % width];
            let under = underlay(shape, over, [i, j])?;
            let feature = at(shape.output(), image * maps + map, over);
            Some(x[at(shape.input(), image * shape.in_channels() + plane, under)] * dy[feature])
        })
    }))
}

/// The rows and columns of the overlay.
fn elements(shape: &Conv2dShape) -> impl Iterator<Item = [usize; 2]> + use<> {
    let [rows, columns] = shape.kernel();
    (0..rows * columns).map(move |element| [element / columns, element % columns])
}

/// Where the overlay lies when `element` of it covers a pixel; `None` if it never does.
fn overlay(shape: &Conv2dShape, pixel: [usize; 2], element: [usize; 2]) -> Option<[usize; 2]> {
    let before = [shape.padding().top, shape.padding().left];
    let along = |axis: usize| {
        let (padded, stride) = (pixel[axis] + before[axis], shape.stride()[axis]);
        let position = padded.checked_sub(element[axis] * shape.dilation()[axis])?;
        (position.is_multiple_of(stride) && position / stride < shape.output()[axis]).then(|| position / stride)
    };
    Some([along(0)?, along(1)?])
}

/// The index of a number in planes of a size.
fn at([rows, columns]: [usize; 2], plane: usize, [row, column]: [usize; 2]) -> usize {
    (plane * rows + row) * columns + column
}

/// The other way: outer index, plane (one of so many), row and column.
fn place(planes: usize, [rows, columns]: [usize; 2], index: usize) -> [usize; 4] {
    let (plane, pixel) = (index / (rows * columns), index % (rows * columns));
    [plane / planes, plane % planes, pixel / columns, pixel % columns]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epilogue, Padding, reference};

    /// Each sum by itself is the reference's.
    #[test]
    fn single_sums_are_those_of_the_reference() {
        let conv = Conv2dShape::builder;
        let uneven = Padding { top: 2, bottom: 0, left: 1, right: 3 };
        for builder in [
            conv(3, 4, [6, 5], [3, 2]),
            conv(4, 6, [7, 9], [3, 3]).padding(uneven).stride([2, 3]).groups(2),
            conv(2, 2, [9, 8], [2, 3]).padding(1).dilation([3, 2]).groups(2),
        ] {
            let shape = builder.build().unwrap();
            let numbers = |len: usize, step: usize| (0..len).map(|i| (i * step % 17) as f64 - 8.0).collect::<Vec<_>>();
            let (x, dy) = (numbers(2 * shape.input_len(), 5), numbers(2 * shape.output_len(), 3));
            let weight = numbers(shape.weight_len(), 7);
            let (mut y, mut dx, mut dweight) = (dy.clone(), x.clone(), vec![0.0; weight.len()]);
            reference::conv2d_forward(&shape, 2, &x, &weight, Epilogue::none(), &mut y).unwrap();
            reference::conv2d_input_gradient(&shape, 2, &dy, &weight, &mut dx).unwrap();
            reference::conv2d_weight_gradient(&shape, 2, &x, &dy, &mut dweight).unwrap();
            assert!((0..y.len()).all(|i| forward(&shape, &x, &weight, i) == y[i]));
            assert!((0..dx.len()).all(|i| input_gradient(&shape, &dy, &weight, i) == dx[i]));
            assert!((0..weight.len()).all(|i| weight_gradient(&shape, &x, &dy, i) == dweight[i]));
        }
    }
}
