//! The input gradient that adds to each underlay what its output pixel sends back: see [`Scatter`].
//!
//! ```text
//! dx = 0
//! for each two vectors of output pixels, for each block of taps (c, kh, kw)
//!     sums = 0                                               a tile, in registers
//!     for each output channel o
//!         sums[tap] += w[o, tap] · dy[o, pixels]
//!     dx[c, pixels + (kh, kw)] += sums[tap]                  where the underlays lie; they overlap
//! ```
//!
//! Cost: the multiply-adds of the definition and no more, whatever the padding and the stride, and `taps` additions of a
//! vector to the image for each vector of pixels: few beside many output channels.

use std::ops::Range;

use ndarray::{ArrayViewMut3, Axis};

use super::border::AddBorder;
use super::overlays::pack_transposed;
use super::{Direct, bands};
use crate::Scalar;
use crate::conv::{channel_unit, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::tiles::Scatter;
use crate::threads::{Cell, Cuts, grid, view3};

/// Channels that are a multiple of so many bytes long collide in the first cache.
const COLLISION: usize = 1024;

/// Elements between two channels that would collide.
const APART: usize = 16;

impl Direct<'_> {
    /// Scratch elements for the input gradient.
    pub(crate) fn scatter_scratch_len<T: Scalar>(&self) -> usize {
        self.forward_len(self.input_gradient_lens::<T>())
    }

    /// Whether the channels of `dy` lie so that they would drive each other out of the first cache: it finds places by
    /// the low bits of addresses, which are then the same.
    fn channels_collide<T>(&self) -> bool {
        (self.shape.out_pixels() * size_of::<T>()).is_multiple_of(COLLISION)
    }

    /// Pixels from one channel of `dy` to the next in the copy of a strip of `rows`, if there is one.
    fn copied_map_len<T>(&self, rows: usize) -> Option<usize> {
        if self.geometry.joined() {
            Some(self.geometry.runs(self.shape, rows).len)
        } else {
            self.channels_collide::<T>().then(|| rows * self.shape.output()[1] + APART)
        }
    }

    /// Scratch elements of a cell of the input gradient: a copied strip of `dx`, one of `dy`, and a mask.
    fn input_gradient_lens<T: Scalar>(&self) -> [usize; 3] {
        let maps = self.group().1 * self.copied_map_len::<T>(self.geometry.rows()).unwrap_or(0);
        let mask = self.geometry.longest_run() + 2 * self.isa.piece::<T>();
        [self.copy_len::<T>(), aligned::<T>(maps), aligned::<T>(mask)]
    }

    /// Weights in the order of these tiles, as many as there are.
    pub(crate) fn pack_scatter<T: Scalar>(&self, weight: &[T], packed: &mut [T]) {
        pack_transposed(self.shape, self.isa, weight, &mut packed[..self.shape.weight_len()]);
    }

    /// `dx`: what the elements of the overlays, packed by [`Direct::pack_scatter`], send back, strip by strip, added to the
    /// image.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], packed: &[T], dx: &mut [T], scratch: &mut [T]) {
        let ((depth, maps), pixels) = (self.group(), self.shape.out_pixels());
        let elements = self.shape.taps() / depth;
        let dim = [self.batch, self.shape.in_channels(), self.shape.in_pixels()];
        let units = [1, channel_unit(self.shape, dim[1], self.isa.most_rows()[0]), dim[2]];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 1, 2]);
        let whole = Cell::whole(view3(dim, dx), scratch);
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
        let (maps_copy, mask) = rest.split_at_mut(lens[1]);
        let (maps, plane) = (self.group().1, self.geometry.plane());
        let elements = self.geometry.targets().len() / self.group().0;
        dx.fill(T::ZERO);
        for strip in self.geometry.strips(self.shape.output()[0]) {
            let runs = self.geometry.runs(self.shape, strip.len());
            self.geometry.write_mask(self.shape, runs, self.isa.piece::<T>(), mask);
            let (dy, map_len) = self.gradients(dy, &strip, maps_copy);
            let image = if self.geometry.copied() {
                let image = &mut copy[..channels.len() * plane];
                image.fill(T::ZERO);
                image
            } else {
                &mut dx[strip.start * self.shape.input()[1]..]
            };
            for band in bands(channels.clone(), self.isa.most_rows()[0]) {
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
                let (geometry, shape, strip) = (self.geometry, self.shape, &strip);
                planes.for_each(|(pixels, copy)| T::run(self.isa, AddBorder { geometry, shape, pixels, strip, copy }));
            }
        }
    }

    /// The gradients of a group from the strip's first row on, and the distance of their channels; copied where rows
    /// are joined, or channels collide.
    fn gradients<'b, T: Scalar>(&self, dy: &'b [T], strip: &Range<usize>, copy: &'b mut [T]) -> (&'b [T], usize) {
        let (pixels, width) = (self.shape.out_pixels(), self.shape.output()[1]);
        let Some(len) = self.copied_map_len::<T>(strip.len()) else {
            return (&dy[strip.start * width..], pixels);
        };
        let pitch = if self.geometry.joined() { self.geometry.pitch() } else { width };
        for (dy, copy) in dy.chunks_exact(pixels).zip(copy.chunks_exact_mut(len)) {
            let rows = dy[strip.start * width..strip.end * width].chunks_exact(width);
            for (row, copy) in rows.zip(copy.chunks_mut(pitch)) {
                copy[..width].copy_from_slice(row);
            }
        }
        (&copy[..self.group().1 * len], len)
    }
}
