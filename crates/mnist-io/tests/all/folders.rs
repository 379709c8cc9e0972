//! Folders with four files, good and bad.

use std::path::Path;

use mnist_io::{LoadError, Mnist, Source, Split, write_idx};
use ndarray::{Array1, Array2, Array3, ArrayRef, Dimension};
use tempfile::TempDir;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";

fn write<D: Dimension>(folder: &TempDir, name: &str, array: &ArrayRef<u8, D>) {
    write_idx(folder.path().join(name), array).unwrap();
}

/// 40 images to train, 2 to test; image `i` is filled with `i` and labelled `i % 10`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, n) in [("train", 40), ("t10k", 2)] {
        let images = Array3::from_shape_fn((n, 28, 28), |(i, _, _)| i as u8);
        let labels = Array1::from_shape_fn(n, |i| (i % 10) as u8);
        write(&folder, &format!("{part}-images-idx3-ubyte"), &images);
        write(&folder, &format!("{part}-labels-idx1-ubyte"), &labels);
    }
    folder
}

fn refusal(folder: &TempDir) -> String {
    let message = Mnist::from_dir(folder.path()).unwrap_err().to_string();
    assert!(!message.contains('\n') && !message.contains("  "), "{message}");
    // Temporary folders have names that no test can know.
    message.replace(&format!("{}{}", folder.path().display(), std::path::MAIN_SEPARATOR), "")
}

#[test]
fn a_good_folder() {
    let folder = folder();
    let data = Mnist::from_dir(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (40, 2));
    assert_eq!(data.train.labels[13], 3);
    let (images, labels) = data.train.pair();
    assert_eq!(images.dim(), (40, 1, 28, 28));
    assert_eq!(labels.len(), 40);
    assert_eq!(images[[13, 0, 27, 27]], 13);
    assert_eq!(images.as_ptr(), data.train.images.as_ptr(), "nothing is copied");
    assert_eq!(data.source, Source::Directory(folder.path().to_owned()));
    assert_eq!(data.source.to_string(), format!("the folder {}", folder.path().display()));
    assert!(!data.is_verified());
    assert_eq!(data.provenance(), "unknown");
}

#[test]
fn the_fingerprint_follows_the_data_and_not_the_container() {
    let one = folder();
    let first = Mnist::from_dir(one.path()).unwrap().fingerprint();
    let images = mnist_io::read_idx::<u8>(one.path().join(TRAIN_IMAGES)).unwrap();
    std::fs::remove_file(one.path().join(TRAIN_IMAGES)).unwrap();
    write(&one, "train-images.idx3-ubyte.gz", &images);
    assert_eq!(Mnist::from_dir(one.path()).unwrap().fingerprint(), first);
    let mut other = images;
    other[[0, 0, 0]] ^= 1;
    write(&one, "train-images.idx3-ubyte.gz", &other);
    assert_ne!(Mnist::from_dir(one.path()).unwrap().fingerprint(), first);
}

#[test]
fn files_that_do_not_belong_together() {
    let folder = folder();
    write(&folder, TRAIN_LABELS, &Array1::<u8>::zeros(39));
    assert_eq!(
        refusal(&folder),
        "train-images-idx3-ubyte has 40 images, train-labels-idx1-ubyte has 39 labels: the two do not belong \
         together; delete both and fetch them again"
    );
}

#[test]
fn a_label_that_is_no_class() {
    let folder = folder();
    let mut labels = Array1::<u8>::zeros(40);
    labels[31] = 200;
    labels[35] = 10;
    write(&folder, TRAIN_LABELS, &labels);
    assert_eq!(
        refusal(&folder),
        "train-labels-idx1-ubyte: label 200 at index 31 (0..=9 expected): the file is damaged or not of this \
         family; delete it and fetch it again"
    );
    for (label, good) in [(9, true), (10, false)] {
        let split = Split::new(Array3::zeros((1, 28, 28)), Array1::from_elem(1, label));
        assert_eq!(split.is_ok(), good);
    }
}

#[test]
fn other_shapes_and_types() {
    let wrong = folder();
    write(&wrong, TRAIN_IMAGES, &Array3::<u8>::zeros((40, 28, 27)));
    assert!(refusal(&wrong).starts_with(
        "train-images-idx3-ubyte: holds an array of shape (40, 28, 27), images of 28x28 have (N, 28, 28): "
    ));
    write(&wrong, TRAIN_IMAGES, &Array1::<u8>::zeros(40));
    assert!(refusal(&wrong).starts_with("train-images-idx3-ubyte: holds an array of shape (40), images of "));
    write(&wrong, TRAIN_IMAGES, &Array3::<u8>::zeros((0, 28, 28)));
    assert_eq!(
        refusal(&wrong),
        "train-images-idx3-ubyte: holds no images at all: it is empty; delete it and fetch it again"
    );
    let wrong = folder();
    write(&wrong, TRAIN_LABELS, &Array2::<u8>::zeros((40, 1)));
    assert!(refusal(&wrong).starts_with("train-labels-idx1-ubyte: holds an array of shape (40, 1), labels have (N): "));
    write_idx(wrong.path().join(TRAIN_LABELS), &Array1::<i32>::zeros(40)).unwrap();
    assert!(refusal(&wrong).starts_with("train-labels-idx1-ubyte: holds i32 values, u8 were asked for: "));
}

#[test]
fn missing_files_are_named() {
    let folder = folder();
    let remove = |name: &str| std::fs::remove_file(folder.path().join(name)).unwrap();
    remove("t10k-images-idx3-ubyte");
    let message = refusal(&folder);
    assert!(message.contains(": t10k-images-idx3-ubyte is missing: put the four files there"), "{message}");
    remove(TRAIN_LABELS);
    let message = refusal(&folder);
    assert!(message.contains(": train-labels-idx1-ubyte, t10k-images-idx3-ubyte are missing: "), "{message}");
    assert!(matches!(Mnist::from_dir(folder.path()), Err(LoadError::MissingFiles { .. })));
    assert!(Mnist::from_dir(Path::new("")).is_err());
}

#[test]
fn parts_are_views() {
    let folder = folder();
    let data = Mnist::from_dir(folder.path()).unwrap();
    let (fit, validate) = data.train.split_at(30);
    assert_eq!((fit.len(), validate.len()), (30, 10));
    assert_eq!(validate.pair().0[[0, 0, 0, 0]], 30);
    assert_eq!(validate.take(3).to_owned().labels.to_vec(), [0, 1, 2]);
    assert_eq!(data.train.take(1000).len(), 40, "there are no more");
    let (all, none) = data.train.split_at(1000);
    assert_eq!((all.len(), none.is_empty()), (40, true));
    assert_eq!(all.to_owned(), data.train);
}
