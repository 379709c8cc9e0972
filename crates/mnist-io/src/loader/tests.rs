use super::*;
use crate::{read_idx, write_idx};
use ndarray::{Array1, Array3};
use tempfile::TempDir;

fn nowhere() -> Surroundings {
    Surroundings::default()
}

fn load(loader: &Loader, around: Surroundings) -> Result<Mnist, LoadError> {
    loader.load_in(around, &mut |_| {})
}

/// A folder with three images to train and two to test.
fn small() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, n) in [("train", 3), ("t10k", 2)] {
        let images = Array3::<u8>::from_elem((n, 28, 28), 7);
        let labels = Array1::from_elem(n, 1_u8);
        write_idx(folder.path().join(format!("{name}-images-idx3-ubyte")), &images).unwrap();
        write_idx(folder.path().join(format!("{name}-labels-idx1-ubyte.gz")), &labels).unwrap();
    }
    folder
}

#[cfg(feature = "sample")]
fn named(dir: &Path) -> Surroundings {
    Surroundings { named: Some(dir.to_owned()), ..nowhere() }
}

#[test]
fn the_places_come_in_order() {
    let [explicit, named, cache, system] = [small(), small(), small(), small()];
    let path = |folder: &TempDir| folder.path().to_owned();
    let around =
        |named: Option<PathBuf>, cache: Option<PathBuf>| Surroundings { named, cache, system: Some(path(&system)) };
    let plain = Loader::new().offline(true);
    for (loader, around, source) in [
        (
            plain.clone().dir(path(&explicit)),
            around(Some(path(&named)), Some(path(&cache))),
            Source::Directory(path(&explicit)),
        ),
        (plain.clone(), around(Some(path(&named)), Some(path(&cache))), Source::Directory(path(&named))),
        (plain.clone(), around(None, Some(path(&cache))), Source::Cache(path(&cache))),
        (plain.clone().cache(path(&explicit)), around(None, Some(path(&cache))), Source::Cache(path(&explicit))),
        (plain, around(None, None), Source::Directory(path(&system))),
    ] {
        assert_eq!(load(&loader, around).unwrap().source, source);
    }
}

#[test]
fn nowhere_lists_the_places_and_the_remedy() {
    let empty = tempfile::tempdir().unwrap();
    let message = load(&Loader::new().offline(true).cache(empty.path()), nowhere()).unwrap_err().to_string();
    let start = format!(
        "MNIST was found nowhere (looked at: MNIST_DIR (not set); {} (none of the four files is there); download (",
        empty.path().display()
    );
    assert!(message.starts_with(&start), "{message}");
    assert!(message.contains("): fetch them with: curl "), "{message}");
    assert!(!message.contains('\n') && !message.contains("  "), "{message}");

    let fashion = load(&Loader::new().family(Family::FashionMnist), nowhere()).unwrap_err().to_string();
    assert!(fashion.starts_with("Fashion-MNIST was found nowhere (looked at: FASHION_MNIST_DIR (not set); "));
    assert!(fashion.contains("install the Debian package dataset-fashion-mnist"), "{fashion}");
}

#[cfg(feature = "sample")]
#[test]
fn absent_data_are_replaced_by_the_sample_and_the_reason_is_kept() {
    let data = or_sample(load(&Loader::new().offline(true), nowhere())).unwrap();
    assert_eq!(data.source, Source::BundledSample);
    assert!(data.fallback_reason().unwrap().starts_with("MNIST was found nowhere "));
    assert_eq!(Mnist::sample().unwrap().fallback_reason(), None);
    // There is no sample of clothes.
    let fashion = Loader::new().family(Family::FashionMnist);
    assert!(or_sample(load(&fashion, nowhere())).is_err());
}

#[cfg(feature = "sample")]
#[test]
fn a_named_folder_that_is_half_filled_or_damaged_is_never_passed_over() {
    let absent = tempfile::tempdir().unwrap();
    let gone = absent.path().join("gone");

    let half = small();
    std::fs::remove_file(half.path().join("t10k-images-idx3-ubyte")).unwrap();

    let damaged = small();
    let victim = damaged.path().join("train-images-idx3-ubyte");
    let bytes = std::fs::read(&victim).unwrap();
    std::fs::write(&victim, &bytes[..bytes.len() - 1]).unwrap();

    for (dir, expected) in [
        (gone.as_path(), "there is no such folder"),
        (absent.path(), "none of the four files is there"),
        (half.path(), "t10k-images-idx3-ubyte is missing"),
        (damaged.path(), "the header promises 3x28x28 = 2,352 bytes, the file has 2,351: it is cut short"),
    ] {
        let by_variable = or_sample(load(&Loader::new(), named(dir)));
        let by_caller = or_sample(load(&Loader::new().dir(dir), nowhere()));
        for outcome in [by_variable, by_caller] {
            let message = outcome.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
    // A damaged cache is no reason to take the sample either.
    let cached = or_sample(load(&Loader::new().offline(true).cache(damaged.path()), nowhere()));
    assert!(matches!(cached, Err(LoadError::Idx(_))));
}

#[test]
fn all_names_of_the_files_are_found() {
    let source = small();
    let images = read_idx::<u8>(source.path().join("train-images-idx3-ubyte")).unwrap();
    let labels = read_idx::<u8>(source.path().join("train-labels-idx1-ubyte.gz")).unwrap();
    for (dot, suffix) in [("-", ""), (".", ""), ("-", ".gz"), (".", ".gz")] {
        let folder = tempfile::tempdir().unwrap();
        for part in ["train", "t10k"] {
            write_idx(folder.path().join(format!("{part}-images{dot}idx3-ubyte{suffix}")), &images).unwrap();
            write_idx(folder.path().join(format!("{part}-labels{dot}idx1-ubyte{suffix}")), &labels).unwrap();
        }
        let data = load(&Loader::new().dir(folder.path()), nowhere()).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (3, 3), "{dot} {suffix}");
    }
}

#[test]
fn surroundings_have_a_folder_for_each_family() {
    let around = Surroundings::of(Family::FashionMnist);
    assert_eq!(around.system.unwrap(), Path::new("/usr/share/datasets/fashion-mnist"));
    if let Some(cache) = around.cache {
        assert!(cache.ends_with("overlay/fashion-mnist"));
    }
}

/// Names under `.invalid` never resolve (RFC 6761), and nothing listens on the discard port of the loopback.
#[cfg(all(feature = "download", feature = "sample"))]
#[test]
fn without_a_network_the_sample_comes_within_seconds() {
    let empty = tempfile::tempdir().unwrap();
    let mut loader = Loader::new().cache(empty.path());
    loader.mirrors = Some(vec!["https://mirror.invalid/".into(), "http://127.0.0.1:9/".into()]);
    let start = std::time::Instant::now();
    let data = or_sample(load(&loader, nowhere())).unwrap();
    assert!(start.elapsed().as_secs() < 15, "{:?}", start.elapsed());
    assert_eq!(data.source, Source::BundledSample);
    let reason = data.fallback_reason().unwrap();
    assert!(reason.contains("download (https://mirror.invalid/train-images-idx3-ubyte.gz: "), "{reason}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "no partial file is left");
}
