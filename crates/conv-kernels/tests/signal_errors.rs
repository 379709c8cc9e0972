//! What `correlate`, `convolve` and their companions refuse, and what they say.

use conv_kernels::{
    KernelError, Mode, convolve, convolve_into, convolve2d, convolve2d_into, correlate, correlate_into, correlate2d,
    correlate2d_into, output_shape, reference,
};
use ndarray::{Array2, ArrayD, IxDyn};

#[test]
fn bad_operands() {
    let big = usize::MAX / 2;
    let cases: [(&[usize], &[usize], Mode, &str); 10] = [
        (
            &[0, 3],
            &[2, 2],
            Mode::Full,
            "the first operand is empty (shape (0, 3)): correlation needs at least one element on each side",
        ),
        (
            &[3],
            &[0],
            Mode::Same,
            "the second operand is empty (shape (0,)): correlation needs at least one element on each side",
        ),
        (
            &[3, 3],
            &[0, 2],
            Mode::Valid,
            "the second operand is empty (shape (0, 2)): correlation needs at least one element on each side",
        ),
        (
            &[2, 3],
            &[3, 2],
            Mode::Valid,
            "mode valid needs one operand at least as large as the other in every dimension; got (2, 3) and (3, 2): crop one of them, or use Mode::Full or Mode::Same",
        ),
        (
            &[3, 2],
            &[2, 3],
            Mode::Valid,
            "mode valid needs one operand at least as large as the other in every dimension; got (3, 2) and (2, 3): crop one of them, or use Mode::Full or Mode::Same",
        ),
        (
            &[1, 64, 28, 28],
            &[1, 1, 29, 5],
            Mode::Valid,
            "mode valid needs one operand at least as large as the other in every dimension; got (1, 64, 28, 28) and (1, 1, 29, 5): crop one of them, or use Mode::Full or Mode::Same",
        ),
        (
            &[3],
            &[2, 2],
            Mode::Full,
            "the operands must have the same number of axes; got (3,) and (2, 2): insert axes of length 1 into the one with fewer",
        ),
        (
            &[],
            &[1],
            Mode::Full,
            "the operands must have the same number of axes; got () and (1,): insert axes of length 1 into the one with fewer",
        ),
        (
            &[usize::MAX],
            &[2],
            Mode::Full,
            "the output would have more than 2^63 - 1 bytes: reduce its sizes or the batch",
        ),
        (
            &[big, 3],
            &[1, 1],
            Mode::Same,
            "the output would have more than 2^63 - 1 bytes: reduce its sizes or the batch",
        ),
    ];
    for (first, second, mode, message) in cases {
        assert_eq!(output_shape(first, second, mode).unwrap_err().to_string(), message);
        if first.contains(&usize::MAX) || first.contains(&big) {
            continue; // no such array exists
        }
        let (first, second) = (ArrayD::<f32>::zeros(first), ArrayD::<f32>::zeros(second));
        for function in [correlate, convolve, reference::correlate, reference::convolve] {
            assert_eq!(function(&first, &second, mode).unwrap_err().to_string(), message);
        }
        let mut out = ArrayD::zeros(IxDyn(&[1]));
        for function in [correlate_into, convolve_into] {
            assert_eq!(function(&first, &second, mode, &mut out).unwrap_err().to_string(), message);
        }
        let two = |a: &ArrayD<f32>| a.clone().into_dimensionality().ok();
        let (Some(first), Some(second)) = (two(&first), two(&second)) else { continue };
        for function in [correlate2d, convolve2d] {
            assert_eq!(function(&first, &second, mode).unwrap_err().to_string(), message);
        }
    }
}

#[test]
fn an_output_too_large_to_exist() {
    // broadcast views have lengths without elements behind them
    let element = Array2::from_elem((1, 1), 1.0f64);
    let tall = element.broadcast((1 << 61, 1)).expect("a broadcast of one element");
    let wide = element.broadcast((1, 1 << 61)).expect("a broadcast of one element");
    let error = KernelError::TooLarge { what: "the output" };
    assert_eq!(correlate(&tall, &wide, Mode::Full), Err(error.clone()));
    assert_eq!(convolve2d(&tall, &element, Mode::Same), Err(error));
}

#[test]
fn an_out_of_the_wrong_shape() {
    let (first, second) = (Array2::<i32>::ones((4, 5)), Array2::ones((2, 2)));
    let cases = [
        (Mode::Valid, (4, 3), "out must have the shape (3, 4); it has (4, 3)"),
        (Mode::Full, (4, 5), "out must have the shape (5, 6); it has (4, 5)"),
        (Mode::Same, (0, 0), "out must have the shape (4, 5); it has (0, 0)"),
    ];
    for (mode, shape, message) in cases {
        let untouched = Array2::from_elem(shape, 7);
        for function in [correlate_into, convolve_into, correlate2d_into, convolve2d_into] {
            let mut out = untouched.clone();
            assert_eq!(function(&first, &second, mode, &mut out).unwrap_err().to_string(), message);
            assert_eq!(out, untouched);
        }
    }
}
