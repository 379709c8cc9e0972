//! What the listing gives in Python: inputs, draws and results, made by running it (`data/extract.py`).

use anyhow::Context as _;
use ndarray::{Array, Array1, ArrayD, Dimension};
use serde::Deserialize;

const FILE: &str = include_str!("../data/listing.json");

#[derive(Debug, Deserialize)]
pub(crate) struct Golden {
    pub(crate) diagrams: FeatureMap,
    pub(crate) chained: Chained,
    pub(crate) demo: Demo,
    pub(crate) scaled_feature_map: FeatureMap,
    pub(crate) scaled_fully_connected: FullyConnected,
}

impl Golden {
    pub(crate) fn read() -> anyhow::Result<Self> {
        serde_json::from_str(FILE).context("the embedded results of the listing cannot be read")
    }
}

/// One step of the class `FeatureMap`.
#[derive(Debug, Deserialize)]
pub(crate) struct FeatureMap {
    pub(crate) input: Floats,
    pub(crate) w: Floats,
    pub(crate) b: Floats,
    pub(crate) z: Floats,
    pub(crate) a: Floats,
    pub(crate) a_gradient: Floats,
    pub(crate) b_gradient_components: Floats,
    pub(crate) b_gradient: Floats,
    pub(crate) w_gradient: Floats,
    pub(crate) a_prev_gradient: Floats,
    pub(crate) w_after: Floats,
    pub(crate) b_after: Floats,
}

/// One step of the class `FullyConnectedLayer`.
#[derive(Debug, Deserialize)]
pub(crate) struct FullyConnected {
    pub(crate) input: Floats,
    pub(crate) w: Floats,
    pub(crate) b: Floats,
    pub(crate) a: Floats,
    pub(crate) a_gradient: Floats,
    pub(crate) b_gradient: Floats,
    pub(crate) w_gradient: Floats,
    pub(crate) a_prev_gradient: Floats,
    pub(crate) w_after: Floats,
    pub(crate) b_after: Floats,
}

/// A convolutional layer of two feature maps over three, as the article's prose has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Chained {
    pub(crate) x: Floats,
    pub(crate) w: Floats,
    pub(crate) b: Floats,
    pub(crate) z: Floats,
    pub(crate) a: Floats,
    pub(crate) a_gradient: Floats,
    pub(crate) b_gradient: Floats,
    pub(crate) w_gradient: Floats,
    pub(crate) x_gradient: Floats,
}

/// The listing's last fifteen lines.
#[derive(Debug, Deserialize)]
pub(crate) struct Demo {
    pub(crate) draws: Draws,
    pub(crate) feature_map: FeatureMapDemo,
    pub(crate) max_pool: MaxPoolDemo,
    pub(crate) fully_connected: FullyConnectedDemo,
}

/// What `np.random.randn` gives them after `np.random.seed(0)`.
#[derive(Debug, Deserialize)]
pub(crate) struct Draws {
    pub(crate) feature_map_w: Floats,
    pub(crate) feature_map_b: Floats,
    pub(crate) feature_map_gradient: Floats,
    pub(crate) max_pool_gradient: Floats,
    pub(crate) fully_connected_w: Floats,
    pub(crate) fully_connected_b: Floats,
    pub(crate) fully_connected_gradient: Floats,
}

/// What the feature map `cl` holds after them.
#[derive(Debug, Deserialize)]
pub(crate) struct FeatureMapDemo {
    pub(crate) z: Floats,
    pub(crate) a: Floats,
    pub(crate) w_after: Floats,
    pub(crate) b_after: Floats,
    pub(crate) a_prev_gradient: Floats,
}

/// What the max pooling map `mpl` holds.
#[derive(Debug, Deserialize)]
pub(crate) struct MaxPoolDemo {
    pub(crate) max_values: Floats,
    pub(crate) max_positions: Positions,
    pub(crate) a_prev_gradient: Floats,
}

/// What the fully connected layer `fcl` holds.
#[derive(Debug, Deserialize)]
pub(crate) struct FullyConnectedDemo {
    pub(crate) z: Floats,
    pub(crate) a: Floats,
    pub(crate) w_after: Floats,
    pub(crate) b_after: Floats,
    pub(crate) a_prev_gradient: Floats,
}

/// An array of numbers.
pub(crate) type Floats = Values<f64>;
/// An array of positions (row, column).
pub(crate) type Positions = Values<(usize, usize)>;

/// An array as the file has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Values<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T: Clone> Values<T> {
    /// In its own shape.
    pub(crate) fn array(&self) -> anyhow::Result<ArrayD<T>> {
        Ok(Array::from_shape_vec(self.shape.as_slice(), self.data.clone())?)
    }

    /// In the shape of the same length that a function wants.
    pub(crate) fn shaped<D: Dimension>(&self, shape: impl ndarray::ShapeArg<Dim = D>) -> anyhow::Result<Array<T, D>> {
        Ok(Array1::from(self.data.clone()).into_shape_with_order(shape)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_file_is_a_part_of_the_golden_values() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/conv-kernels/tests/golden/seed_golden.json");
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let listing: Value = serde_json::from_str(FILE).unwrap();
        for (name, kind) in [
            ("diagrams", "feature_map"),
            ("chained", "chained"),
            ("demo", "demo_verbatim"),
            ("scaled_feature_map", "feature_map"),
            ("scaled_fully_connected", "fully_connected"),
        ] {
            assert!(golden[kind].as_array().unwrap().contains(&listing[name]), "{name}: run data/extract.py");
        }
    }
}
