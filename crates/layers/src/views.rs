//! Views as slices, and the check of a sample's shape.

use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::{LayerError, error::dims};

const STANDARD: &str = "a layer is handed views in standard layout";

/// The elements of a view, in C order.
pub(crate) fn elements<'a, T, D: Dimension>(view: &'a ArrayView<'_, T, D>) -> &'a [T] {
    view.as_slice().expect(STANDARD)
}

/// The elements of a view, in C order, for writing.
pub(crate) fn elements_mut<'a, T, D: Dimension>(view: &'a mut ArrayViewMut<'_, T, D>) -> &'a mut [T] {
    view.as_slice_mut().expect(STANDARD)
}

/// Refuses a sample that has not the shape that the layer was made for.
pub(crate) fn expect_sample(made_for: &[usize], got: &[usize]) -> Result<(), LayerError> {
    if got == made_for {
        return Ok(());
    }
    Err(LayerError::InputShape { wants: dims(made_for), got: got.to_vec() })
}

/// Refuses a sample whose rank does not suit a layer that works on batches of rank `D`.
pub(crate) fn expect_rank<D: Dimension>(got: &[usize]) -> Result<(), LayerError> {
    match D::NDIM {
        Some(batch_rank) if got.len() + 1 != batch_rank => {
            Err(LayerError::InputShape { wants: format!("{} axes per sample", batch_rank - 1), got: got.to_vec() })
        }
        _ => Ok(()),
    }
}
