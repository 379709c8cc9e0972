//! A file's SHA-256, in its own metadata: taken with zeros in the place of the sum, so that it covers every other byte.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use super::CHECKPOINT;

/// The metadata key of the sum.
const KEY: &str = "overlay.sha256";
/// As many as the digits of a sum.
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Asks for a sum, for [`seal`] to fill in.
pub(crate) fn reserve(metadata: &mut HashMap<String, String>) {
    metadata.insert(KEY.into(), ZEROS.into());
}

/// Fills in the sum of a file that was [encoded](super::encode) with room for one.
pub(crate) fn seal(file: &mut [u8]) {
    let sum = hex(&Sha256::digest(&*file));
    if let Some(at) = place(file, ZEROS) {
        file[at..at + sum.len()].copy_from_slice(sum.as_bytes());
    }
}

/// Whether a file is as it was sealed. Without a sum, only what is no checkpoint passes.
pub(super) fn verify(file: &[u8], header: usize, metadata: &BTreeMap<String, String>) -> Result<(), String> {
    let Some(sum) = metadata.get(KEY) else {
        let sealed = metadata.contains_key(CHECKPOINT);
        return if sealed { Err("damaged: a checkpoint without its SHA-256".into()) } else { Ok(()) };
    };
    let mut digest = Sha256::new();
    let whole = place(&file[..8 + header], sum).is_some_and(|at| {
        digest.update(&file[..at]);
        digest.update(ZEROS);
        digest.update(&file[at + sum.len()..]);
        hex(&digest.finalize()) == *sum
    });
    if whole { Ok(()) } else { Err("damaged: its content does not have the SHA-256 that it should have".into()) }
}

/// Where the digits of the sum stand.
fn place(file: &[u8], sum: &str) -> Option<usize> {
    // no other value of the metadata reads like this: quotes inside one are escaped
    let entry = format!("\"{KEY}\":\"{sum}\"");
    let start = file.windows(entry.len()).position(|window| window == entry.as_bytes())?;
    Some(start + entry.len() - 1 - sum.len())
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
