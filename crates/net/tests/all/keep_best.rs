//! The network of the best epoch.

use net::{Flow, History, Observer, Sequential, Trainer, observe::EpochReport, optim::Sgd};

use crate::training::{quarters, small};

/// Ends a run after an epoch.
struct EndAfter(u64);

impl Observer for EndAfter {
    fn epoch(&mut self, report: &EpochReport) -> Flow {
        if report.epoch == self.0 { Flow::Stop } else { Flow::Continue }
    }
}

/// Labels that have nothing to do with the images, so that accuracies go up and down.
fn fit(keep: bool, ema: Option<f64>, epochs: u64) -> (Sequential, History) {
    let [(train, _), (test, _)] = [quarters(60, 1), quarters(300, 2)];
    let [(_, labels), (_, test_labels)] = [quarters(60, 3), quarters(300, 4)];
    let mut net = small(3);
    let mut trainer = Trainer::new(Sgd::new(0.1)).batch_size(10).epochs(12).keep_best(keep).observe(EndAfter(epochs));
    if let Some(decay) = ema {
        trainer = trainer.ema(decay);
    }
    let history = trainer.fit(&mut net, (train.view(), labels.view()), (test.view(), test_labels.view())).unwrap();
    (net, history)
}

fn assert_same(one: &Sequential, other: &Sequential) {
    assert_eq!(one.parameters().values(), other.parameters().values());
    assert_eq!(one.buffers().values(), other.buffers().values());
}

#[test]
fn what_is_kept_is_the_network_of_the_best_epoch() {
    for ema in [None, Some(0.5)] {
        let (kept, history) = fit(true, ema, 12);
        let best = history.best().unwrap();
        let accuracy = |report: &EpochReport| report.held_out.accuracy();
        assert!(history.epochs.iter().all(|epoch| accuracy(epoch) < accuracy(best) || epoch.epoch <= best.epoch));
        assert!(history.epochs.iter().any(|epoch| accuracy(epoch) < accuracy(best)), "it went up and down");
        assert_same(&kept, &fit(false, ema, best.epoch).0);
        // a run that is ended leaves the best so far
        let (stopped, history) = fit(true, ema, 5);
        assert_same(&stopped, &fit(false, ema, history.best().unwrap().epoch).0);
    }
    let (last, history) = fit(false, None, 12);
    assert!(history.best().unwrap().epoch < 12, "another network than the last");
    assert_ne!(last.parameters().values(), fit(true, None, 12).0.parameters().values());
}
