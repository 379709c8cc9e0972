//! Bad inputs, each with the message that it must get; nothing is written when one is refused.

use conv_kernels::{
    Algorithm, Conv2dPlan, Conv2dShape, Conv2dShapeBuilder, Epilogue, KernelError, Options, PackFor, Padding, Scratch,
    Weights,
};

fn base() -> Conv2dShapeBuilder {
    Conv2dShape::builder(4, 6, [8, 8], [3, 3])
}

#[test]
fn shapes_that_cannot_be() {
    let conv = Conv2dShape::builder;
    let huge = usize::MAX;
    for (builder, message) in [
        (conv(0, 6, [8, 8], [3, 3]), "in_channels must be at least 1"),
        (conv(4, 0, [8, 8], [3, 3]), "out_channels must be at least 1"),
        (conv(4, 6, [0, 8], [3, 3]), "the input's height must be at least 1"),
        (conv(4, 6, [8, 0], [3, 3]), "the input's width must be at least 1"),
        (conv(4, 6, [8, 8], [0, 3]), "the kernel's height must be at least 1"),
        (conv(4, 6, [8, 8], [3, 0]), "the kernel's width must be at least 1"),
        (base().stride([0, 1]), "the vertical stride must be at least 1"),
        (base().stride([1, 0]), "the horizontal stride must be at least 1"),
        (base().dilation([0, 1]), "the vertical dilation must be at least 1"),
        (base().dilation([1, 0]), "the horizontal dilation must be at least 1"),
        (base().groups(0), "groups must be at least 1"),
        (base().groups(3), "3 groups must divide both in_channels (4) and out_channels (6)"),
        (base().groups(4), "4 groups must divide both in_channels (4) and out_channels (6)"),
        (
            conv(1, 1, [4, 9], [5, 5]),
            "the kernel covers 5x5 pixels, more than the padded input 4x9: use a smaller one, or more padding",
        ),
        (
            base().dilation([1, 4]).padding([0, 0]),
            "the kernel covers 3x9 pixels, more than the padded input 8x8: use a smaller one, or more padding",
        ),
        (base().padding(huge), "the padded input would have more than 2^63 - 1 bytes: reduce its sizes or the batch"),
        (
            conv(huge / 2, 1, [8, 8], [3, 3]),
            "the input image would have more than 2^63 - 1 bytes: reduce its sizes or the batch",
        ),
        (
            conv(1, huge / 2, [8, 8], [8, 8]).padding(4),
            "the output image would have more than 2^63 - 1 bytes: reduce its sizes or the batch",
        ),
        (
            conv(1 << 30, 1 << 30, [1, 1], [1, 1]).groups(1),
            "the weight array would have more than 2^63 - 1 bytes: reduce its sizes or the batch",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }
    let dilated = base().dilation([huge, 1]).build();
    assert!(matches!(dilated, Err(KernelError::WindowTooLarge { what: "kernel", .. })));
}

#[test]
fn extreme_but_valid_shapes() {
    let far = base().stride([usize::MAX, usize::MAX]).padding(3).build().unwrap();
    assert_eq!(far.output(), [1, 1]);
    let lonely = Conv2dShape::builder(1, 1, [1, 1], [1, 1]).padding(Padding { top: 5, bottom: 0, left: 0, right: 9 });
    let lonely = lonely.stride([3, 4]).build().unwrap();
    assert_eq!(lonely.output(), [2, 3]);
    for shape in [far, lonely] {
        let plan = Conv2dPlan::<f64>::new(shape, &Options::default()).unwrap();
        let (x, weight) = (vec![1.0; shape.input_len()], vec![1.0; shape.weight_len()]);
        let mut y = vec![f64::NAN; shape.output_len()];
        let mut expected = y.clone();
        plan.forward(1, &x, &weight, Epilogue::none(), &mut y, &mut plan.scratch(1)).unwrap();
        conv_kernels::reference::conv2d_forward(&shape, 1, &x, &weight, Epilogue::none(), &mut expected).unwrap();
        assert_eq!(y, expected);
    }
}

#[test]
fn batches_that_cannot_be() {
    let shape = base().build().unwrap();
    for (dim, what) in [
        (shape.input_dim(usize::MAX), "the batch of input images"),
        (shape.output_dim(1 << 60), "the batch of output images"),
    ] {
        let message = format!("{what} would have more than 2^63 - 1 bytes: reduce its sizes or the batch");
        assert_eq!(dim.unwrap_err().to_string(), message);
    }
    assert_eq!(shape.input_dim(0), Ok([0, 4, 8, 8]));
}

#[test]
fn algorithms_that_do_not_apply() {
    for (shape, algorithm, message) in [
        (
            base().padding(1),
            Algorithm::Pointwise,
            "pointwise cannot compute 4x8x8 -> 6 @ 3x3, padding 1+1x1+1: it is for 1x1 kernels with stride 1 and no \
             padding; leave Options::force empty to let the plan choose",
        ),
        (
            base().groups(2).stride([2, 1]).dilation([1, 2]),
            Algorithm::Depthwise,
            "depthwise cannot compute 4x8x8 -> 6 @ 3x3, stride 2x1, dilation 1x2, 2 groups: it is for groups of one \
             input channel each; leave Options::force empty to let the plan choose",
        ),
        (
            base().stride([1, 2]),
            Algorithm::Mirrored,
            "mirrored cannot compute 4x8x8 -> 6 @ 3x3, stride 1x2: it is for stride 1, less padding than the kernel \
             covers, and inputs of at least 8 pixels, or a longer vector; leave Options::force empty to let the plan \
             choose",
        ),
    ] {
        let options = Options::default().force(algorithm);
        let refused = Conv2dPlan::<f32>::new(shape.build().unwrap(), &options).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
}

#[test]
fn slices_that_do_not_fit() {
    let shape = base().groups(2).build().unwrap();
    let plan = Conv2dPlan::<f32>::new(shape, &Options::default()).unwrap();
    let (x, weight, y, bias) = (vec![1.0; 2 * 256], vec![1.0; 108], vec![1.0; 2 * 216], vec![1.0; 6]);
    let short = [1.0f32; 5];
    let message = |error: Result<(), KernelError>| error.unwrap_err().to_string();
    let scratch = &mut Scratch::new();
    let with_bias = |bias| Epilogue { bias: Some(bias), ..Epilogue::none() };

    let x_message = "x must hold 512 elements, (N, C, H, W) = (2, 4, 8, 8); it holds 5";
    let weight_message = "weight must hold 108 elements, (O, C / groups, KH, KW) = (6, 2, 3, 3); it holds 5";
    let dy_message = "dy must hold 432 elements, (N, O, OH, OW) = (2, 6, 6, 6); it holds 5";

    let mut out = vec![7.0; 2 * 216];
    let none = Epilogue::none();
    assert_eq!(message(plan.forward(2, &short, &weight, none, &mut out, scratch)), x_message);
    assert_eq!(message(plan.forward(2, &x, &short, none, &mut out, scratch)), weight_message);
    assert_eq!(
        message(plan.forward(2, &x, &weight, none, &mut [0.0; 3], scratch)),
        "y must hold 432 elements, (N, O, OH, OW) = (2, 6, 6, 6); it holds 3",
    );
    assert_eq!(
        message(plan.forward(2, &x, &weight, with_bias(&short), &mut out, scratch)),
        "bias must hold 6 elements, (O,) = (6,); it holds 5",
    );
    assert!(out.iter().all(|&value| value == 7.0), "written in spite of the refusal");
    assert!(plan.forward(2, &x, &weight, with_bias(&bias), &mut out, scratch).is_ok());

    let [for_use, for_learning] = [PackFor::Forward, PackFor::Learning].map(|passes| plan.packed_len(passes));
    let message_of =
        |what, len, got| format!("{what} must hold {len} elements, as Conv2dPlan::packed_len says; it holds {got}");
    let mut packed = vec![0.0; for_use];
    assert_eq!(message(plan.pack(PackFor::Forward, &short, &mut packed)), weight_message);
    assert_eq!(
        message(plan.pack(PackFor::Learning, &weight, &mut packed)),
        message_of("packed", for_learning, for_use),
    );
    assert!(plan.pack(PackFor::Forward, &weight, &mut packed).is_ok());
    assert_eq!(
        message(plan.forward(2, &x, Weights::Packed(&short), none, &mut out, scratch)),
        message_of("the packed weights", for_learning, 5),
    );

    let mut dx = vec![7.0; 2 * 256];
    assert_eq!(
        message(plan.input_gradient(2, &y, Weights::Packed(&packed), &mut dx, scratch)),
        message_of("the packed weights", for_learning, for_use),
    );
    assert_eq!(message(plan.input_gradient(2, &short, &weight, &mut dx, scratch)), dy_message);
    assert_eq!(message(plan.input_gradient(2, &y, &short, &mut dx, scratch)), weight_message);
    assert_eq!(
        message(plan.input_gradient(2, &y, &weight, &mut [0.0; 1], scratch)),
        "dx must hold 512 elements, (N, C, H, W) = (2, 4, 8, 8); it holds 1",
    );

    let mut dweight = vec![7.0; 108];
    assert_eq!(message(plan.weight_gradient(2, &short, &y, &mut dweight, scratch)), x_message);
    assert_eq!(message(plan.weight_gradient(2, &x, &short, &mut dweight, scratch)), dy_message);
    assert_eq!(
        message(plan.weight_gradient(2, &x, &y, &mut [], scratch)),
        "dweight must hold 108 elements, (O, C / groups, KH, KW) = (6, 2, 3, 3); it holds 0",
    );

    assert_eq!(message(plan.bias_gradient(2, &short, &mut [0.0; 6])), dy_message);
    assert_eq!(
        message(plan.bias_gradient(2, &y, &mut [0.0; 5])),
        "dbias must hold 6 elements, (O,) = (6,); it holds 5",
    );
    assert!(dx.iter().chain(&dweight).all(|&value| value == 7.0), "written in spite of the refusal");
}

#[test]
fn an_empty_batch_does_nothing() {
    let plan = Conv2dPlan::<f32>::new(base().build().unwrap(), &Options::default()).unwrap();
    let weight = vec![1.0; plan.shape().weight_len()];
    let mut scratch = plan.scratch(0);
    let (mut dweight, mut dbias) = (vec![3.0; weight.len()], vec![4.0; 6]);
    plan.forward(0, &[], &weight, Epilogue::none(), &mut [], &mut scratch).unwrap();
    plan.input_gradient(0, &[], &weight, &mut [], &mut scratch).unwrap();
    plan.weight_gradient(0, &[], &[], &mut dweight, &mut scratch).unwrap();
    plan.bias_gradient(0, &[], &mut dbias).unwrap();
    assert!(dweight.iter().all(|&value| value == 3.0) && dbias.iter().all(|&value| value == 4.0));
}
