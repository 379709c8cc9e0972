//! Pooling against its definition, bit for bit, with ties, NaN, infinities, overlaps and gaps.

mod common;

use common::{BetweenCanaries, BetweenNan, again_with_each_instruction_set, between_canaries};
use conv_kernels::{
    KernelError, Pool2dShape, Scalar, avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward, pool, reference,
};
use proptest::prelude::*;

/// Values from few, so that ties are common, with strange ones among them.
fn values<T: Scalar>(seed: u64, len: usize, strange: bool) -> Vec<T> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let strangers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e-320];
    (0..len)
        .map(|_| match next() % 12 {
            0 if strange => T::of(strangers[(next() % 5) as usize]),
            _ => T::of((next() % 9) as f64 * 0.3 - 1.2),
        })
        .collect()
}

fn bits<T: Scalar>(values: &[T]) -> Vec<u64> {
    // one NaN is as good as another
    values.iter().map(|value| if value.is_nan() { u64::MAX } else { value.as_f64().to_bits() }).collect()
}

/// All four results, on outputs that held garbage.
type Results<T> = (Vec<T>, Vec<u32>, Vec<T>, Vec<T>, Vec<T>);

/// Outputs lie between canaries, and inputs between NaN, or positions that no plane has.
fn fast<T: Scalar>(shape: &Pool2dShape, batch: usize, x: &[T], dy: &[T]) -> Results<T> {
    let garbage = |len| BetweenCanaries::new(len, T::of(-12345.0), T::of(77.0));
    let (x, dy) = (&BetweenNan::new(x), &BetweenNan::new(dy));
    let (mut y, mut positions) = (garbage(dy.len()), BetweenCanaries::new(dy.len(), u32::MAX, 77));
    let [mut dx, mut mean_dx] = [(); 2].map(|()| garbage(x.len()));
    let mut mean = garbage(dy.len());
    max_pool2d(shape, batch, x, &mut y, &mut positions).unwrap();
    max_pool2d_backward(shape, batch, dy, &positions, &mut dx).unwrap();
    avg_pool2d(shape, batch, x, &mut mean).unwrap();
    avg_pool2d_backward(shape, batch, dy, &mut mean_dx).unwrap();
    (y.checked(), positions.checked(), dx.checked(), mean.checked(), mean_dx.checked())
}

fn defined<T: Scalar>(shape: &Pool2dShape, batch: usize, x: &[T], dy: &[T]) -> Results<T> {
    let zeros = |len| vec![T::ZERO; len];
    let (mut y, mut positions, mut dx) = (zeros(dy.len()), vec![0; dy.len()], zeros(x.len()));
    reference::max_pool2d(shape, batch, x, &mut y, &mut positions).unwrap();
    reference::max_pool2d_backward(shape, batch, dy, &positions, &mut dx).unwrap();
    let (mut mean, mut mean_dx) = (zeros(dy.len()), zeros(x.len()));
    reference::avg_pool2d(shape, batch, x, &mut mean).unwrap();
    reference::avg_pool2d_backward(shape, batch, dy, &mut mean_dx).unwrap();
    (y, positions, dx, mean, mean_dx)
}

fn check<T: Scalar>(shape: &Pool2dShape, batch: usize, seed: u64, strange: bool) {
    let x = values::<T>(seed, batch * shape.input_len(), strange);
    let dy = values::<T>(seed ^ 1, batch * shape.output_len(), strange);
    let (got, expected) = (fast(shape, batch, &x, &dy), defined(shape, batch, &x, &dy));
    assert_eq!(got.1, expected.1, "positions of {shape:?}");
    for (what, got, expected) in [
        ("y", got.0, expected.0),
        ("dx", got.2, expected.2),
        ("mean", got.3, expected.3),
        ("dx of the mean", got.4, expected.4),
    ] {
        assert_eq!(bits(&got), bits(&expected), "{what} of {shape:?}");
    }
}

fn shapes() -> impl Strategy<Value = Pool2dShape> {
    let side = || (1..=5usize, 1..=5usize, 0..=9usize);
    (1..=7usize, side(), side()).prop_map(|(channels, (rows, down, more_rows), (columns, right, more_columns))| {
        Pool2dShape::new(channels, [rows + more_rows, columns + more_columns], [rows, columns], [down, right]).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn equals_the_definition(shape in shapes(), batch in 0..=4usize, seed in any::<u64>(), strange in any::<bool>()) {
        check::<f32>(&shape, batch, seed, strange);
        check::<f64>(&shape, batch, seed, strange);
    }
}

/// Rows that are shorter than a vector, share one, or fill one and a part of the next; of every kind of window with vectors.
#[test]
fn rows_of_every_length_equal_the_definition() {
    for (columns, rows) in (2..=70usize).flat_map(|columns| (2..=9usize).map(move |rows| (columns, rows))) {
        for (window, stride) in [([2, 2], [2, 2]), ([2, 2], [1, 1]), ([2, 3], [2, 2])] {
            if columns >= window[1] {
                let shape = Pool2dShape::new(3, [rows, columns], window, stride).unwrap();
                check::<f32>(&shape, 2, 7, columns % 2 == 0);
                check::<f64>(&shape, 2, 7, columns % 2 == 1);
            }
        }
    }
}

/// Positions may be anybody's, also such as lie under other windows than their own.
#[test]
fn gradients_go_where_the_positions_say() {
    for (columns, planes) in (2..=40usize).flat_map(|columns| (1..=3usize).map(move |planes| (columns, planes))) {
        let shape = Pool2dShape::new(planes, [7, columns], [2, 2], [2, 2]).unwrap();
        let dy = values::<f32>(3, shape.output_len(), false);
        let (x, mut y) = (values::<f32>(4, shape.input_len(), false), vec![0.0; dy.len()]);
        for stray in 0..dy.len() {
            let mut positions = vec![0; dy.len()];
            max_pool2d(&shape, 1, &x, &mut y, &mut positions).unwrap();
            positions[stray] = (positions[stray] + 2) % (7 * columns) as u32;
            let mut expected = vec![0.0; x.len()];
            let dx = between_canaries(x.len(), -12345.0, 77.0, |dx| {
                max_pool2d_backward(&shape, 1, &dy, &positions, dx).unwrap();
            });
            reference::max_pool2d_backward(&shape, 1, &dy, &positions, &mut expected).unwrap();
            assert_eq!(bits(&dx), bits(&expected), "{shape:?}, stray {stray}");
        }
    }
}

#[test]
fn large_pooling_equals_the_definition_on_any_number_of_threads() {
    for (channels, input, window, stride, batch) in [
        (20, [24, 24], [2, 2], [2, 2], 64),
        (1, [700, 701], [3, 2], [1, 2], 1),
        (40, [57, 55], [3, 3], [2, 2], 3),
        (1, [900, 900], [2, 2], [2, 2], 1),
    ] {
        let shape = Pool2dShape::new(channels, input, window, stride).unwrap();
        assert!(batch * shape.output_len() * window[0] * window[1] >= 250_000, "{shape:?} stays serial");
        for threads in [1, 2, 3, 8] {
            pool(threads).unwrap().install(|| check::<f32>(&shape, batch, 5, true));
        }
    }
}

#[test]
fn the_first_of_equal_maxima_counts_and_overlaps_add_up() {
    // the article's pooling: a 2x2 window that slides by one
    let shape = Pool2dShape::new(1, [3, 3], [2, 2], [1, 1]).unwrap();
    let x = [1.0, 5.0, 5.0, 5.0, 5.0, 0.0, -0.0, 0.0, 0.0];
    let (mut y, mut positions, mut dx) = ([0.0; 4], [0; 4], [f32::NAN; 9]);
    max_pool2d(&shape, 1, &x, &mut y, &mut positions).unwrap();
    assert_eq!((y, positions), ([5.0; 4], [1, 1, 3, 4]));
    max_pool2d_backward(&shape, 1, &[1.0, 10.0, 100.0, 1000.0], &positions, &mut dx).unwrap();
    assert_eq!(dx, [0.0, 11.0, 0.0, 100.0, 1000.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn nan_spreads_and_takes_the_gradient() {
    let shape = Pool2dShape::new(1, [2, 4], [2, 2], [2, 2]).unwrap();
    let low = f32::NEG_INFINITY;
    let x = [9.0, f32::NAN, low, low, f32::NAN, f32::INFINITY, low, low];
    let (mut y, mut positions, mut dx) = ([0.0; 2], [0; 2], [1.0; 8]);
    max_pool2d(&shape, 1, &x, &mut y, &mut positions).unwrap();
    assert!(y[0].is_nan());
    assert_eq!((y[1], positions), (low, [1, 2]));
    max_pool2d_backward(&shape, 1, &[f32::NAN, 3.0], &positions, &mut dx).unwrap();
    assert!(dx[1].is_nan());
    dx[1] = 0.0;
    assert_eq!(dx, [0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn pixels_that_no_window_covers_get_no_gradient() {
    let shape = Pool2dShape::new(1, [1, 6], [1, 2], [1, 3]).unwrap();
    let mut dx = [f64::NAN; 6];
    avg_pool2d_backward(&shape, 1, &[2.0, 4.0], &mut dx).unwrap();
    assert_eq!(dx, [1.0, 1.0, 0.0, 2.0, 2.0, 0.0]);
}

#[test]
fn shapes_that_cannot_be() {
    let new = Pool2dShape::new;
    for (refused, message) in [
        (new(0, [4, 4], [2, 2], [2, 2]), "channels must be at least 1"),
        (new(1, [0, 4], [2, 2], [2, 2]), "the input's height must be at least 1"),
        (new(1, [4, 0], [2, 2], [2, 2]), "the input's width must be at least 1"),
        (new(1, [4, 4], [0, 2], [2, 2]), "the window's height must be at least 1"),
        (new(1, [4, 4], [2, 0], [2, 2]), "the window's width must be at least 1"),
        (new(1, [4, 4], [2, 2], [0, 2]), "the vertical stride must be at least 1"),
        (new(1, [4, 4], [2, 2], [2, 0]), "the horizontal stride must be at least 1"),
        (
            new(1, [4, 4], [2, 5], [1, 1]),
            "the pooling window covers 2x5 pixels, more than the padded input 4x4: use a smaller one, or more padding",
        ),
        (
            new(1, [65_537, 65_536], [1, 1], [1, 1]),
            "a plane of 65537x65536 pixels has more than 2^32 of them, which pooling positions cannot tell apart: pool it in parts",
        ),
        (
            new(usize::MAX, [4, 4], [2, 2], [1, 1]),
            "the input image would have more than 2^63 - 1 bytes: reduce its sizes or the batch",
        ),
    ] {
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
    assert!(new(1, [65_536, 65_536], [2, 2], [2, 2]).is_ok());
}

#[test]
fn slices_that_do_not_fit() {
    let shape = Pool2dShape::new(3, [4, 4], [2, 2], [2, 2]).unwrap();
    let message = |result: Result<(), KernelError>| result.unwrap_err().to_string();
    let (x, dy) = ([1.0f32; 96], [1.0f32; 24]);
    let x_message = "x must hold 96 elements, (N, C, H, W) = (2, 3, 4, 4); it holds 24";
    let y_message = "y must hold 24 elements, (N, C, OH, OW) = (2, 3, 2, 2); it holds 96";
    let dy_message = "dy must hold 24 elements, (N, C, OH, OW) = (2, 3, 2, 2); it holds 96";
    assert_eq!(message(max_pool2d(&shape, 2, &dy, &mut [0.0; 24], &mut [0; 24])), x_message);
    assert_eq!(message(max_pool2d(&shape, 2, &x, &mut [0.0; 96], &mut [0; 24])), y_message);
    assert_eq!(
        message(max_pool2d(&shape, 2, &x, &mut [0.0; 24], &mut [0; 23])),
        "positions must hold 24 elements, (N, C, OH, OW) = (2, 3, 2, 2); it holds 23",
    );
    assert_eq!(message(avg_pool2d(&shape, 2, &dy, &mut [0.0; 24])), x_message);
    assert_eq!(message(avg_pool2d_backward(&shape, 2, &x, &mut [0.0; 96])), dy_message);
    assert_eq!(message(max_pool2d_backward(&shape, 2, &x, &[0; 24], &mut [0.0; 96])), dy_message);

    let mut positions = [15; 24];
    let mut dx = [7.0; 96];
    assert_eq!(max_pool2d_backward(&shape, 2, &dy, &positions, &mut dx), Ok(()));
    dx.fill(7.0);
    positions[9] = 16;
    assert_eq!(
        message(max_pool2d_backward(&shape, 2, &dy, &positions, &mut dx)),
        "positions[9] is 16, but a plane has 16 pixels: pass the positions that max_pool2d wrote for this shape",
    );
    assert_eq!(dx, [7.0; 96], "written in spite of the refusal");
    assert!(reference::max_pool2d_backward(&shape, 2, &dy, &positions, &mut dx).is_err());
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
