//! The digits inside the crate.

use crate::family::FILES;
use crate::{Family, IdxReader, LoadError, Mnist, Source};

const BYTES: [&[u8]; FILES.len()] = [
    include_bytes!("../data/sample/train-images-idx3-ubyte.gz"),
    include_bytes!("../data/sample/train-labels-idx1-ubyte.gz"),
    include_bytes!("../data/sample/t10k-images-idx3-ubyte.gz"),
    include_bytes!("../data/sample/t10k-labels-idx1-ubyte.gz"),
];

pub(crate) fn load() -> Result<Mnist, LoadError> {
    let [a, b, c, d] = BYTES;
    let [train_images, train_labels, test_images, test_labels] = FILES.map(|name| format!("bundled {name}"));
    let files = [(train_images, a), (train_labels, b), (test_images, c), (test_labels, d)];
    Mnist::from_files(Family::Mnist, Source::BundledSample, &files, |name, bytes| {
        IdxReader::new().read_hashed_from(bytes).map_err(|error| error.named(name))
    })
}
