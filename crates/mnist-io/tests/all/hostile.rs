//! Files made to hurt: each must be refused with a message that helps, or read as what it says.

use std::fs;
use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use mnist_io::{Idx, IdxError, IdxProblem, IdxReader, read_idx, write_idx_to};
use ndarray::{Array3, ArrayD};

/// 2 images of 3x4, 40 bytes.
fn small() -> (ArrayD<u8>, Vec<u8>) {
    let pixels = (0..24).map(|i| i * 10).collect();
    let array = Array3::from_shape_vec((2, 3, 4), pixels).unwrap().into_dyn();
    let mut file = Vec::new();
    write_idx_to(&mut file, &array).unwrap();
    (array, file)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().filename("small-idx3-ubyte").write(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads the bytes as a stream and as a file, whose lengths are unknown and known; both must agree on what is right.
fn read_both_ways(bytes: &[u8]) -> Result<Idx, IdxError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("victim");
    fs::write(&path, bytes).unwrap();
    let from_file = Idx::read(&path);
    let from_stream = Idx::read_from(bytes);
    assert_eq!(from_file.is_ok(), from_stream.is_ok(), "{from_file:?} {from_stream:?}");
    if let (Err(file), Err(stream)) = (&from_file, &from_stream) {
        // A promise that the limit refuses may already be refuted by the length of the file.
        let same = std::mem::discriminant(file.problem()) == std::mem::discriminant(stream.problem());
        let both = (file.problem(), stream.problem());
        let refuted = matches!(both, (IdxProblem::Truncated { .. }, IdxProblem::TooLarge { .. }));
        assert!(same || refuted, "{file} | {stream}");
    }
    from_file
}

fn refusal(bytes: &[u8]) -> String {
    let error = read_both_ways(bytes).unwrap_err();
    error.named("victim").to_string()
}

/// A header of u8 elements.
fn header(sizes: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0x08, u8::try_from(sizes.len()).unwrap()];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes
}

#[test]
fn every_prefix_is_refused() {
    let (_, file) = small();
    for n in 0..file.len() {
        let message = refusal(&file[..n]);
        let expected = if n < 16 {
            format!("victim: the file ends at byte {n}, inside the header: it is cut short; ")
        } else {
            format!("victim: the header promises 2x3x4 = 24 bytes, the file has {}: it is cut short; ", n - 16)
        };
        assert!(message.starts_with(&expected), "{n}: {message}");
    }
}

#[test]
fn every_prefix_of_a_gzip_file_is_refused() {
    let file = gz(&small().1);
    for n in 0..file.len() {
        let error = read_both_ways(&file[..n]).unwrap_err();
        let expected = matches!(
            (n, error.problem()),
            (0..2, IdxProblem::Header { .. } | IdxProblem::Magic { .. }) | (2.., IdxProblem::GzipTruncated { .. })
        );
        assert!(expected, "{n}: {error}");
    }
}

#[test]
fn no_byte_that_changes_makes_it_panic() {
    let (array, file) = small();
    for (place, changed) in mutations(&file) {
        match read_both_ways(&changed) {
            // Nothing but the pixels can change unseen: a raw file has no checksum. (Other sizes with the same
            // product cannot come of one changed byte.)
            Ok(idx) if changed != file => {
                let element_type = place == 2;
                assert!(place >= 16 || element_type, "byte {place}");
                if !element_type {
                    assert_ne!(idx, Idx::U8(array.clone()));
                }
                assert_eq!(idx.shape(), [2, 3, 4]);
            }
            Ok(idx) => assert_eq!(idx, Idx::U8(array.clone())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn no_byte_that_changes_makes_a_gzip_file_lie() {
    let (array, file) = small();
    let file = gz(&file);
    let mut unharmed = 0;
    for (place, changed) in mutations(&file) {
        if let Ok(idx) = read_both_ways(&changed) {
            assert_eq!(idx, Idx::U8(array.clone()), "byte {place} changed the data unseen");
            unharmed += usize::from(changed != file);
        }
    }
    // The modification time, the system, the name: the only bytes without consequence.
    assert!(unharmed > 0 && unharmed < 10 * (10 + "small-idx3-ubyte".len()), "{unharmed}");
}

/// Each byte set to 0x00, to 0xFF, and with each bit flipped.
fn mutations(file: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..file.len()).flat_map(move |place| {
        let old = file[place];
        let values = [0x00, 0xFF].into_iter().chain((0..8).map(move |bit| old ^ (1 << bit)));
        values.map(move |value| {
            let mut changed = file.to_vec();
            changed[place] = value;
            (place, changed)
        })
    })
}

#[test]
fn hostile_headers() {
    let max = u32::MAX;
    let mut zero_with_giants = header(&[0, max, max]);
    let table: [(Vec<u8>, &str); 9] = [
        (header(&[max, max, max]), "the header promises 4294967295x4294967295x4294967295 u8 elements, more than "),
        (header(&[0, max, max, max]), "the header promises 0x4294967295x4294967295x4294967295 u8 elements, more "),
        (header(&[1 << 16, 1 << 12, 1 << 12]), "the header promises 65536x4096x4096 = 1,099,511,627,776 bytes, "),
        ([0, 0, 8, 255].iter().copied().chain([1; 1020]).collect(), "byte 3 promises 255 dimensions, 1 to 8 can "),
        ([0, 0, 8, 0].to_vec(), "byte 3 promises 0 dimensions, 1 to 8 can "),
        ([0, 0, 0x0A, 1, 0, 0, 0, 0].to_vec(), "byte 2 is 0x0a, which is no element type (0x08, "),
        (
            b"<!DOCTYPE html>".to_vec(),
            "bytes 0 and 1 are 3c 21, an IDX file starts with 00 00: this is not an IDX \
             file (it looks like an HTML page); ",
        ),
        (
            b"PK\x03\x04".to_vec(),
            "bytes 0 and 1 are 50 4b, an IDX file starts with 00 00: this is not an IDX \
             file (it looks like a zip archive); ",
        ),
        (Vec::new(), "the file ends at byte 0, inside the header"),
    ];
    for (bytes, expected) in table {
        let message = Idx::read_from(bytes.as_slice()).unwrap_err().named("victim").to_string();
        assert!(message.starts_with(&format!("victim: {expected}")), "{message}");
        assert!(!message.contains('\n'), "{message}");
        assert!(message.contains("; ") || message.contains(", or "), "no remedy: {message}");
    }
    // No elements, sizes that can be addressed all the same on a 64-bit machine: read, or refused on others.
    zero_with_giants[4..8].copy_from_slice(&0_u32.to_be_bytes());
    if let Ok(idx) = read_both_ways(&zero_with_giants) {
        assert_eq!(idx.shape(), [0, max as usize, max as usize]);
    }
}

#[test]
fn a_file_of_16_bytes_cannot_promise_a_terabyte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-images-idx3-ubyte");
    fs::write(&path, header(&[1 << 16, 1 << 12, 1 << 12])).unwrap();
    let message = read_idx::<u8>(&path).unwrap_err().to_string();
    let expected = format!(
        "{}: the header promises 65536x4096x4096 = 1,099,511,627,776 bytes, the file has 0: it is cut short; \
         delete it and fetch it again",
        path.display()
    );
    assert_eq!(message, expected);
    // The same within the limit, so that only the length of the file can give it away.
    fs::write(&path, header(&[1 << 10, 1 << 10, 1 << 9])).unwrap();
    let error = read_idx::<u8>(&path).unwrap_err();
    assert!(matches!(error.problem(), IdxProblem::Truncated { found: 0, .. }), "{error}");
}

#[test]
fn one_byte_too_many() {
    let (_, file) = small();
    let longer = [file.as_slice(), &[0]].concat();
    let expected = "victim: the header promises 2x3x4 = 24 bytes, but the data go on at byte 40: ";
    assert!(refusal(&longer).starts_with(expected));
    assert!(refusal(&gz(&longer)).starts_with(expected));
}

#[test]
fn what_follows_gzip_data_must_be_gzip_data() {
    let (array, file) = small();
    let zipped = gz(&file);
    for rest in [&b"\0"[..], b"garbage", &file] {
        let message = refusal(&[zipped.as_slice(), rest].concat());
        assert!(
            message.starts_with("victim: the gzip data are followed by something else, after 40 decompressed bytes: "),
            "{message}"
        );
    }
    let message = refusal(&[zipped.as_slice(), &[0x1f]].concat());
    assert!(message.starts_with("victim: the gzip data end early, after 40 "), "{message}");
    // Gzip data may come in several members.
    let members = [gz(&file[..5]), gz(&file[5..])].concat();
    assert_eq!(read_both_ways(&members).unwrap(), Idx::U8(array));
}

#[test]
fn a_wrong_checksum_is_told() {
    let mut file = gz(&small().1);
    let crc = file.len() - 8;
    file[crc] ^= 1;
    let message = refusal(&file);
    assert!(message.starts_with("victim: the gzip data are damaged, seen after 40 decompressed bytes ("), "{message}");
    assert!(message.ends_with("delete the file and fetch it again"), "{message}");
}

#[test]
fn a_bomb_is_left_after_the_promised_bytes() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&header(&[100])).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 17);
    assert!(refusal(&bomb).contains("promises 100 = 100 bytes, but the data go on at byte 108: "));
}

#[test]
fn a_bomb_that_promises_all_it_holds_meets_the_limit() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&header(&[1 << 24])).unwrap();
    bomb.write_all(&vec![0; 1 << 24]).unwrap();
    let bomb = bomb.finish().unwrap();
    let reader = IdxReader::new().max_bytes((1 << 24) - 1);
    let message = reader.read_from::<u8>(bomb.as_slice()).unwrap_err().to_string();
    assert!(message.contains("promises 16777216 = 16,777,216 bytes, the limit is 16,777,215: "), "{message}");
    assert_eq!(IdxReader::new().read_from::<u8>(bomb.as_slice()).unwrap().len(), 1 << 24);
}

#[test]
fn the_type_is_part_of_the_question() {
    let (_, file) = small();
    let error = IdxReader::new().read_from::<f64>(file.as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "the IDX data: holds u8 values, f64 were asked for: read it as u8");
}

#[test]
fn things_that_are_not_files() {
    let folder = tempfile::tempdir().unwrap();
    let message = Idx::read(folder.path()).unwrap_err().to_string();
    assert!(message.starts_with(&folder.path().display().to_string()), "{message}");
    let missing = folder.path().join("missing");
    let message = Idx::read(&missing).unwrap_err().to_string();
    assert!(message.contains("missing: cannot be opened: "), "{message}");
}
