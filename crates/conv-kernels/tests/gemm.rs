//! The matrix product against its definition, bit for bit on small integers, for every kind of strides.

mod common;

use common::again_with_each_instruction_set;
use conv_kernels::{gemm, pool, reference};
use ndarray::{Array2, ArrayView2, array, s};
use proptest::prelude::*;

fn integers(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    let mut state = seed;
    Array2::from_shape_simple_fn((rows, columns), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 19) as f32 - 9.0
    })
}

/// A `rows × columns` view of `store` with one of five kinds of strides.
fn view(store: &Array2<f32>, kind: usize, rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    match kind {
        0 => store.slice(s![..rows, ..columns]),
        1 => store.slice(s![..columns, ..rows]).reversed_axes(),
        2 => store.slice(s![..2 * rows;2, ..3 * columns;3]),
        3 => store.slice(s![..rows;-1, ..columns;-1]),
        _ => store
            .slice(s![..1, ..columns])
            .broadcast((rows, columns))
            .map_or_else(|| store.slice(s![..rows, ..columns]), |_| store.slice(s![1..=rows, 2..columns + 2])),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn equals_the_definition(
        (m, n, k) in (0..40usize, 0..40usize, prop_oneof![0..40usize, 250..600usize]),
        kinds in (0..5usize, 0..5usize, 0..4usize),
        (alpha, beta) in prop::sample::select(vec![(1.0f32, 0.0f32), (1.0, 1.0), (2.0, -1.0), (-1.0, 0.0), (0.0, 3.0)]),
        seed in any::<u64>(),
    ) {
        let side = 3 * m.max(n).max(k) + 3;
        let (a, b) = (integers(side, side, seed), integers(side, side, seed ^ 5));
        let (a, b) = (view(&a, kinds.0, m, k), view(&b, kinds.1, k, n));
        let start = integers(m, n, seed ^ 9);
        let mut expected = start.clone();
        reference::gemm(alpha, &a, &b, beta, &mut expected).unwrap();

        // C in a larger array, whose other elements must stay as they are.
        let mut store = Array2::from_elem((2 * m + 2, 2 * n + 2), -777.0f32);
        let mut store_t = Array2::from_elem((n + 2, m + 2), -777.0f32);
        let mut c = match kinds.2 {
            0 => store.slice_mut(s![1..=m, 1..=n]),
            1 => store_t.slice_mut(s![1..=n, 1..=m]).reversed_axes(),
            2 => store.slice_mut(s![1..=2 * m;2, 1..=2 * n;2]),
            _ => store.slice_mut(s![1..=m;-1, 1..=n;-1]),
        };
        c.assign(&start);
        if beta == 0.0 {
            c.fill(f32::NAN);
        }
        gemm(alpha, &a, &b, beta, &mut c).unwrap();
        prop_assert_eq!(&c, &expected);
        c.fill(-777.0);
        prop_assert!(store.iter().chain(&store_t).all(|&value| value == -777.0));
    }
}

#[test]
fn large_products_equal_the_definition_with_the_same_bits_on_any_number_of_threads() {
    for (m, n, k) in
        [(100, 64, 1440), (64, 1440, 100), (300, 301, 300), (1000, 10, 100), (1, 2000, 800), (20, 70, 2048)]
    {
        let (a, b) = (integers(m, k, 1), integers(n, k, 2));
        let mut expected = Array2::zeros((m, n));
        reference::gemm(1.0, &a, &b.t(), 0.0, &mut expected).unwrap();
        let real = a.mapv(|value| value * 0.1);
        let runs = [1, 2, 3, 8].map(|threads| {
            pool(threads).unwrap().install(|| {
                let mut c = Array2::from_elem((m, n), f32::NAN);
                gemm(1.0, &a, &b.t(), 0.0, &mut c).unwrap();
                assert_eq!(c, expected, "{m}x{k}x{n} on {threads} threads");
                gemm(0.7, &real, &b.t(), 0.3, &mut c).unwrap();
                c
            })
        });
        assert!(runs.iter().all(|run| *run == runs[0]), "{m}x{k}x{n}");
    }
}

#[test]
fn f64_works_too() {
    let a = integers(17, 300, 3).mapv(f64::from);
    let mut c = Array2::from_elem((17, 17), 1.0);
    let mut expected = c.clone();
    gemm(2.0, &a, &a.t(), 1.0, &mut c).unwrap();
    reference::gemm(2.0, &a, &a.t(), 1.0, &mut expected).unwrap();
    assert_eq!(c, expected);
}

#[test]
fn nan_and_infinity_of_the_operands_spread() {
    let a = array![[f32::NAN, 1.0], [1.0, 2.0], [f32::INFINITY, 0.0]];
    let b = array![[1.0, 0.0], [1.0, 1.0]];
    let mut c = Array2::zeros((3, 2));
    gemm(1.0, &a, &b, 0.0, &mut c).unwrap();
    assert!(c[[0, 0]].is_nan() && c[[0, 1]].is_nan() && c[[2, 1]].is_nan());
    assert_eq!((c[[1, 0]], c[[1, 1]], c[[2, 0]]), (3.0, 2.0, f32::INFINITY));
}

#[test]
fn shapes_that_do_not_fit() {
    let zeros = Array2::<f32>::zeros;
    for (a, b, c, message) in [
        ((2, 3), (4, 5), (2, 5), "b must have the shape (3, 5); it has (4, 5)"),
        ((2, 3), (3, 5), (5, 2), "c must have the shape (2, 5); it has (5, 2)"),
        ((0, 3), (3, 5), (1, 5), "c must have the shape (0, 5); it has (1, 5)"),
    ] {
        let mut out = zeros(c);
        let refused = gemm(1.0, &zeros(a), &zeros(b), 0.0, &mut out).unwrap_err();
        assert_eq!(refused.to_string(), message);
        assert_eq!(reference::gemm(1.0, &zeros(a), &zeros(b), 0.0, &mut out), Err(refused));
    }
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
