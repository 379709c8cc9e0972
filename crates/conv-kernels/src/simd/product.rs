//! Matrix products by `matrixmultiply`, which finds out by itself what the CPU offers.

use ndarray::{ArrayView2, ArrayViewMut2};

/// One product on the calling thread, `C ← α A B + β C`; with `β = 0`, C is not read.
macro_rules! product {
    ($name:ident, $t:ident, $kernel:path) => {
        #[doc = concat!("`C ← α A B + β C` in ", stringify!($t), " on the calling thread; with `β = 0`, C is not read.")]
        ///
        /// For `α = 1` and `β` 0 or 1 the bits of an element depend on its row of A and its column of B alone, not
        /// on the matrices that these came in.
        ///
        /// # Panics
        ///
        /// If the shapes do not match; callers check them before.
        pub(crate) fn $name(
            alpha: $t,
            a: ArrayView2<'_, $t>,
            b: ArrayView2<'_, $t>,
            beta: $t,
            mut c: ArrayViewMut2<'_, $t>,
        ) {
            let ((m, k), n) = (a.dim(), b.ncols());
            assert_eq!(b.nrows(), k, "A has as many columns as B has rows");
            assert_eq!(c.dim(), (m, n), "C has the rows of A and the columns of B");
            let ([a_row, a_column], [b_row, b_column]) = (strides(&a), strides(&b));
            let [c_row, c_column] = strides(&c);
            // SAFETY: the three pointers and strides come from views, so every element that a pair of indices below
            // (m, k), (k, n), (m, n) reaches is readable, and for C writable through this exclusive view alone. The
            // elements of a mutable view are distinct, so the strides of C do not alias. The shapes agree, asserted
            // above.
            unsafe {
                $kernel(
                    m,
                    k,
                    n,
                    alpha,
                    a.as_ptr(),
                    a_row,
                    a_column,
                    b.as_ptr(),
                    b_row,
                    b_column,
                    beta,
                    c.as_mut_ptr(),
                    c_row,
                    c_column,
                );
            }
        }
    };
}

product!(sgemm, f32, matrixmultiply::sgemm);
product!(dgemm, f64, matrixmultiply::dgemm);

/// Distance in elements between rows, and between columns.
fn strides<T>(matrix: &ndarray::ArrayRef2<T>) -> [isize; 2] {
    [matrix.strides()[0], matrix.strides()[1]]
}
