//! Early stopping.

use net::{
    Evaluation, Flow, Observer,
    metrics::Confusion,
    observe::{EarlyStopping, EpochReport, Run},
};

/// The epochs that are finished when the held-out samples show these (correct of 10, cost); the last, if it is not stopped.
fn epochs(stopping: &mut EarlyStopping, held_out: &[(usize, f64)]) -> usize {
    stopping.start(&Run { epochs: held_out.len() as u64, steps: 1, samples: 1, batch_size: 1, threads: 1 });
    let report = |(index, &(correct, cost)): (usize, &(usize, f64))| {
        let mut confusion = Confusion::new(2);
        (0..10).for_each(|i| confusion.add(0, usize::from(i >= correct)));
        EpochReport {
            epoch: index as u64 + 1,
            train_cost: 1.0,
            train_accuracy: 0.5,
            held_out: Evaluation { cost, confusion },
            learning_rate: 0.1,
            seconds: 1.0,
            samples_per_second: 1.0,
        }
    };
    let stop = held_out.iter().enumerate().map(report).position(|report| stopping.epoch(&report) == Flow::Stop);
    stop.map_or(held_out.len(), |index| index + 1)
}

#[test]
fn it_stops_after_epochs_that_bring_nothing() {
    let run = [(5, 1.0), (6, 0.9), (6, 0.8), (5, 0.7), (7, 0.6), (7, 0.9), (6, 0.5), (3, 0.6), (9, 0.7), (9, 0.8)];
    for (patience, accuracy, cost) in [(0, 3, 6), (1, 3, 6), (2, 4, 9), (3, 8, 10), (4, 10, 10)] {
        assert_eq!(epochs(&mut EarlyStopping::new(patience), &run), accuracy, "patience {patience}");
        assert_eq!(epochs(&mut EarlyStopping::new(patience).by_cost(), &run), cost, "patience {patience}, by cost");
    }
}

#[test]
fn each_run_counts_for_itself() {
    let mut stopping = EarlyStopping::new(1);
    assert_eq!(epochs(&mut stopping, &[(9, 0.1), (10, 0.1), (10, 0.1), (10, 0.1)]), 3);
    assert_eq!(epochs(&mut stopping, &[(1, 0.9), (2, 0.8), (2, 0.8), (2, 0.8)]), 3);
}
