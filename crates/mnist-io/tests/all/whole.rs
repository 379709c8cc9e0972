//! The whole of MNIST and of Fashion-MNIST, where they are: `MNIST_DIR`, `FASHION_MNIST_DIR`.

use mnist_io::{Family, Loader, Mnist};

/// The data set in the folder that the variable names; without one, says so and gives nothing.
fn named(family: Family) -> Option<Mnist> {
    match std::env::var_os(family.env_var()).filter(|dir| !dir.is_empty()) {
        Some(dir) => Some(Loader::new().family(family).dir(dir).load().unwrap()),
        None => {
            eprintln!("{} is not set: {family} is not tested", family.env_var());
            None
        }
    }
}

fn check_whole(data: &Mnist, provenance: &str) {
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert!(data.is_verified());
    assert_eq!(data.provenance(), provenance);
}

#[test]
fn mnist() {
    let Some(data) = named(Family::Mnist) else {
        #[cfg(feature = "sample")]
        {
            eprintln!("falling back on the sample");
            assert_eq!(Mnist::sample().unwrap().provenance(), "mnist-sample");
        }
        return;
    };
    check_whole(&data, "mnist");
    assert_eq!(data.test.labels[0], 7);
    // The sample is the first 10,000 training images, in order.
    #[cfg(feature = "sample")]
    {
        let sample = Mnist::sample().unwrap();
        assert_eq!(data.train.take(8000), sample.train.view());
        let next = data.train.split_at(8000).1.take(2000);
        assert_eq!(next, sample.test.view());
        assert_ne!(data.fingerprint(), sample.fingerprint());
    }
}

#[test]
fn fashion_mnist() {
    let Some(data) = named(Family::FashionMnist) else {
        return;
    };
    check_whole(&data, "fashion-mnist");
    assert_eq!(data.family().class_names()[usize::from(data.train.labels[0])], "Ankle boot");
}
