//! The utility functions at the end of the listing.

use conv_kernels::{Activation, KernelError, Mode, output_shape};
use ndarray::Array2;

/// `1.0/(1.0+np.exp(-z))`, element by element.
pub(crate) fn sigmoid(z: &Array2<f64>) -> Array2<f64> {
    let mut a = z.to_owned();
    a.as_slice_mut().map(|a| Activation::Sigmoid.apply(a));
    a
}

/// `sigmoid(z)*(1-sigmoid(z))`: the kernel multiplies a gradient by it, here by ones.
pub(crate) fn sigmoid_prime(z: &Array2<f64>) -> Array2<f64> {
    dc_db(z, &Array2::ones(z.dim()))
}

/// `sigmoid_prime(z) * dc_da`: the derivative of the cost by each neuron's z, and so by its bias.
pub(crate) fn dc_db(z: &Array2<f64>, dc_da: &Array2<f64>) -> Array2<f64> {
    let a = sigmoid(z);
    let mut dc_db = dc_da.to_owned();
    if let (Some(a), Some(dc_db)) = (a.as_slice(), dc_db.as_slice_mut()) {
        Activation::Sigmoid.backprop(a, dc_db);
    }
    dc_db
}

/// `(rows - overlay_rows + 1, columns - overlay_columns + 1)`; an overlay that does not fit is an error here.
pub(crate) fn get_feature_map_shape(input: [usize; 2], overlay: [usize; 2]) -> Result<Vec<usize>, KernelError> {
    output_shape(&input, &overlay, Mode::Valid)
}
