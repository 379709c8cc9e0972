//! The three networks, each with the settings that it is trained with.

use net::{
    Activation, Checkpoints, Init, NetError, Schedule, Sequential, Trainer,
    augment::{Affine, Distort, Elastic},
    cost,
    optim::Sgd,
};

use crate::args::{Model, TrainArgs};

/// The network, untrained.
pub(crate) fn build(model: Model, seed: u64) -> Result<Sequential, NetError> {
    use Activation::{Relu, Sigmoid};
    let digits = Sequential::builder([1, 28, 28]);
    match model {
        Model::Relu => digits
            .conv2d(20, 5)
            .activation(Relu)
            .max_pool2d(2)
            .conv2d(40, 5)
            .activation(Relu)
            .max_pool2d(2)
            .dense(100)
            .activation(Relu)
            .dropout(0.5)
            .dense(10),
        Model::Sigmoid => digits
            .conv2d(20, 5)
            .activation(Sigmoid)
            .init(Init::NielsenFanIn)
            .max_pool2d(2)
            .dense(100)
            .activation(Sigmoid)
            .init(Init::NielsenFanIn)
            .dense(10)
            .activation(Sigmoid)
            .init(Init::NielsenFanIn),
        Model::Mlp => digits
            .dense(30)
            .activation(Sigmoid)
            .init(Init::StandardNormal)
            .dense(10)
            .activation(Sigmoid)
            .init(Init::StandardNormal),
    }
    .build(seed)
}

/// Epochs, unless told otherwise: on the sample, fewer images need more of them.
pub(crate) fn epochs(model: Model, train: usize) -> u64 {
    let all = train >= 50_000;
    match model {
        Model::Relu if all => 6,
        Model::Relu => 14,
        Model::Sigmoid if all => 10,
        Model::Sigmoid | Model::Mlp => 30,
    }
}

/// The run: the settings of the model, changed where the command line says so.
pub(crate) fn trainer<'o>(args: &TrainArgs, train: usize) -> Trainer<'o, f32> {
    let epochs = args.epochs.map_or_else(|| epochs(args.model, train), u64::from);
    let batch_size = |default: usize| args.batch_size.map_or(default, |n| n as usize);
    let trainer = match args.model {
        Model::Relu => Trainer::new(Sgd::new(args.lr.unwrap_or(0.05)).momentum(0.9))
            .batch_size(batch_size(64))
            .schedule(Schedule::OneCycle { warmup: 0.1, start: 0.1, end: 0.001 }),
        // the settings of the article's family: plain gradient descent on the quadratic cost
        Model::Sigmoid | Model::Mlp => {
            let rate = if args.model == Model::Mlp { 3.0 } else { 1.0 };
            Trainer::new(Sgd::new(args.lr.unwrap_or(rate))).batch_size(batch_size(10)).cost(cost::Quadratic::new())
        }
    };
    let trainer = if args.augment { trainer.augment(distortions()) } else { trainer };
    let trainer = trainer.epochs(epochs).seed(args.seed);
    match &args.checkpoint {
        Some(folder) => trainer.checkpoints(match args.checkpoint_every {
            Some(steps) => Checkpoints::in_dir(folder).every_steps(steps),
            None => Checkpoints::in_dir(folder),
        }),
        None => trainer,
    }
}

/// What different hands do to a digit; in a deviation of 1.4 pixels, the elastic part of Simard, Steinkraus and Platt (2003).
fn distortions() -> Distort {
    Distort::new()
        .affine(Affine { shift: 2.0, rotation: 12.0, scale: 0.12, shear: 8.0 })
        .elastic(Elastic { sigma: 4.0, alpha: 34.0 })
}
