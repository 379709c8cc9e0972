//! Testing a model on images that it was trained on says nothing: refused where it can be known.

use thiserror::Error;

pub(crate) const MNIST: &str = "mnist";
pub(crate) const MNIST_SAMPLE: &str = "mnist-sample";
pub(crate) const FASHION_MNIST: &str = "fashion-mnist";
pub(crate) const UNKNOWN: &str = "unknown";

/// The images that a model would be tested on are among those it was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "a model trained on {trained_on:?} cannot be tested on {evaluated_on:?}: the sample's 2,000 test images \
     are among MNIST's 60,000 training images, so the accuracy would be too good to be true; \
     test it on MNIST's own 10,000 test images (set MNIST_DIR), or train on the sample"
)]
pub struct LeakageError {
    trained_on: String,
    evaluated_on: String,
}

/// Refuses to test a model on images that it has seen in training.
///
/// Both arguments are what [`Mnist::provenance`](crate::Mnist::provenance) said of the data: when the model
/// was trained (store it with the model), and now.
///
/// # Errors
///
/// [`LeakageError`] for `"mnist"` then `"mnist-sample"`: the bundled sample, its test part included, is the first
/// 10,000 training images of MNIST. Other pairs pass; of `"unknown"` data nothing can be said, so they pass too.
///
/// ```
/// use mnist_io::check_leakage;
///
/// assert!(check_leakage("mnist", "mnist").is_ok());
/// assert!(check_leakage("mnist-sample", "mnist").is_ok());
/// assert!(check_leakage("mnist", "mnist-sample").is_err());
/// ```
pub fn check_leakage(trained_on: &str, evaluated_on: &str) -> Result<(), LeakageError> {
    if trained_on == MNIST && evaluated_on == MNIST_SAMPLE {
        return Err(LeakageError { trained_on: trained_on.to_owned(), evaluated_on: evaluated_on.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mnist_on_the_sample_is_leakage() {
        let all = [MNIST, MNIST_SAMPLE, FASHION_MNIST, UNKNOWN, ""];
        for trained in all {
            for tested in all {
                let leaks = (trained, tested) == (MNIST, MNIST_SAMPLE);
                assert_eq!(check_leakage(trained, tested).is_err(), leaks, "{trained} {tested}");
            }
        }
        let message = check_leakage(MNIST, MNIST_SAMPLE).unwrap_err().to_string();
        assert!(message.starts_with("a model trained on \"mnist\" cannot be tested on \"mnist-sample\": "));
    }
}
