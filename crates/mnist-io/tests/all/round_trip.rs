//! What is written is what is read, for all element types, raw and gzipped.

use mnist_io::{Idx, IdxElement, IdxProblem, read_idx, read_idx_from, write_idx, write_idx_to};
use ndarray::{Array, Array0, ArrayD, IxDyn, s};
use proptest::collection::vec;
use proptest::prelude::*;

/// Writes and reads in each of the ways; `bits` makes values comparable (NaN included).
fn round_trip<T: IdxElement, B: PartialEq + std::fmt::Debug>(
    array: &ArrayD<T>,
    bits: impl Fn(T) -> B,
) -> Result<(), TestCaseError> {
    let bits = |array: &ArrayD<T>| (array.shape().to_vec(), array.iter().map(|&v| bits(v)).collect::<Vec<_>>());
    let mut raw = Vec::new();
    write_idx_to(&mut raw, array).unwrap();
    prop_assert_eq!(raw.len(), 4 + 4 * array.ndim() + T::TYPE.size() * array.len());
    prop_assert_eq!(bits(&read_idx_from(raw.as_slice()).unwrap()), bits(array));

    let folder = tempfile::tempdir().unwrap();
    for name in ["plain", "zipped.gz", "zipped.GZ"] {
        let path = folder.path().join(name);
        write_idx(&path, array).unwrap();
        let first = std::fs::read(&path).unwrap()[0];
        prop_assert_eq!(first == 0x1f, name != "plain", "compressed when the name says so");
        prop_assert_eq!(bits(&read_idx(&path).unwrap()), bits(array));
        let any = Idx::read(&path).unwrap();
        prop_assert_eq!(any.element_type(), T::TYPE);
        prop_assert_eq!(bits(&any.into_array().unwrap()), bits(array));
    }
    prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file stays");
    Ok(())
}

/// Arrays of one to eight dimensions, some of them empty.
fn arrays<T: std::fmt::Debug + Clone>(element: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = ArrayD<T>> {
    vec(0_usize..5, 1..=8).prop_filter("small", |shape| shape.iter().product::<usize>() < 2000).prop_flat_map(
        move |shape| {
            let n = shape.iter().product::<usize>();
            vec(element.clone(), n).prop_map(move |values| ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn u8s(array in arrays(any::<u8>())) { round_trip(&array, |v| v)?; }

    #[test]
    fn i8s(array in arrays(any::<i8>())) { round_trip(&array, |v| v)?; }

    #[test]
    fn i16s(array in arrays(any::<i16>())) { round_trip(&array, |v| v)?; }

    #[test]
    fn i32s(array in arrays(any::<i32>())) { round_trip(&array, |v| v)?; }

    #[test]
    fn f32s(array in arrays(any::<u32>().prop_map(f32::from_bits))) { round_trip(&array, f32::to_bits)?; }

    #[test]
    fn f64s(array in arrays(any::<u64>().prop_map(f64::from_bits))) { round_trip(&array, f64::to_bits)?; }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), good_start in any::<bool>()) {
        let mut bytes = bytes;
        if good_start && bytes.len() > 3 {
            bytes[..3].copy_from_slice(&[0, 0, 8]);
            bytes[3] = bytes[3] % 3 + 1;
        }
        if let Ok(idx) = Idx::read_from(bytes.as_slice()) {
            let mut again = Vec::new();
            idx.write_to(&mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn more_than_one_piece_of_every_type() {
    let n = 50_001;
    let values = Array::from_iter((0..n).map(|i| f64::from(i) / 7.0));
    round_trip(&values.clone().into_dyn(), f64::to_bits).unwrap();
    round_trip(&values.mapv(|v| v as u8).into_dyn(), |v| v).unwrap();
    round_trip(&values.mapv(|v| v as i16).into_dyn(), |v| v).unwrap();
}

#[test]
fn views_of_any_layout_are_written_in_logical_order() {
    let array = Array::from_iter(0..24_i32).into_shape_with_order((4, 6)).unwrap();
    for view in [array.t(), array.slice(s![..;-1, ..]).view(), array.slice(s![1..3, ..;2]).view()] {
        let mut file = Vec::new();
        write_idx_to(&mut file, &view).unwrap();
        assert_eq!(read_idx_from::<i32>(file.as_slice()).unwrap(), view.into_dyn());
    }
}

#[test]
fn the_bytes_are_big_endian() {
    let mut file = Vec::new();
    write_idx_to(&mut file, &ndarray::array![[1_i16, -2]]).unwrap();
    assert_eq!(file, [0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0x00, 0x01, 0xFF, 0xFE]);
}

#[test]
fn arrays_without_a_form_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let nine = ArrayD::<u8>::zeros(IxDyn(&[1; 9]));
    let error = write_idx(&path, &nine).unwrap_err();
    assert!(matches!(error.problem(), IdxProblem::Unwritable { .. }));
    assert!(error.to_string().contains("an array of shape (1, 1, 1, 1, 1, 1, 1, 1, 1) cannot be an IDX file: "));
    assert!(write_idx(&path, &Array0::<u8>::zeros(())).is_err());
    assert!(!path.exists());
    let error = write_idx(folder.path().join("no/such/folder"), &ndarray::array![1_u8]).unwrap_err();
    assert!(error.to_string().contains("cannot be written: "), "{error}");
}

#[test]
fn a_file_of_that_name_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    write_idx(&path, &ndarray::array![1_u8, 2, 3]).unwrap();
    write_idx(&path, &ndarray::array![9_u8]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [0, 0, 8, 1, 0, 0, 0, 1, 9]);
}
