//! Schedules against PyTorch and against hand-made values.

use net::{Position, Schedule};
use proptest::prelude::*;

/// The factor at every step of a run.
fn factors(schedule: Schedule, epochs: u64, steps_per_epoch: u64) -> Vec<f64> {
    let steps = epochs * steps_per_epoch;
    let at = |step| schedule.factor(Position { step, steps, epoch: step / steps_per_epoch, epochs });
    (0..steps).map(at).collect()
}

#[track_caller]
fn assert_close(got: &[f64], expected: &[f64]) {
    let close = got.iter().zip(expected).all(|(g, e)| (g - e).abs() <= 1e-15);
    assert!(got.len() == expected.len() && close, "{got:?} is not {expected:?}");
}

/// Produced by PyTorch 2.15:
/// ```python
/// def lrs(make, n):
///     opt = SGD([torch.zeros(1, requires_grad=True)], 1.0); s = make(opt); out = []
///     for _ in range(n):
///         out.append(s.get_last_lr()[0]); opt.step(); s.step()
///     return out
/// lrs(lambda o: CosineAnnealingLR(o, 8, eta_min=0.1), 8)
/// lrs(lambda o: OneCycleLR(o, max_lr=1.0, total_steps=10, pct_start=0.3, div_factor=25, final_div_factor=1e4), 10)
/// lrs(lambda o: StepLR(o, 2, gamma=0.5), 6)
/// lrs(lambda o: ExponentialLR(o, 0.9), 4)
/// ```
#[test]
fn schedules_agree_with_pytorch() {
    let cosine = factors(Schedule::Cosine { end: 0.1 }, 2, 4);
    assert_close(
        &cosine,
        &[
            1.0,
            0.9657457896300791,
            0.8681980515339464,
            0.7222075445642905,
            0.55,
            0.3777924554357097,
            0.2318019484660537,
            0.134254210369921,
        ],
    );
    let one_cycle = factors(Schedule::OneCycle { warmup: 0.3, start: 0.04, end: 4e-6 }, 5, 2);
    assert_close(
        &one_cycle,
        &[
            0.040000000000000036,
            0.52,
            1.0,
            0.9504846320134737,
            0.8117456539497631,
            0.6112620219362893,
            0.38874197806371075,
            0.18825834605023697,
            0.049519367986526286,
            4e-06,
        ],
    );
    assert_close(&factors(Schedule::Step { every: 2.0, factor: 0.5 }, 6, 1), &[1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    assert_close(&factors(Schedule::Exponential { factor: 0.9 }, 4, 1), &[1.0, 0.9, 0.81, 0.7290000000000001]);
}

#[test]
fn stairs_may_end_within_an_epoch() {
    let half_epochs = factors(Schedule::Step { every: 0.5, factor: 0.5 }, 2, 4);
    assert_eq!(half_epochs, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]);
    let epochs = factors(Schedule::Exponential { factor: 0.5 }, 3, 2);
    assert_eq!(epochs, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
}

#[test]
fn stairs_begin_exactly_where_epochs_do() {
    for steps_per_epoch in [1, 3, 7, 469, 6000] {
        let got = factors(Schedule::Step { every: 1.0, factor: 0.5 }, 10, steps_per_epoch);
        for (step, factor) in got.into_iter().enumerate() {
            assert_eq!(
                factor,
                0.5_f64.powi((step as u64 / steps_per_epoch) as i32),
                "step {step} of {steps_per_epoch}"
            );
        }
    }
}

#[test]
fn runs_without_length_have_a_factor() {
    let schedules = [
        Schedule::Constant,
        Schedule::Step { every: 1.0, factor: 0.5 },
        Schedule::Exponential { factor: 0.9 },
        Schedule::Cosine { end: 0.0 },
        Schedule::OneCycle { warmup: 0.0, start: 0.04, end: 0.0 },
        Schedule::OneCycle { warmup: 1.0, start: 0.04, end: 0.0 },
    ];
    for schedule in schedules {
        for steps in [0, 1, 2] {
            let factor = schedule.factor(Position { step: 0, steps, epoch: 0, epochs: steps });
            assert!((0.0..=1.0).contains(&factor), "{schedule}, {steps} steps: {factor}");
        }
    }
    let past = Position { step: 20, steps: 10, epoch: 2, epochs: 1 };
    assert_close(&[Schedule::Cosine { end: 0.25 }.factor(past)], &[0.25]);
    assert_close(&[Schedule::OneCycle { warmup: 0.3, start: 0.1, end: 0.25 }.factor(past)], &[0.25]);
}

proptest! {
    #[test]
    fn factors_stay_between_their_ends(epochs in 1..20u64, per_epoch in 1..50u64, end in 0.0..1.0, start in 0.0..1.0, warmup in 0.0..1.0) {
        let cosine = factors(Schedule::Cosine { end }, epochs, per_epoch);
        prop_assert!(cosine.windows(2).all(|pair| pair[0] >= pair[1]));
        prop_assert!(cosine[0] == 1.0 && cosine.iter().all(|f| *f >= end));
        let cycle = factors(Schedule::OneCycle { warmup, start, end }, epochs, per_epoch);
        let least = start.min(end) - 1e-15;
        prop_assert!(cycle.iter().all(|factor| (least..=1.0).contains(factor)));
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let one_cycle = |warmup, start, end| Schedule::OneCycle { warmup, start, end };
    let cases = [
        (
            Schedule::Step { every: 0.0, factor: 0.5 },
            "the length of a stair of the step schedule must be > 0 and finite (got 0)",
        ),
        (
            Schedule::Step { every: 1.0, factor: f64::NAN },
            "the factor of the step schedule must be > 0 and finite (got NaN)",
        ),
        (
            Schedule::Exponential { factor: -0.9 },
            "the factor of the exponential schedule must be > 0 and finite (got -0.9)",
        ),
        (Schedule::Cosine { end: 1.5 }, "the end of the cosine schedule must be 0 to 1 (got 1.5)"),
        (one_cycle(-0.1, 0.1, 0.1), "the warmup of the one-cycle schedule must be 0 to 1 (got -0.1)"),
        (one_cycle(0.3, 2.0, 0.1), "the start of the one-cycle schedule must be 0 to 1 (got 2)"),
        (one_cycle(0.3, 0.1, f64::NAN), "the end of the one-cycle schedule must be 0 to 1 (got NaN)"),
    ];
    for (schedule, message) in cases {
        assert_eq!(schedule.validate().unwrap_err().to_string(), message);
    }
    assert!(one_cycle(0.3, 0.04, 0.0).validate().is_ok());
}

#[test]
fn a_schedule_survives_a_file() {
    for schedule in [Schedule::Constant, Schedule::OneCycle { warmup: 0.3, start: 0.04, end: 4e-6 }] {
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
    }
    assert_eq!(serde_json::to_string(&Schedule::Cosine { end: 0.5 }).unwrap(), r#"{"cosine":{"end":0.5}}"#);
    assert_eq!(Schedule::Step { every: 2.0, factor: 0.5 }.to_string(), "step every 2 factor 0.5");
}
