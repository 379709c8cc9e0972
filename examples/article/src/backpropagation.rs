//! The same feature map as a layer: forward, backward, one step of learning.

use std::io::Write;

use layers::{Activation, Conv2d, Solo};

use crate::golden::FeatureMap;
use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>, golden: &FeatureMap) -> anyhow::Result<()> {
    report.section("The same feature map as a layer", "the listing in Python")?;
    report.text("Solo holds what the article's classes hold: parameters, the last pass, its gradient.")?;
    let (a_prev, a_gradient) = (golden.input.shaped((1, 1, 3, 3))?, golden.a_gradient.shaped((1, 1, 2, 2))?);
    let (w, b) = (golden.w.shaped((1, 1, 2, 2))?.into_dyn(), golden.b.shaped(1)?.into_dyn());

    report.python("fm = FeatureMap(a_prev, (2, 2))")?;
    rust!(report, let conv = Conv2d::new([1, 3, 3], 1, 2).activation(Activation::Sigmoid).build()?);
    rust!(report, let mut fm = Solo::<f64, _>::new(conv, &[1, 3, 3], 0)?);
    rust!(report, fm.params_mut().set("weight", &w)?);
    rust!(report, fm.params_mut().set("bias", &b)?);

    report.python("fm.feed_forward()")?;
    rust!(report, let a = fm.forward(&a_prev)?);
    report.check("a", &a, &golden.a.array()?)?;

    report.python("fm.propagate_backward(a_gradient, 0.1)")?;
    rust!(report, let a_prev_gradient = fm.backward(&a_gradient)?);
    report.check("a_prev_gradient", &a_prev_gradient, &golden.a_prev_gradient.array()?)?;
    report.check("w_gradient", &fm.grads().tensor("weight")?, &golden.w_gradient.array()?)?;
    report.check("b_gradient", &fm.grads().tensor("bias")?, &golden.b_gradient.array()?)?;
    rust!(report, fm.descend(0.1));
    report.check("self.w", &fm.params().tensor("weight")?, &golden.w_after.array()?)?;
    report.check("self.b", &fm.params().tensor("bias")?, &golden.b_after.array()?)?;
    Ok(())
}
