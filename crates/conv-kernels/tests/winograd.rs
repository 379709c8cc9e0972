//! Winograd's minimal filtering: what `conv2d_exact` and `conv2d_real` cannot ask of it.

mod conv2d;

use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options, Padding, Scalar, Scratch};
use conv2d::{Problem, integers};

fn plan<T: Scalar>(shape: Conv2dShape, algorithm: Algorithm) -> Conv2dPlan<T> {
    Conv2dPlan::new(shape, &Options::default().force(algorithm)).unwrap()
}

#[test]
fn quick() {
    for (ci, co, h, w, pad, groups, batch) in [
        (1, 1, 4, 4, Padding::NONE, 1, 1),
        (1, 1, 3, 3, Padding::NONE, 1, 1),
        (3, 5, 7, 7, Padding::from(1), 1, 3),
        (3, 5, 18, 35, Padding { top: 2, bottom: 0, left: 1, right: 2 }, 1, 2),
        (14, 26, 9, 20, Padding::from(1), 2, 5),
        (70, 130, 12, 13, Padding::from(1), 1, 9),
    ] {
        let shape = Conv2dShape::builder(ci, co, [h, w], [3, 3]).padding(pad).groups(groups).build().unwrap();
        let problem = Problem::new(shape, batch);
        let data = problem.data(integers::<f32>);
        let expected = problem.reference(&data);
        let got = problem.run(&plan::<f32>(shape, Algorithm::Winograd), &data, &mut Scratch::new());
        assert!(got.y == expected.y, "{shape}");
        assert!(got.dx == expected.dx, "{shape}");
        let got = problem.run(&plan::<f32>(shape, Algorithm::Winograd4), &data, &mut Scratch::new());
        let worst =
            |got: &[f32], expected: &[f32]| got.iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0.0f32, f32::max);
        println!("{shape}: {} {}", worst(&got.y, &expected.y), worst(&got.dx, &expected.dx));
    }
}
