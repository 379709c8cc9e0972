//! Products against chains of multiply-adds, in the middle of what must not change.

use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use super::*;

/// `C ← A B (+ C)` by one chain an element.
fn chains<T: Scalar>(fused: bool, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, start: &Array2<T>) -> Array2<T> {
    let mul_add = |sum: T, a: T, b: T| if fused { a.mul_add(b, sum) } else { sum + a * b };
    Array2::from_shape_fn(start.dim(), |(row, column)| {
        let pairs = a.row(row).into_iter().zip(b.column(column));
        pairs.fold(start[[row, column]], |sum, (&a, &b)| mul_add(sum, a, b))
    })
}

fn numbers<T: Scalar>(rows: usize, columns: usize) -> Array2<T> {
    let mut state = (rows * 31 + columns) as u64;
    Array2::from_shape_simple_fn((rows, columns), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::of((state >> 40) as f64 / f64::from(1 << 23) - 1.0)
    })
}

/// All strides of operands, into a part of a larger C whose other elements stay.
fn check<T: Scalar>(isa: Isa, m: usize, k: usize, n: usize) {
    let (a, a_t, b, b_t) = (numbers::<T>(m, k), numbers::<T>(k, m), numbers::<T>(k, 2 * n), numbers::<T>(n, k));
    for a in [a.view(), a_t.t()] {
        for b in [b.slice(s![.., ..n]), b.slice(s![.., ..;2]), b_t.t()] {
            for (add, transposed) in [(false, false), (true, false), (true, true)] {
                let start = if add { numbers(m, n) } else { Array2::zeros((m, n)) };
                let canary = T::of(-777.0);
                let mut store = Array2::from_elem((m + 2, n + 2), canary);
                if transposed {
                    store = Array2::from_elem((n + 2, m + 2), canary).reversed_axes();
                }
                let mut c = store.slice_mut(s![1..=m, 1..=n]);
                c.assign(&start.mapv(|value| if add { value } else { T::nan() }));
                let a3 = a.insert_axis(Axis(0));
                let mut scratch = vec![T::nan(); scratch_len(isa, &a3, n)];
                let (b3, c3) = (b.insert_axis(Axis(0)), c.view_mut().insert_axis(Axis(0)));
                T::run(isa, Product { alpha: T::one(), a: a3, b: b3, add, bias: None, c: c3, scratch: &mut scratch });
                assert_eq!(c, chains(isa.is_fast(), a, b, &start), "{m}x{k}x{n}, {}", isa.name());
                c.fill(canary);
                assert!(store.iter().all(|&value| value == canary), "{m}x{k}x{n}: written beyond C");
            }
        }
    }
}

#[test]
fn every_element_is_one_chain_whatever_the_shape() {
    for isa in Isa::available() {
        for m in [1, 2, 3, 6, 7, 13] {
            for n in [1, 5, 8, 10, 17, 24, 31, 32, 70] {
                for k in [1, 7, 20, 300] {
                    check::<f32>(isa, m, k, n);
                    check::<f64>(isa, m, k, n);
                }
            }
        }
        check::<f32>(isa, 260, 30, 70);
        check::<f32>(isa, 40, 300, 290);
        check::<f64>(isa, 260, 30, 70);
    }
}

#[test]
fn matrices_side_by_side_are_products_of_their_own() {
    let canary = -777.0;
    for isa in Isa::available() {
        for (count, m, k, n) in [(3, 7, 20, 1), (5, 20, 30, 7), (2, 1, 9, 16), (4, 29, 300, 49), (7, 15, 40, 20)] {
            let a = numbers::<f32>(m, k);
            // Rows of B without gaps, with gaps, and transposed.
            let fill = |a, b, c| numbers(a * b, c).into_shape_with_order((a, b, c)).unwrap();
            let (dense, wide, turned) = (fill(count, k, n), fill(count, k, n + 3), fill(count, n, k));
            let turned = turned.view().permuted_axes([0, 2, 1]);
            for b in [dense.view(), wide.slice(s![.., .., 1..=n]), turned] {
                for add in [false, true] {
                    let mut store = Array3::from_elem((count, m + 2, n + 2), canary);
                    let mut c = store.slice_mut(s![.., 1..=m, 1..=n]);
                    c.fill(if add { 0.5 } else { f32::NAN });
                    let start = Array2::from_elem((m, n), if add { 0.5 } else { 0.0 });
                    let a3 = a.view().insert_axis(Axis(0));
                    let mut scratch = vec![f32::NAN; scratch_len(isa, &a3, count * n)];
                    let c3 = c.view_mut();
                    let bias: Vec<f32> = (0..m).map(|row| 0.3 * row as f32 - 1.0).collect();
                    f32::run(
                        isa,
                        Product { alpha: 1.0, a: a3, b, add, bias: Some(&bias), c: c3, scratch: &mut scratch },
                    );
                    for (b, c) in b.outer_iter().zip(c.outer_iter()) {
                        let mut expected = chains(isa.is_fast(), a.view(), b, &start);
                        expected.indexed_iter_mut().for_each(|((row, _), sum)| *sum += bias[row]);
                        assert_eq!(c, expected, "{count} of {m}x{k}x{n}");
                    }
                    c.fill(canary);
                    assert!(store.iter().all(|&value| value == canary), "{count} of {m}x{k}x{n}: written beyond C");
                }
            }
        }
    }
}

#[test]
fn terms_are_added_in_one_chain() {
    for isa in Isa::available() {
        for (count, m, k, n) in [(3, 7, 20, 5), (2, 40, 196, 70), (9, 30, 49, 33), (2, 5, 900, 20), (5, 20, 3, 17)] {
            let fill = |rows: usize, columns: usize| {
                numbers::<f32>(count * rows, columns).into_shape_with_order((count, rows, columns)).unwrap()
            };
            let (a, a_t, b, b_t) = (fill(m, k), fill(k, m), fill(k, n), fill(n, k));
            for a in [a.view(), a_t.view().permuted_axes([0, 2, 1])] {
                for b in [b.view(), b_t.view().permuted_axes([0, 2, 1])] {
                    let mut expected = numbers(m, n);
                    let mut c = expected.clone().insert_axis(Axis(0));
                    for (a, b) in a.outer_iter().zip(b.outer_iter()) {
                        expected = chains(isa.is_fast(), a, b, &expected);
                    }
                    let bias: Vec<f32> = (0..m).map(|row| 0.3 * row as f32 - 1.0).collect();
                    expected.indexed_iter_mut().for_each(|((row, _), sum)| *sum += bias[row]);
                    let mut scratch = vec![f32::NAN; scratch_len(isa, &a, n)];
                    let (bias, c3, scratch) = (Some(&bias[..]), c.view_mut(), &mut scratch[..]);
                    f32::run(isa, Product { alpha: 1.0, a, b, add: true, bias, c: c3, scratch });
                    assert_eq!(c.index_axis(Axis(0), 0), expected, "{count} of {m}x{k}x{n}");
                }
            }
        }
    }
}
