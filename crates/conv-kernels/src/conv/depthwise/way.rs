//! The ways in which an overlay gets over the planes of a pass.

use std::ops::Range;

use crate::simd::Isa;
use crate::simd::plane::slide::{Plane, Slide, slides};
use crate::simd::tiles::activates;
use crate::sweep::{Course, Track};
use crate::{Activation, Epilogue, Scalar};

/// How an overlay gets over planes.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// It sweeps over planes where they lie, or over a copy in a border of zeros.
    Sweep(Track),
    /// It slides over one plane, which is read where it lies, though it would have to be copied for a sweep.
    Slide { plane: Plane, bordered: bool },
    /// Row by row: where the planes would be mostly border, or zeros that a large stride puts between their pixels.
    Rows,
}

impl Way {
    /// For vectors of `lanes` elements of type `T`; `layers` says where each plane and its overlay begin.
    pub(super) fn new<T: Scalar>(course: Course, layers: Vec<[usize; 2]>, lanes: usize) -> Self {
        let Course { plane: size, origin, spread, kernel, stride, dilation, out, .. } = course;
        let (square, one) = (kernel[0] == kernel[1] && stride[0] == stride[1], layers.len() == 1);
        let can = square && one && dilation == [1, 1] && spread == [1, 1];
        let can = can && slides(kernel[0], stride[0], size[1] * size_of::<T>());
        let bordered = !course.is_inside();
        match course.is_affordable(lanes).then(|| Track::new::<T>(course, layers, lanes)) {
            Some(track) if !track.copies() => Self::Sweep(track),
            _ if can => Self::Slide { plane: Plane::new::<T>(size, origin, kernel[0], stride[0], out[1]), bordered },
            Some(track) => Self::Sweep(track),
            None => Self::Rows,
        }
    }

    /// Whether it goes over several planes at once, one after the other, each with its own overlay and results.
    pub(super) fn takes_many(&self) -> bool {
        matches!(self, Self::Slide { .. })
    }

    /// Whether it computes the definition's sums with these overlays: zeros beside a plane must not meet an infinity.
    pub(super) fn suits(&self, is_finite: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Slide { bordered, .. } => !bordered || is_finite(),
            Self::Sweep(track) => !track.copies() || is_finite(),
            Self::Rows => false,
        }
    }

    /// Rows of results for which planes are met piece by piece; all at once where there is no need for pieces.
    pub(super) fn strip(&self) -> Option<usize> {
        if let Self::Sweep(track) = self { Some(track.strip()) } else { None }
    }

    /// Scratch elements for [`Way::correlate`].
    pub(super) fn scratch_len<T: Scalar>(&self) -> usize {
        if let Self::Sweep(track) = self { track.scratch_len::<T>() } else { 0 }
    }

    /// `out = σ(Σ weight ⋆ planes + bias)` for some rows of results, where the way [suits](Way::suits) the overlays.
    ///
    /// One feature map's; or several, one after the other, if it [takes many](Way::takes_many).
    #[expect(clippy::too_many_arguments, reason = "what is met, what meets it, what follows, and what comes out")]
    pub(super) fn correlate<T: Scalar>(
        &self,
        isa: Isa,
        planes: &[T],
        weight: &[T],
        epilogue: Epilogue<'_, T>,
        rows: Range<usize>,
        out: &mut [T],
        scratch: &mut [T],
    ) {
        match self {
            &Self::Slide { plane, .. } => {
                let fused = activates(epilogue.activation);
                let activation = if fused { epilogue.activation } else { Activation::Identity };
                let bias = epilogue.bias;
                T::run(isa, Slide { plane, pixels: planes, weight, bias, activation, rows, out: &mut *out });
                if !fused {
                    epilogue.activation.apply(out);
                }
            }
            Self::Sweep(track) => track.sweep(isa, planes, weight, epilogue, rows.start, out, scratch),
            Self::Rows => unreachable!("row by row suits no overlay"),
        }
    }
}
