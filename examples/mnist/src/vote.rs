//! `mnist vote MODEL MODEL …`.

use std::process::ExitCode;

use anyhow::Context as _;
use conv_kernels::softmax;
use net::{
    Images, Sequential,
    metrics::{Confusion, argmax},
};

use crate::{args::VoteArgs, data, evaluate::check_origin, output};

/// Kinds of digits, or of clothes.
const CLASSES: usize = 10;

/// What networks say about one image.
#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    /// How many are for each class.
    ballots: [f64; CLASSES],
    /// The sum of their softmax outputs.
    shares: [f64; CLASSES],
}

impl Votes {
    /// One more network's outputs.
    fn add(&mut self, outputs: [f32; CLASSES]) {
        let mut shares = [0.0; CLASSES];
        softmax(&outputs.map(f64::from), &mut shares);
        self.shares.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
        if let Some(class) = argmax(&outputs) {
            self.ballots[class] += 1.0;
        }
    }

    /// The class with the largest mean of softmax outputs.
    fn mean(&self) -> Option<usize> {
        argmax(&self.shares)
    }

    /// The class that most networks are for; of several the one with the largest mean.
    fn majority(&self) -> Option<usize> {
        let most = self.ballots.iter().copied().fold(0.0, f64::max);
        let mut among = self.shares;
        among.iter_mut().zip(self.ballots).filter(|(_, ballots)| *ballots < most).for_each(|(share, _)| *share = -1.0);
        argmax(&among)
    }
}

pub(crate) fn run(args: &VoteArgs) -> anyhow::Result<ExitCode> {
    let (data, line) = data::load(&args.data)?;
    output::line(&line)?;
    let (images, labels) = data.test.pair();
    let counted = |classes: &mut dyn Iterator<Item = Option<usize>>| {
        let mut confusion = Confusion::new(CLASSES);
        labels.iter().zip(classes).for_each(|(&label, class)| confusion.add(usize::from(label), class));
        confusion
    };
    let mut votes = vec![Votes::default(); labels.len()];
    for path in &args.models {
        let name = path.display();
        let net: Sequential = Sequential::load(path)?;
        check_origin(&net, path, &data)?;
        let outputs = net.predict(&Images::from(images)).with_context(|| format!("{name} is not for these images"))?;
        anyhow::ensure!(outputs.ncols() == CLASSES, "{name} has {} outputs, not {CLASSES}", outputs.ncols());
        for (votes, row) in votes.iter_mut().zip(outputs.rows()) {
            votes.add(std::array::from_fn(|class| row[class]));
        }
        let alone = counted(&mut outputs.rows().into_iter().map(argmax));
        output::line(&format!("model   {name}: {}", output::share(&alone)))?;
    }
    let majority = counted(&mut votes.iter().map(Votes::majority));
    output::line(&format!("vote    by majority: {}", output::share(&majority)))?;
    output::line("vote    by the mean of softmax outputs:")?;
    output::line(&output::accuracy(&counted(&mut votes.iter().map(Votes::mean))))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of a network that gives these classes these shares, and the rest to class 9.
    fn sure(shares: &[(usize, f32)]) -> [f32; CLASSES] {
        let mut outputs = [-30.0; CLASSES];
        outputs[9] = (1.0 - shares.iter().map(|(_, share)| share).sum::<f32>()).ln();
        shares.iter().for_each(|&(class, share)| outputs[class] = share.ln());
        outputs
    }

    fn votes(networks: &[[f32; CLASSES]]) -> Votes {
        let mut votes = Votes::default();
        networks.iter().for_each(|&outputs| votes.add(outputs));
        votes
    }

    #[test]
    fn two_that_doubt_against_one_that_is_sure() {
        let votes = votes(&[sure(&[(3, 0.5), (5, 0.4)]), sure(&[(3, 0.5), (5, 0.4)]), sure(&[(5, 0.98)])]);
        assert_eq!((votes.majority(), votes.mean()), (Some(3), Some(5)));
    }

    #[test]
    fn the_mean_decides_between_equals() {
        let pair = [sure(&[(2, 0.6), (7, 0.3)]), sure(&[(7, 0.9)])];
        assert_eq!((votes(&pair).majority(), votes(&pair).mean()), (Some(7), Some(7)));
    }

    #[test]
    fn networks_that_say_nothing_vote_for_nothing() {
        let nothing = votes(&[[f32::NAN; CLASSES]]);
        assert_eq!((nothing.majority(), nothing.mean()), (None, None));
    }
}
