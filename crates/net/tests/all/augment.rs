//! Augmentation: what it does to an image, what decides it, and what a training run makes of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use layers::{
    Scalar,
    random::{Key, Stream},
};
use ndarray::{Array1, Array3, Array4, ArrayViewMut3, Axis, s};
use net::{
    Activation::Relu,
    Data, NetError, Scaling, Sequential, Trainer,
    augment::{Affine, Augment, Distort, Elastic, Expanded, Image, Shift},
    cost::SoftmaxCrossEntropy,
    optim::Sgd,
};
use proptest::prelude::*;

const AFFINE: Affine = Affine { shift: 2.0, rotation: 15.0, scale: 0.15, shear: 10.0 };
const ELASTIC: Elastic = Elastic { sigma: 4.0, alpha: 34.0 };

fn both() -> Distort {
    Distort::new().affine(AFFINE).elastic(ELASTIC)
}

/// Numbers from −1 to 1.
fn noise<T: Scalar>(shape: [usize; 3], seed: u64) -> Array3<T> {
    let mut stream = Key::new(seed).stream("test", "noise", 0, 0);
    Array3::from_shape_simple_fn(shape, || T::of(2.0 * stream.uniform() - 1.0))
}

/// What becomes of an image on a background of zeros.
fn changed<T: Scalar>(augment: &dyn Augment<T>, image: &Array3<T>, seed: u64, epoch: u64, sample: u64) -> Array3<T> {
    let background = vec![T::ZERO; image.len_of(Axis(0))];
    let image = Image { pixels: image.view(), background: &background };
    augment.changed(image, Key::new(seed), epoch, sample)
}

#[test]
fn settings_that_change_nothing_keep_every_bit() {
    fn check<T: Scalar>() {
        let still: [&dyn Augment<T>; 3] =
            [&Distort::new(), &Distort::new().elastic(Elastic { sigma: 4.0, alpha: 0.0 }), &Shift::new(0)];
        for (augment, shape) in still.into_iter().flat_map(|augment| [(augment, [3, 11, 18]), (augment, [1, 28, 28])]) {
            let image = noise::<T>(shape, 3);
            let bits = |image: &Array3<T>| image.mapv(|v| v.as_f64().to_bits());
            assert_eq!(bits(&changed(augment, &image, 0, 0, 0)), bits(&image), "{}", augment.describe());
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn seed_epoch_and_sample_decide_and_nothing_else() {
    let image = noise::<f32>([2, 28, 28], 1);
    let augments: [&dyn Augment<f32>; 4] =
        [&Distort::new().affine(AFFINE), &Distort::new().elastic(ELASTIC), &both(), &both().flip(0.5).cutout(6)];
    for augment in augments {
        let first = changed(augment, &image, 1, 2, 3);
        assert_eq!(changed(augment, &image, 1, 2, 3), first);
        for other in [[2, 2, 3], [1, 3, 3], [1, 2, 4]] {
            assert_ne!(changed(augment, &image, other[0], other[1], other[2]), first, "{}", augment.describe());
        }
    }
}

/// Old numbers in the scratch have no say.
#[test]
fn scratch_may_hold_anything() {
    let image = noise::<f32>([2, 19, 28], 1);
    let mut out = Array3::zeros(image.raw_dim());
    let augment: &dyn Augment<f32> = &both().flip(0.5).cutout(6);
    let image = Image { pixels: image.view(), background: &[0.0, 1.0] };
    let mut scratch = vec![f32::NAN; augment.scratch([2, 19, 28])];
    for sample in 0..3 {
        let mut stream = Key::new(5).stream("test", "", 0, sample);
        augment.apply(image, &mut stream.clone(), &mut scratch, out.view_mut());
        let mut clean = Array3::zeros(out.raw_dim());
        augment.apply(image, &mut stream, &mut vec![0.0; scratch.len()], clean.view_mut());
        assert_eq!(out, clean);
    }
}

/// A column moved by chance goes as far to the right as to the left, and each distance is as likely.
#[test]
fn shifts_have_mean_0() {
    const SAMPLES: u64 = 4000;
    // each pixel's value is its column: a changed image tells where its pixels come from
    let ramp = Array3::from_shape_fn((1, 15, 15), |(_, _, column)| column as f64);
    let affine = Affine { shift: 3.0, ..Affine::default() };
    let (mut sum, mut squares) = (0.0, 0.0);
    for sample in 0..SAMPLES {
        let by = 7.0 - changed(&Distort::new().affine(affine), &ramp, 8, 0, sample)[[0, 7, 7]];
        assert!(by.abs() <= 3.0);
        sum += by;
        squares += by * by;
    }
    let (mean, variance) = (sum / SAMPLES as f64, squares / SAMPLES as f64);
    // five standard errors of the mean of numbers that are even from −3 to 3
    assert!(mean.abs() < 5.0 * (3.0 / SAMPLES as f64).sqrt(), "mean {mean}");
    assert!((variance - 3.0).abs() < 0.25, "variance {variance}");

    let dot = Array3::<f64>::from_shape_fn((1, 7, 7), |at| f64::from(u8::from(at == (0, 3, 3))));
    let places = (0..SAMPLES).fold(Array3::zeros(dot.raw_dim()), |sum: Array3<f64>, sample| {
        sum + changed(&Shift::new(2), &dot, 8, 0, sample)
    });
    for ((_, row, column), &count) in places.indexed_iter() {
        let expected = if (1..6).contains(&row) && (1..6).contains(&column) { SAMPLES as f64 / 25.0 } else { 0.0 };
        assert!((count - expected).abs() <= 5.0 * expected.sqrt(), "({row}, {column}): {count} times");
    }
}

/// Displacements far from the edges: their mean is 0, their deviation alpha / (sigma √12π), and neighbours agree.
#[test]
fn elastic_displacements_are_as_strong_as_documented() {
    const SAMPLES: u64 = 400;
    let ramp = Array3::from_shape_fn((1, 49, 49), |(_, _, column)| column as f64);
    let distort = Distort::new().elastic(ELASTIC);
    let (mut sum, mut squares, mut steps) = (0.0, 0.0, 0.0);
    for sample in 0..SAMPLES {
        let image = changed(&distort, &ramp, 2, 0, sample);
        let by = image[[0, 24, 24]] - 24.0;
        sum += by;
        squares += by * by;
        steps += (image[[0, 24, 25]] - 1.0 - image[[0, 24, 24]]).powi(2);
    }
    let [mean, variance, step] = [sum, squares, steps].map(|sum| sum / SAMPLES as f64);
    let deviation = 34.0 / (4.0 * (12.0 * std::f64::consts::PI).sqrt());
    assert!(mean.abs() < 5.0 * deviation / (SAMPLES as f64).sqrt(), "mean {mean}");
    assert!((variance.sqrt() / deviation - 1.0).abs() < 5.0 / (2.0 * SAMPLES as f64).sqrt(), "{variance}, {deviation}");
    assert!(step.sqrt() < 0.25 * deviation, "neighbours differ by {}", step.sqrt());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Values between the smallest and the largest of the image and what is around it, whatever the settings.
    #[test]
    fn values_stay_in_their_range(
        shape in (1..3_usize, 1..20_usize, 1..20_usize),
        (shift, rotation, scale, shear) in (0.0..50.0, 0.0..=180.0, 0.0..=0.9, 0.0..=60.0),
        (sigma, alpha) in (0.01..30.0, 0.0..1000.0),
        fill in -1.5..1.5_f64,
        seed in 0..1000_u64,
    ) {
        let image = noise::<f32>([shape.0, shape.1, shape.2], seed);
        let distort = Distort::new()
            .affine(Affine { shift, rotation, scale, shear })
            .elastic(Elastic { sigma, alpha })
            .fill(fill);
        prop_assert!(Augment::<f32>::validate(&distort).is_ok());
        let least = image.iter().copied().fold(fill as f32, f32::min) - 1e-6;
        let most = image.iter().copied().fold(fill as f32, f32::max) + 1e-6;
        let changed = changed(&distort, &image, seed, 0, 0);
        prop_assert!(changed.iter().all(|v| (least..=most).contains(v)), "{changed}");
    }
}

/// Settings beyond all sense give an image all the same: of old values and background.
#[test]
fn the_largest_settings_are_no_accident() {
    let image = noise::<f32>([1, 9, 6], 0);
    for (shift, sigma, alpha) in
        [(f64::MAX, 1.0, 0.0), (0.0, f64::MAX, 1.0), (0.0, 1e-300, f64::MAX), (1e30, 2.0, 1e38)]
    {
        let distort = Distort::new().affine(Affine { shift, ..Affine::default() }).elastic(Elastic { sigma, alpha });
        assert!(Augment::<f32>::validate(&distort).is_ok());
        assert!(changed(&distort, &image, 0, 0, 0).iter().all(|v| v.abs() <= 1.0), "{distort:?}");
    }
}

#[test]
fn what_comes_in_is_the_fill() {
    let image = noise::<f64>([1, 4, 4], 0);
    let far = Distort::new().affine(Affine { shift: 1000.0, ..Affine::default() });
    let of = |augment: &dyn Augment<f64>| changed(augment, &image, 0, 0, 0)[[0, 1, 1]];
    assert_eq!((of(&far), of(&far.fill(0.75))), (0.0, 0.75));
    // a shift of up to 255 pixels leaves nothing of four, but for one in 5,000
    assert_eq!((of(&Shift::new(255)), of(&Shift::new(255).fill(-2.0))), (0.0, -2.0));
}

/// Mirror images come as often as asked for, and what else happens to a sample does not depend on them.
#[test]
fn flips_turn_left_into_right() {
    const SAMPLES: u64 = 2000;
    let image = noise::<f32>([2, 5, 8], 0);
    let mirrored = image.slice(s![.., .., ..;-1]).to_owned();
    for probability in [0.0, 0.3, 1.0] {
        let distort = Distort::new().flip(probability);
        let mut count = 0;
        for sample in 0..SAMPLES {
            let changed = changed(&distort, &image, 1, 0, sample);
            assert!(changed == image || changed == mirrored);
            count += u64::from(changed == mirrored);
        }
        let expected = probability * SAMPLES as f64;
        let error = (expected * (1.0 - probability)).sqrt();
        assert!((count as f64 - expected).abs() <= 5.0 * error, "{count} of {SAMPLES} with {probability}");
    }
    for sample in 0..5 {
        assert_eq!(
            changed(&both().flip(1.0), &image, 1, 0, sample),
            changed(&both(), &mirrored, 1, 0, sample),
            "mirrored first, then distorted"
        );
    }
}

/// A square of the fill, alike in all channels, with its middle on each pixel now and then.
#[test]
fn holes_are_squares_in_all_places() {
    let image = noise::<f64>([2, 9, 12], 0);
    for side in [1, 4, 5, 255] {
        let distort = Distort::new().cutout(side).fill(7.0);
        let mut holes = BTreeSet::new();
        for sample in 0..2000 {
            let changed = changed(&distort, &image, 3, 0, sample);
            let filled = |channel, row, column| changed[[channel, row, column]] == 7.0;
            let rows: Vec<_> = (0..9).filter(|&row| (0..12).any(|column| filled(0, row, column))).collect();
            let columns: Vec<_> = (0..12).filter(|&column| (0..9).any(|row| filled(0, row, column))).collect();
            for ((channel, row, column), &value) in image.indexed_iter() {
                let inside = rows.contains(&row) && columns.contains(&column);
                assert_eq!(changed[[channel, row, column]], if inside { 7.0 } else { value });
            }
            let (reach, before) = (usize::from(side).div_ceil(2), usize::from(side) / 2);
            let is_of = |cut: &[usize], n: usize| {
                (0..n).any(|middle| (middle.saturating_sub(before)..(middle + reach).min(n)).eq(cut.iter().copied()))
            };
            assert!(is_of(&rows, 9) && is_of(&columns, 12), "{rows:?}, {columns:?}");
            holes.insert((rows, columns));
        }
        assert_eq!(holes.len(), if side == 255 { 1 } else { 9 * 12 }, "side {side}");
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let affine = |affine| Distort::new().affine(affine);
    let elastic = |sigma, alpha| Distort::new().elastic(Elastic { sigma, alpha });
    let none = Affine::default();
    let cases: [(&dyn Augment<f32>, &str); 12] = [
        (
            &affine(Affine { shift: -1.0, ..none }),
            "the shift of the affine distortion must be at least 0 pixels and finite (got -1)",
        ),
        (
            &affine(Affine { shift: f64::INFINITY, ..none }),
            "the shift of the affine distortion must be at least 0 pixels and finite (got inf)",
        ),
        (
            &affine(Affine { rotation: 181.0, ..none }),
            "the rotation of the affine distortion must be 0 to 180 degrees (got 181)",
        ),
        (&affine(Affine { scale: 1.0, ..none }), "the scale of the affine distortion must be 0 to 0.9 (got 1)"),
        (
            &affine(Affine { shear: f64::NAN, ..none }),
            "the shear of the affine distortion must be 0 to 60 degrees (got NaN)",
        ),
        (&elastic(0.0, 1.0), "the sigma of the elastic distortion must be > 0 pixels and finite (got 0)"),
        (&elastic(f64::NAN, 1.0), "the sigma of the elastic distortion must be > 0 pixels and finite (got NaN)"),
        (&elastic(4.0, -1.0), "the alpha of the elastic distortion must be at least 0 pixels and finite (got -1)"),
        (&Distort::new().flip(1.5), "the flip of the distortion must be 0 to 1 (got 1.5)"),
        (&Distort::new().flip(f64::NAN), "the flip of the distortion must be 0 to 1 (got NaN)"),
        (&Distort::new().fill(f64::NAN), "the fill of the distortion must be finite (got NaN)"),
        (&Shift::new(1).fill(f64::INFINITY), "the fill of the shift must be finite (got inf)"),
    ];
    for (augment, message) in cases {
        assert_eq!(augment.validate().unwrap_err().to_string(), message);
    }
    assert!(Augment::<f32>::validate(&both().fill(-0.5)).is_ok());
}

#[test]
fn augmentations_describe_themselves() {
    let describe = |augment: &dyn Augment<f32>| augment.describe();
    assert_eq!(describe(&Distort::new()), "distort affine shift 0 rotation 0 scale 0 shear 0");
    assert_eq!(
        describe(&both().fill(0.5)),
        "distort affine shift 2 rotation 15 scale 0.15 shear 10 elastic sigma 4 alpha 34 fill 0.5"
    );
    assert_eq!(
        describe(&Distort::new().flip(0.5).cutout(8)),
        "distort affine shift 0 rotation 0 scale 0 shear 0 flip 0.5 cutout 8"
    );
    assert_eq!(
        (describe(&Shift::new(2)), describe(&Shift::new(2).fill(1.0))),
        ("shift 2".into(), "shift 2 fill 1".into())
    );
}

/// Eight-by-eight images with a bright quarter: which quarter is the class.
fn quarters(count: usize, seed: u64) -> (Array4<u8>, Array1<u8>) {
    let mut stream = Key::new(seed).stream("test", "quarters", 0, 0);
    let labels = Array1::from_shape_simple_fn(count, || stream.below(4) as u8);
    let images = Array4::from_shape_fn((count, 1, 8, 8), |(i, _, row, column)| {
        let bright = usize::from(labels[i]) == row / 4 * 2 + column / 4;
        (stream.below(100) + if bright { 100 } else { 0 }) as u8
    });
    (images, labels)
}

fn small() -> Sequential {
    let scaling = Scaling::unit().standardized(&[0.25], &[0.5]);
    Sequential::builder([1, 8, 8])
        .scaling(scaling)
        .conv2d(6, 3)
        .activation(Relu)
        .max_pool2d(2)
        .dense(4)
        .build(3)
        .unwrap()
}

fn bits(net: &Sequential) -> Vec<u32> {
    net.parameters().values().iter().map(|v| v.to_bits()).collect()
}

#[test]
fn the_same_weights_for_any_number_of_threads() {
    let (images, labels) = quarters(203, 1);
    let data = (images.view(), labels.view());
    let train = |threads, seed, augment: Option<Distort>| {
        let mut net = small();
        let trainer = Trainer::new(Sgd::new(0.05)).batch_size(50).epochs(2).seed(seed).threads(threads);
        let mut trainer = match augment {
            Some(augment) => trainer.augment(augment),
            None => trainer,
        };
        trainer.fit(&mut net, data, data).unwrap();
        bits(&net)
    };
    let one = train(1, 7, Some(both()));
    for threads in [2, 3, 8] {
        assert_eq!(train(threads, 7, Some(both())), one, "{threads} threads");
    }
    assert_ne!(train(1, 7, None), one);
    assert_ne!(train(1, 8, Some(both())), one);
    assert_eq!(train(1, 7, Some(Distort::new())), train(1, 7, None), "nothing is changed");
}

/// Keeps the background that it is shown.
#[derive(Debug)]
struct Probe(Arc<Mutex<Vec<f32>>>);

impl Augment<f32> for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }
    fn apply(&self, image: Image<'_, f32>, _: &mut Stream, _: &mut [f32], mut out: ArrayViewMut3<'_, f32>) {
        *self.0.lock().unwrap() = image.background.to_vec();
        out.assign(&image.pixels);
    }
}

/// Bytes have a background that was scaled as they are; numbers have 0.
#[test]
fn the_background_is_what_byte_0_becomes() {
    let (images, labels) = quarters(4, 1);
    let numbers = images.mapv(f32::from);
    let background = |train: Data<'_, f32>| {
        let seen = Arc::default();
        let mut trainer = Trainer::new(Sgd::new(0.0001)).augment(Probe(Arc::clone(&seen)));
        trainer.fit(&mut small(), train.clone(), train).unwrap();
        seen.lock().unwrap().clone()
    };
    assert_eq!(background((images.view(), labels.view()).into()), [-0.5]);
    assert_eq!(background((numbers.view(), labels.view()).into()), [0.0]);
    assert_eq!(background(Expanded::new((images.view(), labels.view())).pair().into()), [-0.5]);
}

#[test]
fn a_trainer_refuses_what_cannot_be_augmented() {
    let (images, labels) = quarters(4, 1);
    let data = (images.view(), labels.view());
    let wrong = Distort::new().fill(f64::NAN);
    let mut net = small();
    let before = bits(&net);
    let error = Trainer::new(Sgd::new(0.1)).augment(wrong).fit(&mut net, data, data).unwrap_err();
    assert!(matches!(error, NetError::Setting(_)));
    assert_eq!(error.to_string(), "the fill of the distortion must be finite (got NaN)");
    assert_eq!(bits(&net), before);

    let flat = images.mapv(f32::from).into_shape_with_order((4, 64)).unwrap();
    let mut net = Sequential::builder([64]).dense(4).build(0).unwrap();
    let data = (flat.view(), labels.view());
    let error = Trainer::new(Sgd::new(0.1)).augment(Shift::new(1)).fit(&mut net, data, data).unwrap_err();
    assert_eq!(
        error.to_string(),
        "augmentation wants images (channels, rows, columns), but the network takes samples (64,); train without it, or \
         build the network for images: a dense layer flattens them"
    );
}

/// Expanded data in arrays of their own: rows and columns moved by hand.
fn expanded_by_hand(images: &Array4<u8>, labels: &Array1<u8>) -> (Array4<u8>, Array1<u8>) {
    let (count, channels, rows, columns) = images.dim();
    let mut out = Array4::zeros((5 * count, channels, rows, columns));
    for (i, image) in images.outer_iter().enumerate() {
        out.slice_mut(s![5 * i, .., .., ..]).assign(&image);
        out.slice_mut(s![5 * i + 1, .., 1.., ..]).assign(&image.slice(s![.., ..rows - 1, ..]));
        out.slice_mut(s![5 * i + 2, .., ..rows - 1, ..]).assign(&image.slice(s![.., 1.., ..]));
        out.slice_mut(s![5 * i + 3, .., .., 1..]).assign(&image.slice(s![.., .., ..columns - 1]));
        out.slice_mut(s![5 * i + 4, .., .., ..columns - 1]).assign(&image.slice(s![.., .., 1..]));
    }
    (out, Array1::from_shape_fn(5 * count, |i| labels[i / 5]))
}

#[test]
fn expanded_data_are_the_image_and_four_shifts() {
    let (images, labels) = quarters(70, 1);
    let expanded = Expanded::new((images.view(), labels.view()));
    let (all, all_labels) = expanded_by_hand(&images, &labels);
    assert_eq!(expanded.pair().1, all_labels);
    let learn = |data: Data<'_, f32>| {
        let mut net = small();
        Trainer::new(Sgd::new(0.05)).batch_size(32).epochs(2).fit(&mut net, data.clone(), data).unwrap();
        net
    };
    let net = learn(expanded.pair().into());
    assert_eq!(bits(&net), bits(&learn((all.view(), all_labels.view()).into())));

    // more than one batch: evaluation takes them a slice at a time
    let cost = SoftmaxCrossEntropy::new();
    let found = net.evaluate(expanded.pair(), &cost).unwrap();
    let expected = net.evaluate((all.view(), all_labels.view()), &cost).unwrap();
    assert_eq!((found.cost, found.confusion.total(), found.errors()), (expected.cost, 350, expected.errors()));
}

#[test]
fn expanded_data_keep_channels_apart() {
    let mut stream = Key::new(4).stream("test", "", 0, 0);
    let images = Array4::from_shape_simple_fn((3, 2, 4, 5), || stream.below(256) as u8);
    let labels = Array1::from(vec![0, 1, 2]);
    let scaling = Scaling::unit().standardized(&[0.5, 0.25], &[1.0, 2.0]);
    let net = Sequential::builder([2, 4, 5]).scaling(scaling).dense(3).build(0).unwrap();
    let expanded = Expanded::new((images.view(), labels.view()));
    let (all, _) = expanded_by_hand(&images, &labels);
    assert_eq!(net.predict(&expanded.pair().0.into()).unwrap(), net.predict(&all.view().into()).unwrap());

    let short = Expanded::new((images.view(), labels.slice(s![..2])));
    let error = net.evaluate(short.pair(), &SoftmaxCrossEntropy::new()).unwrap_err();
    assert!(error.to_string().contains("15 images, but 10 labels"), "{error}");
}
