//! The utility functions at the end of the listing.

use conv_kernels::{Activation, KernelError, Mode, output_shape};
use ndarray::Array2;

/// `1.0/(1.0+np.exp(-z))`, element by element.
pub(crate) fn sigmoid(z: &Array2<f64>) -> Array2<f64> {
    let mut a: Vec<f64> = z.iter().copied().collect();
    Activation::Sigmoid.apply(&mut a);
    matrix(z.dim(), a)
}

/// `sigmoid(z)*(1-sigmoid(z))`: what a gradient of ones becomes.
pub(crate) fn sigmoid_prime(z: &Array2<f64>) -> Array2<f64> {
    dc_db(z, &Array2::ones(z.dim()))
}

/// `sigmoid_prime(z) * dc_da`: the derivative of the cost by each neuron's z, and so by its bias. The kernel takes the
/// derivative from a = σ(z).
pub(crate) fn dc_db(z: &Array2<f64>, dc_da: &Array2<f64>) -> Array2<f64> {
    let a: Vec<f64> = sigmoid(z).into_iter().collect();
    let mut gradient: Vec<f64> = dc_da.iter().copied().collect();
    Activation::Sigmoid.backprop(&a, &mut gradient);
    matrix(z.dim(), gradient)
}

fn matrix(shape: (usize, usize), values: Vec<f64>) -> Array2<f64> {
    Array2::from_shape_vec(shape, values).expect("there is one value for each z")
}

/// `(rows - overlay_rows + 1, columns - overlay_columns + 1)`; an overlay that does not fit is an error here.
pub(crate) fn get_feature_map_shape(input: [usize; 2], overlay: [usize; 2]) -> Result<Vec<usize>, KernelError> {
    output_shape(&input, &overlay, Mode::Valid)
}
