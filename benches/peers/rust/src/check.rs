//! Whether the other libraries compute what overlay computes: every pass of small layers of every kind.

use anyhow::{Result, ensure};
use conv_kernels::{Conv2dPlan, Epilogue, Options};
use overlay_benches::numbers;
use overlay_benches::output::line;
use overlay_benches::passes::Pass;
use overlay_benches::shapes::{Layer, layers};

use crate::Library;

const LAYERS: &str = r#"{"check": {
    "plain": [2,3,9,9,4,3,3,1,0,1,1],
    "padded": [2,4,8,10,6,5,5,1,2,1,1],
    "1x1": [2,4,6,6,5,1,1,1,0,1,1],
    "1x1, strided": [2,4,8,8,5,1,1,2,0,1,1],
    "strided": [2,3,9,9,4,3,3,2,1,1,1],
    "strided, with a rest": [2,3,10,10,4,3,3,2,1,1,1],
    "dilated": [2,3,10,10,4,3,3,1,2,2,1],
    "grouped": [2,6,8,8,9,3,3,1,1,1,3],
    "depthwise": [2,5,8,8,5,3,3,1,1,1,5],
    "one image": [1,1,20,17,1,5,4,1,0,1,1]
}}"#;

/// Prints how many results agree.
///
/// # Errors
///
/// At the first that does not: names the layer and pass.
pub fn check(library: Library) -> Result<()> {
    let mut count = 0;
    for layer in layers(LAYERS, "check")? {
        for pass in Pass::ALL {
            let expected = overlay(&layer, pass)?;
            for mut way in library.ways(&layer, pass)? {
                let name = format!("{}, {}: {pass} by {}", library.name(), layer.name, way.name);
                let values = (way.call)()?.values()?;
                ensure!(values.len() == expected.len(), "{name}: {} numbers, not {}", values.len(), expected.len());
                let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                for (at, (value, expected)) in values.iter().zip(&expected).enumerate() {
                    let near = (value - expected).abs() <= 1e-5 * largest;
                    ensure!(near, "{name}: {value} at {at}, where overlay has {expected}");
                }
                count += 1;
            }
        }
    }
    line(&format!("{}: {count} results, all as overlay's", library.name()))
}

fn overlay(layer: &Layer, pass: Pass) -> Result<Vec<f32>> {
    let (batch, shape) = (layer.batch, &layer.shape);
    let (x, weight) = (numbers(batch * shape.input_len()), numbers(shape.weight_len()));
    let (bias, dy) = (numbers(shape.out_channels()), numbers(batch * shape.output_len()));
    let plan = Conv2dPlan::new(layer.shape, &Options::default())?;
    let mut scratch = plan.scratch(batch);
    Ok(match pass {
        Pass::Forward => {
            let (mut y, epilogue) = (vec![0.0; dy.len()], Epilogue { bias: Some(&bias), ..Epilogue::none() });
            plan.forward(batch, &x, &weight, epilogue, &mut y, &mut scratch)?;
            y
        }
        Pass::InputGradient => {
            let mut dx = vec![0.0; x.len()];
            plan.input_gradient(batch, &dy, &weight, &mut dx, &mut scratch)?;
            dx
        }
        Pass::WeightGradient => {
            let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
            plan.weight_gradient(batch, &x, &dy, &mut dweight, &mut scratch)?;
            plan.bias_gradient(batch, &dy, &mut dbias)?;
            [dweight, dbias].concat()
        }
    })
}
