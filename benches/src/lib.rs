//! Shapes and inputs that the benches share.

pub mod arguments;
pub mod clocks;
pub mod memory;
pub mod networks;
pub mod output;
pub mod passes;
pub mod peak;
pub mod shapes;

use conv_kernels::{Conv2dShape, KernelError, Padding};

/// One convolution to measure: name, batch, geometry.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name in reports.
    pub name: &'static str,
    /// Images.
    pub batch: usize,
    /// The geometry of one image.
    pub shape: Conv2dShape,
}

/// The convolutions of a family: `mnist`, `cifar`, `resnet`, `mobile`.
///
/// # Errors
/// [`KernelError`] when a shape of the table is impossible, which a test rules out.
pub fn family(name: &str) -> Result<Vec<Case>, KernelError> {
    // name, N, C, H (= W), O, K, stride, padding, groups
    type Row = (&'static str, usize, usize, usize, usize, usize, usize, usize, usize);
    let rows: &[Row] = match name {
        "mnist" => &[
            ("1x28-20@5", 64, 1, 28, 20, 5, 1, 0, 1),
            ("20x12-40@5", 64, 20, 12, 40, 5, 1, 0, 1),
            ("32x26-64@3", 64, 32, 26, 64, 3, 1, 0, 1),
            ("6x14-16@5", 64, 6, 14, 16, 5, 1, 0, 1),
        ],
        "cifar" => &[("3x32-64@3", 16, 3, 32, 64, 3, 1, 1, 1), ("64x32-64@3", 16, 64, 32, 64, 3, 1, 1, 1)],
        "resnet" => &[
            ("3x224-64@7s2", 1, 3, 224, 64, 7, 2, 3, 1),
            ("64x56-64@3", 1, 64, 56, 64, 3, 1, 1, 1),
            ("256x56-64@1", 1, 256, 56, 64, 1, 1, 0, 1),
        ],
        "mobile" => &[("32x112-dw@3", 1, 32, 112, 32, 3, 1, 1, 32), ("128x28-g32@3", 1, 128, 28, 128, 3, 1, 1, 32)],
        _ => &[],
    };
    let case = |&(name, batch, c, size, o, k, stride, padding, groups): &Row| {
        let builder = Conv2dShape::builder(c, o, [size, size], [k, k]).stride([stride, stride]);
        Ok(Case { name, batch, shape: builder.padding(Padding::from(padding)).groups(groups).build()? })
    };
    rows.iter().map(case).collect()
}

/// Numbers in -0.5 to 0.5 that look random and are always the same.
#[must_use]
pub fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_shapes_that_are_possible() {
        for name in ["mnist", "cifar", "resnet", "mobile"] {
            assert!(!family(name).unwrap().is_empty(), "{name}");
        }
        assert!(family("other").unwrap().is_empty());
    }

    #[test]
    fn numbers_are_small_and_not_all_alike() {
        let all = numbers(1000);
        assert!(all.iter().all(|v| v.abs() <= 0.5));
        assert!((all.iter().sum::<f32>() / 1000.0).abs() < 0.05 && all[0] != all[1]);
    }
}
