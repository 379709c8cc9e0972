//! The input gradient that adds to each underlay what its output pixel sends back: see [`Scatter`].

use std::ops::Range;

use ndarray::{ArrayViewMut3, Axis};

use super::overlays::pack_transposed;
use super::{Direct, bands};
use crate::Scalar;
use crate::conv::{channel_unit, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::tiles::{ROWS, Scatter};
use crate::threads::{Cell, Cuts, grid, view3};

impl Direct<'_> {
    /// Scratch elements for the input gradient.
    pub(crate) fn scatter_scratch_len<T: Scalar>(&self) -> usize {
        self.forward_len::<T>(self.shape.weight_len(), self.input_gradient_lens::<T>())
    }

    /// Scratch elements of a cell of the input gradient: a copied strip of `dx`, joined rows of `dy`, and a mask.
    fn input_gradient_lens<T: Scalar>(&self) -> [usize; 3] {
        let joined = if self.geometry.joined() { self.group().1 * self.geometry.longest_run() } else { 0 };
        let mask = self.geometry.longest_run() + self.isa.lanes::<T>();
        [self.copy_len::<T>(), aligned::<T>(joined), aligned::<T>(mask)]
    }

    /// `dx`: what the elements of the overlays send back, strip by strip, added to the image.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], weight: &[T], dx: &mut [T], scratch: &mut [T]) {
        let ((depth, maps), pixels) = (self.group(), self.shape.out_pixels());
        let elements = self.shape.taps() / depth;
        let (packed, cells) = scratch.split_at_mut(aligned::<T>(self.shape.weight_len()));
        pack_transposed(self.shape, weight, &mut packed[..self.shape.weight_len()]);
        let dim = [self.batch, self.shape.in_channels(), self.shape.in_pixels()];
        let units = [1, channel_unit(self.shape, dim[1], ROWS), dim[2]];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 1, 2]);
        let (whole, packed) = (Cell::whole(view3(dim, dx), cells), &*packed);
        let len = self.input_gradient_lens::<T>().into_iter().sum();
        grid(whole, cuts, len, &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut dx, start: [first_image, first_channel, _], scratch } = cell;
            let channels = dx.len_of(Axis(1));
            for (image, mut dx) in (first_image..).zip(dx.outer_iter_mut()) {
                let dx = dx.as_slice_mut().expect("whole channels of one image are contiguous");
                for (group, within) in groups_within(first_channel..first_channel + channels, depth) {
                    let first = (group * depth + within.start - first_channel) * dim[2];
                    let dx = &mut dx[first..first + within.len() * dim[2]];
                    let first = (image * self.shape.out_channels() + group * maps) * pixels;
                    let dy = &dy[first..first + maps * pixels];
                    let weight = &packed[group * depth * elements * maps..(group + 1) * depth * elements * maps];
                    self.send_back(dy, weight, within, dx, scratch);
                }
            }
        });
    }

    /// The input gradient of one image, for some channels of a group.
    fn send_back<T: Scalar>(&self, dy: &[T], weight: &[T], channels: Range<usize>, dx: &mut [T], scratch: &mut [T]) {
        let lens = self.input_gradient_lens::<T>();
        let (copy, rest) = scratch.split_at_mut(lens[0]);
        let (joined, mask) = rest.split_at_mut(lens[1]);
        let (maps, plane) = (self.group().1, self.geometry.plane());
        let elements = self.geometry.targets().len() / self.group().0;
        dx.fill(T::ZERO);
        for strip in self.geometry.strips(self.shape.output()[0]) {
            let runs = self.geometry.runs(self.shape, strip.len());
            self.geometry.write_mask(self.shape, runs, self.isa.lanes::<T>(), mask);
            let (dy, map_len) = self.gradients(dy, &strip, joined);
            let image = if self.geometry.copied() {
                let image = &mut copy[..channels.len() * plane];
                image.fill(T::ZERO);
                image
            } else {
                &mut dx[strip.start * self.shape.input()[1]..]
            };
            for band in bands(channels.clone()) {
                let rows = band.start * elements..band.end * elements;
                let op = Scatter {
                    maps: dy,
                    map_len,
                    depth: maps,
                    weight: &weight[rows.start * maps..rows.end * maps],
                    targets: &self.geometry.targets()[rows],
                    runs,
                    mask,
                    image: &mut image[(band.start - channels.start) * plane..],
                };
                T::run(self.isa, op);
            }
            if self.geometry.copied() {
                let planes = dx.chunks_exact_mut(self.shape.in_pixels()).zip(copy.chunks_exact(plane));
                planes.for_each(|(dx, copy)| self.geometry.add_copy(self.shape, copy, &strip, dx));
            }
        }
    }

    /// The gradients of a group from the strip's first row on, and the distance of their channels; copied where rows
    /// are joined.
    fn gradients<'b, T: Scalar>(&self, dy: &'b [T], strip: &Range<usize>, joined: &'b mut [T]) -> (&'b [T], usize) {
        let (pixels, width) = (self.shape.out_pixels(), self.shape.output()[1]);
        if !self.geometry.joined() {
            return (&dy[strip.start * width..], pixels);
        }
        let len = self.geometry.runs(self.shape, strip.len()).len;
        for (dy, joined) in dy.chunks_exact(pixels).zip(joined.chunks_exact_mut(len)) {
            let rows = dy[strip.start * width..strip.end * width].chunks_exact(width);
            for (row, joined) in rows.zip(joined.chunks_mut(self.geometry.pitch())) {
                joined[..width].copy_from_slice(row);
            }
        }
        (&joined[..self.group().1 * len], len)
    }
}
