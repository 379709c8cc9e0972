//! The algorithms that a plan chooses, by what they are estimated to cost.

use super::Algorithm;
use super::cost::Costs;
use crate::simd::Isa;
use crate::{Conv2dShape, Scalar};

/// Feature maps of at least this width have rows long enough to be worth taking one by one.
const WIDE: usize = 64;

/// How much longer a few images may take for the sake of many: forward, where single images are common, and back.
const FEW_MAY_TAKE: [f64; 2] = [1.1, 1.3];

/// The fastest algorithms for a shape, and why.
pub(super) fn choose<T: Scalar>(shape: &Conv2dShape, isa: Isa) -> ([Algorithm; 3], &'static str) {
    let lanes = [isa.lanes::<T>(), isa.piece::<T>()];
    if !isa.is_fast() {
        // A product works on 8 rows at once, however few there are.
        let few_maps = if shape.output()[1] >= WIDE { 2 } else { 1 };
        let lonely = Algorithm::Depthwise.passes(shape, lanes)[0] && shape.out_channels() / shape.groups() <= few_maps;
        let (algorithm, reason) = if lonely {
            (Algorithm::Depthwise, "each overlay sees one channel, and a channel has few overlays")
        } else if Algorithm::Pointwise.passes(shape, lanes)[0] {
            (Algorithm::Pointwise, "a 1x1 kernel needs no column matrix")
        } else {
            (Algorithm::Im2col, "the general form")
        };
        return ([algorithm; 3], reason);
    }
    let costs = Costs::new::<T>(shape, isa);
    let chosen = [0, 1, 2].map(|pass| {
        let best = cheapest(&costs, pass, Algorithm::chosen);
        if best != Algorithm::Images || pass == 2 {
            return best;
        }
        // A few images are left to another one, and should not lose much.
        let other = cheapest(&costs, pass, |algorithm| algorithm.chosen() && algorithm != Algorithm::Images);
        let few = of_few_by(&costs, pass);
        let [other_cost, few_cost] = [other, few].map(|algorithm| costs.of(algorithm, pass).unwrap_or(f64::MAX));
        if few_cost <= FEW_MAY_TAKE[pass] * other_cost { best } else { other }
    });
    (chosen, "the fewest cycles by estimate")
}

/// The cheapest algorithm of a pass, of those that qualify.
fn cheapest(costs: &Costs<'_>, pass: usize, qualifies: impl Fn(Algorithm) -> bool) -> Algorithm {
    let all = Algorithm::ALL.into_iter().filter(|&algorithm| qualifies(algorithm));
    cheapest_of(all, |algorithm| costs.of(algorithm, pass))
}

/// The one of these with the least cost.
pub(super) fn cheapest_of(
    all: impl IntoIterator<Item = Algorithm>,
    cost: impl Fn(Algorithm) -> Option<f64>,
) -> Algorithm {
    let all = all.into_iter().filter_map(|algorithm| Some((algorithm, cost(algorithm)?)));
    all.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(Algorithm::Im2col, |(algorithm, _)| algorithm)
}

/// What [`Algorithm::Images`] leaves images to that fill no vector: an algorithm with the same chains, or any for the weight
/// gradient, which belongs to the whole batch.
fn of_few_by(costs: &Costs<'_>, pass: usize) -> Algorithm {
    match pass {
        0 => cheapest(costs, 0, |algorithm| matches!(algorithm, Algorithm::Direct | Algorithm::Channels)),
        1 => Algorithm::Mirrored,
        _ => cheapest(costs, 2, |algorithm| algorithm.chosen() && algorithm != Algorithm::Images),
    }
}

/// The algorithms for images that fill no vector.
pub(super) fn of_few<T: Scalar>(shape: &Conv2dShape, isa: Isa, passes: [Algorithm; 3]) -> [Algorithm; 3] {
    let costs = Costs::new::<T>(shape, isa);
    [0, 1, 2].map(|pass| if passes[pass] == Algorithm::Images { of_few_by(&costs, pass) } else { passes[pass] })
}
