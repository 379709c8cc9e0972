//! The last fifteen lines of the listing, which print nothing: what their objects hold afterwards.

use std::io::Write;

use conv_kernels::{Mode, correlate2d, gemm};
use layers::{Activation, Conv2d, Dense, MaxPool2d, Solo};
use ndarray::{Array2, array};

use crate::functions::get_feature_map_shape;
use crate::golden::{Demo, FeatureMap, FullyConnected};
use crate::max_pooling::positions;
use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>, golden: &Demo) -> anyhow::Result<()> {
    report.section("The demo at the end of the listing, after np.random.seed(0)", "the listing in Python")?;
    report.text("Weights, biases and the random gradients are those that numpy draws there.")?;
    feature_map(report, golden)?;
    max_pooling_map(report, golden)?;
    fully_connected_layer(report, golden)
}

fn feature_map<W: Write>(report: &mut Report<W>, golden: &Demo) -> anyhow::Result<()> {
    let (draws, golden) = (&golden.draws, &golden.feature_map);
    report.python("input_data = np.arange(20).reshape(4,5) # 4x5 array")?;
    rust!(report, let input_data = Array2::from_shape_fn((4, 5), |(r, c)| (5 * r + c) as f64));
    report.python("overlay_shape = (2, 2)")?;
    rust!(report, let overlay_shape = [2, 2]);

    report.python("cl = FeatureMap(input_data, overlay_shape)")?;
    let (w, b) = (draws.feature_map_w.shaped((1, 1, 2, 2))?.into_dyn(), draws.feature_map_b.shaped(1)?.into_dyn());
    rust!(report, let conv = Conv2d::new([1, 4, 5], 1, overlay_shape).activation(Activation::Sigmoid).build()?);
    rust!(report, let mut cl = Solo::<f64, _>::new(conv, &[1, 4, 5], 0)?);
    rust!(report, cl.params_mut().set("weight", &w)?);
    rust!(report, cl.params_mut().set("bias", &b)?);

    report.python("cl.feed_forward()")?;
    rust!(report, let a = cl.forward(&input_data.clone().into_shape_with_order((1, 1, 4, 5))?)?);
    let z = correlate2d(&input_data, &draws.feature_map_w.shaped((2, 2))?, Mode::Valid)? + b[0];
    report.check("cl.z", &z, &golden.z.array()?)?;
    report.check("cl.a", &a, &golden.a.array()?)?;

    report.python("fl_shape = get_feature_map_shape(input_data.shape, overlay_shape)")?;
    rust!(report, let fl_shape = get_feature_map_shape([4, 5], overlay_shape)?);
    report.python("cl.propagate_backward(np.random.randn(*fl_shape), 0.1)")?;
    let gradient = draws.feature_map_gradient.shaped((1, 1, fl_shape[0], fl_shape[1]))?;
    rust!(report, let a_prev_gradient = cl.backward(&gradient)?);
    rust!(report, cl.descend(0.1));
    report.check("cl.a_prev_gradient", &a_prev_gradient, &golden.a_prev_gradient.array()?)?;
    report.check("cl.w", &cl.params().tensor("weight")?, &golden.w_after.array()?)?;
    report.check("cl.b", &cl.params().tensor("bias")?, &golden.b_after.array()?)?;
    report.text(
        "z is above 20 everywhere: the neurons are saturated, the gradients all but zero, w and b have hardly\n\
         moved. The next section has the same step with a smaller input.",
    )?;
    Ok(())
}

fn max_pooling_map<W: Write>(report: &mut Report<W>, golden: &Demo) -> anyhow::Result<()> {
    let (draws, golden) = (&golden.draws, &golden.max_pool);
    report.python("max_pool_input_data = np.array([[8,0,11,1,6],[10,2,4,14,17],[5,16,19,15,7],[12,13,9,18,3]])")?;
    rust!(report, let rows = array![[8, 0, 11, 1, 6], [10, 2, 4, 14, 17], [5, 16, 19, 15, 7], [12, 13, 9, 18, 3]]);
    rust!(report, let input = rows.mapv(f64::from).into_shape_with_order((1, 1, 4, 5))?);

    report.python("mpl = MaxPoolingMap(max_pool_input_data, overlay_shape)")?;
    rust!(report, let pool = MaxPool2d::new([1, 4, 5], 2).stride(1).build()?);
    rust!(report, let mut mpl = Solo::<f64, _>::new(pool, &[1, 4, 5], 0)?);
    report.python("mpl.feed_forward()")?;
    rust!(report, let max_values = mpl.forward(&input)?);
    report.check("mpl.max_values", &max_values, &golden.max_values.array()?)?;
    report.check("mpl.max_positions", &positions(&mpl, [3, 4], 5)?, &golden.max_positions.array()?)?;

    report.python("mpl.propagate_backward(np.random.randn(*fl_shape))")?;
    let gradient = draws.max_pool_gradient.shaped((1, 1, 3, 4))?;
    rust!(report, let a_prev_gradient = mpl.backward(&gradient)?);
    report.check("mpl.a_prev_gradient", &a_prev_gradient, &golden.a_prev_gradient.array()?)?;
    Ok(())
}

fn fully_connected_layer<W: Write>(report: &mut Report<W>, golden: &Demo) -> anyhow::Result<()> {
    let (draws, golden) = (&golden.draws, &golden.fully_connected);
    let (w, b) = (draws.fully_connected_w.array()?, draws.fully_connected_b.shaped(10)?.into_dyn());
    report.python("fcl = FullyConnectedLayer(input_data, 10)")?;
    rust!(report, let dense = Dense::new(20, 10).activation(Activation::Sigmoid).build()?);
    rust!(report, let mut fcl = Solo::<f64, _>::new(dense, &[20], 0)?);
    rust!(report, fcl.params_mut().set("weight", &w)?);
    rust!(report, fcl.params_mut().set("bias", &b)?);

    report.python("fcl.feed_forward()")?;
    let input_data = Array2::from_shape_fn((1, 20), |(_, i)| i as f64);
    rust!(report, let a = fcl.forward(&input_data)?);
    let mut z = draws.fully_connected_b.shaped((10, 1))?;
    gemm(1.0, &draws.fully_connected_w.shaped((10, 20))?, &input_data.t(), 1.0, &mut z)?;
    report.check("fcl.z", &z, &golden.z.array()?)?;
    report.check("fcl.a", &a, &golden.a.array()?)?;

    report.python("fcl.propagate_backward(as_col(np.random.randn(10)), 0.1)")?;
    let gradient = draws.fully_connected_gradient.shaped((1, 10))?;
    rust!(report, let a_prev_gradient = fcl.backward(&gradient)?.into_shape_with_order((4, 5))?);
    rust!(report, fcl.descend(0.1));
    report.check("fcl.a_prev_gradient", &a_prev_gradient, &golden.a_prev_gradient.array()?)?;
    report.check("fcl.w", &fcl.params().tensor("weight")?, &golden.w_after.array()?)?;
    report.check("fcl.b", &fcl.params().tensor("bias")?, &golden.b_after.array()?)?;
    Ok(())
}

/// The two layers that learn, on the input divided by 20: neurons that are not saturated.
pub(crate) fn run_scaled<W: Write>(
    report: &mut Report<W>,
    map: &FeatureMap,
    connected: &FullyConnected,
) -> anyhow::Result<()> {
    report.section("The same, where it learns: np.arange(20).reshape(4,5) / 20", "the listing in Python")?;
    scaled_feature_map(report, map)?;
    scaled_fully_connected(report, connected)
}

fn scaled_feature_map<W: Write>(report: &mut Report<W>, golden: &FeatureMap) -> anyhow::Result<()> {
    report.python("cl = FeatureMap(input_data, overlay_shape); cl.feed_forward()")?;
    let conv = Conv2d::new([1, 4, 5], 1, 2).activation(Activation::Sigmoid).build()?;
    let mut cl = Solo::<f64, _>::new(conv, &[1, 4, 5], 0)?;
    cl.params_mut().set("weight", &golden.w.shaped((1, 1, 2, 2))?.into_dyn())?;
    cl.params_mut().set("bias", &golden.b.shaped(1)?.into_dyn())?;
    let (x, gradient) = (golden.input.shaped((1, 1, 4, 5))?, golden.a_gradient.shaped((1, 1, 3, 4))?);
    rust!(report, let a = cl.forward(&x)?);
    report.check("cl.a", &a, &golden.a.array()?)?;
    report.python("cl.propagate_backward(np.random.randn(*fl_shape), 0.1)")?;
    rust!(report, let a_prev_gradient = cl.backward(&gradient)?);
    report.check("cl.a_prev_gradient", &a_prev_gradient, &golden.a_prev_gradient.array()?)?;
    report.check("w_gradient", &cl.grads().tensor("weight")?, &golden.w_gradient.array()?)?;
    report.check("b_gradient", &cl.grads().tensor("bias")?, &golden.b_gradient.array()?)?;
    rust!(report, cl.descend(0.1));
    report.check("cl.w", &cl.params().tensor("weight")?, &golden.w_after.array()?)?;
    report.check("cl.b", &cl.params().tensor("bias")?, &golden.b_after.array()?)?;
    Ok(())
}

fn scaled_fully_connected<W: Write>(report: &mut Report<W>, golden: &FullyConnected) -> anyhow::Result<()> {
    report.python("fcl = FullyConnectedLayer(input_data, 10); fcl.feed_forward()")?;
    let dense = Dense::new(20, 10).activation(Activation::Sigmoid).build()?;
    let mut fcl = Solo::<f64, _>::new(dense, &[20], 0)?;
    fcl.params_mut().set("weight", &golden.w.array()?)?;
    fcl.params_mut().set("bias", &golden.b.shaped(10)?.into_dyn())?;
    let (x, gradient) = (golden.input.shaped((1, 20))?, golden.a_gradient.shaped((1, 10))?);
    rust!(report, let a = fcl.forward(&x)?);
    report.check("fcl.a", &a, &golden.a.array()?)?;
    report.python("fcl.propagate_backward(as_col(np.random.randn(10)), 0.1)")?;
    rust!(report, let a_prev_gradient = fcl.backward(&gradient)?.into_shape_with_order((4, 5))?);
    report.check("fcl.a_prev_gradient", &a_prev_gradient, &golden.a_prev_gradient.array()?)?;
    report.check("w_gradient", &fcl.grads().tensor("weight")?, &golden.w_gradient.array()?)?;
    report.check("b_gradient", &fcl.grads().tensor("bias")?, &golden.b_gradient.array()?)?;
    rust!(report, fcl.descend(0.1));
    report.check("fcl.w", &fcl.params().tensor("weight")?, &golden.w_after.array()?)?;
    report.check("fcl.b", &fcl.params().tensor("bias")?, &golden.b_after.array()?)?;
    Ok(())
}
