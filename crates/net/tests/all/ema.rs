//! The average of the weights.

use net::{Flow, Observer, Sequential, Trainer, cost::SoftmaxCrossEntropy, observe::StepReport, optim::Sgd};

use crate::training::{quarters, small};

struct StopAt(u64);

impl Observer for StopAt {
    fn step(&mut self, report: &StepReport) -> Flow {
        if report.step == self.0 { Flow::Stop } else { Flow::Continue }
    }
}

/// The network after some of the six steps of one epoch.
fn after(steps: u64, ema: Option<f64>) -> (Sequential, net::History) {
    let (images, labels) = quarters(60, 1);
    let data = (images.view(), labels.view());
    let mut net = small(3);
    let mut trainer = Trainer::new(Sgd::new(0.1).momentum(0.9)).batch_size(10).observe(StopAt(steps));
    if let Some(decay) = ema {
        trainer = trainer.ema(decay);
    }
    let history = trainer.fit(&mut net, data, data).unwrap();
    (net, history)
}

/// By the definition: a weighted mean over the steps, the start left out, of parameters and of BatchNorm's statistics.
#[test]
fn it_is_the_weighted_mean_of_all_steps() {
    let decay: f64 = 0.7;
    let steps: Vec<Sequential> = (1..=6).map(|steps| after(steps, None).0).collect();
    for count in [1, 2, 6] {
        let (averaged, _) = after(count as u64, Some(decay));
        let weights: Vec<f64> = (1..=count).map(|k| decay.powi(count - k)).collect();
        let mean = |values: &dyn Fn(&Sequential) -> f64| {
            let sum: f64 = steps.iter().zip(&weights).map(|(net, weight)| weight * values(net)).sum();
            sum / weights.iter().sum::<f64>()
        };
        for (i, &value) in averaged.parameters().values().iter().enumerate() {
            let want = mean(&|net| f64::from(net.parameters().values()[i]));
            assert!((f64::from(value) - want).abs() < 1e-6, "parameter {i} after {count}: {value}, not {want}");
        }
        for name in ["bn1.running_mean", "bn1.running_var"] {
            for (i, &value) in averaged.buffers().tensor(name).unwrap().iter().enumerate() {
                let want = mean(&|net| f64::from(net.buffers().tensor(name).unwrap()[i]));
                assert!(
                    (f64::from(value) - want).abs() < 1e-6 * want.abs().max(1.0),
                    "{name} {i}: {value}, not {want}"
                );
            }
        }
        assert_eq!(averaged.buffers().tensor("bn1.num_batches_tracked").unwrap().sum(), count as f32);
    }
}

#[test]
fn without_memory_it_is_the_last_step() {
    assert_eq!(after(6, Some(0.0)).0.parameters().values(), after(6, None).0.parameters().values());
}

#[test]
fn it_is_what_is_evaluated_and_left_behind() {
    let (images, labels) = quarters(60, 1);
    let (net, history) = after(6, Some(0.9));
    let cost = net.evaluate((images.view(), labels.view()), &SoftmaxCrossEntropy::new()).unwrap().cost;
    assert_eq!(history.epochs[0].held_out.cost, cost);
    assert_ne!(after(6, None).1.epochs[0].held_out.cost, cost);
}

#[test]
fn a_decay_is_at_least_0_and_below_1() {
    let (images, labels) = quarters(10, 1);
    let data = (images.view(), labels.view());
    for decay in [1.0, -0.1, f64::NAN] {
        let error = Trainer::new(Sgd::new(0.1)).ema(decay).fit(&mut small(0), data, data).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the decay of the average must be at least 0 and below 1 (got {decay}): 0.99 is usual")
        );
    }
}
