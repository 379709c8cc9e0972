//! How good a network is: predictions, accuracy, confusion.

use layers::Scalar;
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::{
    Cost, Data, Images, NetError, Sequential, Targets,
    metrics::{Confusion, argmax},
};

/// Samples that are looked at together, at most.
const BATCH: usize = 256;
/// Values of all layers that a batch may have; fewer samples where one has many.
const VALUES: usize = 1 << 26;

/// What an evaluation found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// The mean cost of a sample.
    pub cost: f64,
    /// Which class was taken for which.
    pub confusion: Confusion,
}

impl Evaluation {
    /// The share of samples whose class was found, 0 to 1.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.confusion.accuracy()
    }

    /// The number of samples whose class was not found.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.confusion.errors()
    }
}

impl<T: Scalar> Sequential<T> {
    /// The outputs `(N, K)` for any number of samples.
    ///
    /// # Errors
    /// [`NetError::Data`] when the images have another shape than the network's input.
    ///
    /// ```
    /// use net::{Images, Sequential};
    /// use ndarray::Array4;
    /// let net = Sequential::builder([1, 8, 8]).conv2d(4, 3).dense(10).build(1)?;
    /// let outputs = net.predict(&Images::from(Array4::<u8>::zeros((1000, 1, 8, 8)).view()))?;
    /// assert_eq!(outputs.dim(), (1000, 10));
    /// # Ok::<(), net::NetError>(())
    /// ```
    pub fn predict(&self, images: &Images<'_, T>) -> Result<Array2<T>, NetError> {
        images.check("the images", &self.input)?;
        let size = self.inference_batch(images.len());
        let mut workspace = self.inference_workspace(size);
        let mut outputs = Array2::zeros((images.len(), self.outputs()));
        for (index, mut rows) in outputs.axis_chunks_iter_mut(Axis(0), size).enumerate() {
            let first = index * size;
            let batch = images.slice(first..first + rows.nrows());
            rows.assign(&self.infer(&mut workspace, &batch)?);
        }
        Ok(outputs)
    }

    /// Accuracy, mean cost and confusion on a data set.
    ///
    /// # Errors
    /// [`NetError::Data`] and [`NetError::Label`] when images and labels do not fit the network or one another.
    pub fn evaluate<'d>(&self, data: impl Into<Data<'d, T>>, cost: &dyn Cost<T>) -> Result<Evaluation, NetError>
    where
        T: 'd,
    {
        let data = data.into();
        data.check("the data set", &self.input, self.outputs())?;
        let size = self.inference_batch(data.len());
        let mut workspace = self.inference_workspace(size);
        let mut evaluation = Evaluation { cost: 0.0, confusion: Confusion::new(self.outputs()) };
        let mut labels = Vec::with_capacity(size);
        for first in (0..data.len()).step_by(size) {
            let range = first..data.len().min(first + size);
            labels.clear();
            labels.extend(data.labels.iter().skip(range.start).take(range.len()));
            let outputs = self.infer(&mut workspace, &data.images.slice(range.clone()))?;
            evaluation.cost += cost.value(outputs, Targets::Classes(&labels)) * range.len() as f64 / data.len() as f64;
            for (output, &label) in outputs.outer_iter().zip(&labels) {
                evaluation.confusion.add(usize::from(label), argmax(output));
            }
        }
        Ok(evaluation)
    }

    /// How many of `count` samples to look at together.
    fn inference_batch(&self, count: usize) -> usize {
        let values = self.layers().iter().map(|stage| stage.output.iter().product::<usize>()).sum::<usize>();
        (VALUES / values.max(1)).clamp(1, BATCH).min(count.max(1))
    }
}
