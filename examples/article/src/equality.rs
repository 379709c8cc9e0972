//! When two numbers, and two arrays, are equal.

use ndarray::{Array, ArrayD, ArrayRef, Dimension};

/// What the report says of it, for its first lines.
pub(crate) const RULE: &str = "\
Integers and positions are equal when they are the same. Floats are equal when they differ by at
most 1e-12 of their size, or by 1e-15: where a neuron is saturated, the listing's own
sigmoid(z)*(1-sigmoid(z)) is no more exact than that.";

/// A number of the article.
pub(crate) trait Number: Copy {
    /// Whether it is what it should be.
    fn equals(self, expected: Self) -> bool;

    /// As it is printed; `scientific` with an exponent, where the kind of number has one.
    fn show(self, scientific: bool) -> String;

    /// Whether six decimals say enough.
    fn is_plain(self) -> bool {
        true
    }
}

impl Number for i64 {
    fn equals(self, expected: Self) -> bool {
        self == expected
    }

    fn show(self, _: bool) -> String {
        self.to_string()
    }
}

/// A position: row, column.
impl Number for (usize, usize) {
    fn equals(self, expected: Self) -> bool {
        self == expected
    }

    fn show(self, _: bool) -> String {
        format!("({}, {})", self.0, self.1)
    }
}

impl Number for f64 {
    fn equals(self, expected: Self) -> bool {
        (self - expected).abs() <= 1e-15_f64.max(1e-12 * expected.abs())
    }

    fn show(self, scientific: bool) -> String {
        if self == 0.0 {
            return "0".into();
        }
        if scientific {
            return format!("{self:.4e}");
        }
        let text = format!("{self:.6}");
        text.trim_end_matches('0').trim_end_matches('.').into()
    }

    fn is_plain(self) -> bool {
        self == 0.0 || (1e-3..1e5).contains(&self.abs())
    }
}

/// The first difference, in words; `None` if there is none. Axes of length 1 aside: the listing knows no batches and channels.
pub(crate) fn difference<T: Number, D: Dimension>(ours: &ArrayRef<T, D>, expected: &ArrayD<T>) -> Option<String> {
    if squeezed(ours.shape()) != squeezed(expected.shape()) {
        return Some(format!("the shape is {:?}, and should be {:?}", ours.shape(), expected.shape()));
    }
    let pairs = || ours.iter().zip(expected.indexed_iter());
    let different = pairs().filter(|(ours, (_, expected))| !ours.equals(**expected)).count();
    let (ours, (index, expected)) = pairs().find(|(ours, (_, expected))| !ours.equals(**expected))?;
    let index = index.as_array_view();
    let (ours, expected) = (ours.show(true), expected.show(true));
    Some(format!("{different} of {} values, first {ours} for {expected} at {index}", pairs().count()))
}

/// `array` in the shape of another one of as many elements, where it has as many.
pub(crate) fn shaped_like<T: Clone, D: Dimension>(array: &ArrayRef<T, D>, like: &ArrayD<T>) -> ArrayD<T> {
    let values: Vec<T> = array.iter().cloned().collect();
    Array::from_shape_vec(like.raw_dim(), values).unwrap_or_else(|_| array.to_owned().into_dyn())
}

fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|&len| len != 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn equal_is_a_matter_of_size() {
        for (ours, expected, equal) in [
            (1.0, 1.0 + 1e-13, true),
            (1.0, 1.0 + 1e-11, false),
            (1e6, 1e6 + 1e-7, true),
            (1e-20, 2e-20, true),
            (1e-9, 1.00001e-9, false),
            (f64::NAN, f64::NAN, false),
            (f64::INFINITY, 1.0, false),
        ] {
            assert_eq!(ours.equals(expected), equal, "{ours} {expected}");
        }
    }

    #[test]
    fn a_difference_says_where() {
        let expected = array![[370, 470], [670, 770_i64]].into_dyn();
        assert_eq!(difference(&array![[[370, 470], [670, 770]]], &expected), None);
        assert_eq!(
            difference(&array![[370, 471], [670, 0]], &expected).unwrap(),
            "2 of 4 values, first 471 for 470 at [0, 1]"
        );
        assert_eq!(
            difference(&array![[370, 470, 670, 770]], &expected).unwrap(),
            "the shape is [1, 4], and should be [2, 2]"
        );
    }

    #[test]
    fn zeros_are_not_equal_to_a_small_gradient() {
        assert!(difference(&array![0.0, 0.0], &array![4.9e-12, -1.09e-9].into_dyn()).is_some());
    }

    #[test]
    fn numbers_are_printed_short() {
        assert_eq!([0.3, 10.0, -0.0, 2.0 / 3.0].map(|v| v.show(false)), ["0.3", "10", "0", "0.666667"]);
        assert_eq!((-1.0931e-9).show(true), "-1.0931e-9");
        assert_eq!((2, 1).show(false), "(2, 1)");
    }
}
