//! The digits inside the crate.

use mnist_io::{Family, Mnist, Source, Split, check_leakage};

fn class_counts(split: &Split) -> [usize; 10] {
    let mut counts = [0; 10];
    split.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    counts
}

#[test]
fn the_sample_is_what_it_says() {
    let data = Mnist::sample().unwrap();
    assert_eq!((data.train.len(), data.test.len()), (8000, 2000));
    assert_eq!(data.train.images.dim(), (8000, 28, 28));
    assert_eq!(data.train.labels.iter().take(5).copied().collect::<Vec<_>>(), [5, 0, 4, 1, 9]);
    assert_eq!(class_counts(&data.train), [795, 906, 788, 811, 799, 702, 798, 853, 753, 795]);
    assert_eq!(class_counts(&data.test), [206, 221, 203, 221, 181, 161, 216, 217, 191, 183]);
    assert_eq!(data.source, Source::BundledSample);
    assert_eq!(data.family(), Family::Mnist);
    assert!(!data.is_verified(), "it is not the whole");
    assert_eq!(data.provenance(), "mnist-sample", "so all four sums are right");
    assert!(check_leakage("mnist", data.provenance()).is_err());
}

#[test]
fn a_copy_of_the_sample_is_known_wherever_it_lies() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/sample");
    let data = Mnist::from_dir(folder).unwrap();
    assert_eq!(data.provenance(), "mnist-sample");
    assert_eq!(data.fingerprint(), Mnist::sample().unwrap().fingerprint());
}
