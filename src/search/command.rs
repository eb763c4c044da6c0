//! The command that is recommended: which flags of the best candidate stay in it.
//!
//! Every flag of a candidate shares what was measured of the candidate, and few launches leave it open which of them brings it.
//! To keep all of them is right for the gain and wrong for the reader, who takes each for a cause. So a flag that is of no use
//! has a price of its own (`choose::USELESS_PRICE`), paid in the worlds where it is of none: the launches are chosen to tell
//! such flags from the others, and what is still in doubt in the end stays only where its expected gain outweighs its doubt.

use super::additive::{Point, values_of};
use super::beliefs::{Beliefs, EncodedSpace};
use super::choose::{FLAG_PRICE, USELESS, USELESS_PRICE};
use super::space::Space;
use crate::stats::mean;

/// A flag that is less likely than this to bring its price is taken out in a launch of its own, where one is left.
const CERTAIN: f64 = 0.95;

/// What a flag counts for without which the launch fails, or that makes it fail.
const DECIDES: f64 = 0.3;

pub(super) struct Choice {
    pub(super) point: Point,
    pub(super) forecast: f64,
    /// Without the flag that is least likely to bring its price, where that is not certain.
    pub(super) doubtful: Option<Point>,
}

/// What a flag brings by world; one without which the launch fails is needed.
fn brings(with: &[Option<f64>], without: &[Option<f64>]) -> Vec<f64> {
    let each = with.iter().zip(without).map(|(a, b)| match (a, b) {
        (Some(a), Some(b)) => a - b,
        (Some(_), None) => DECIDES,
        _ => -DECIDES,
    });
    each.collect()
}

/// Share of the worlds in which a flag brings more than this.
fn chance(brings: &[f64], more_than: f64) -> f64 {
    brings.iter().filter(|b| **b > more_than).count() as f64 / brings.len().max(1) as f64
}

/// What a flag is worth to the command by what it brings in each world, its price taken off, and that of being of no use
/// where it is.
fn worth(brings: &[f64]) -> f64 {
    mean(brings) - FLAG_PRICE - USELESS_PRICE * (1.0 - chance(brings, USELESS))
}

impl Beliefs {
    /// The contender with the largest mean, without the flags that are not worth their place in the command.
    pub(super) fn best(&self, space: &dyn Space, g: &mut EncodedSpace<'_>) -> Choice {
        let base: Point = vec![0; g.knobs.len()];
        let mut point = self.contenders.first().map_or(base, |c| c.point.clone());
        loop {
            let forecast = g.forecast_of(&point).unwrap_or(0.0);
            let flags = self.flags(space, g, &point, forecast);
            let least = flags.iter().min_by(|a, b| worth(&a.1).total_cmp(&worth(&b.1)));
            if let Some((less, _)) = least.filter(|(_, brings)| worth(brings) <= 0.0) {
                point.clone_from(less);
                continue;
            }
            let chances = flags.into_iter().map(|(less, brings)| (less, chance(&brings, FLAG_PRICE)));
            let doubtful = chances.filter(|(_, c)| *c < CERTAIN).min_by(|a, b| a.1.total_cmp(&b.1));
            return Choice { point, forecast, doubtful: doubtful.map(|(less, _)| less) };
        }
    }

    /// For each flag of a point that can be taken out: the point without it, and what it brings by world.
    fn flags(
        &self,
        space: &dyn Space,
        g: &mut EncodedSpace<'_>,
        point: &Point,
        forecast: f64,
    ) -> Vec<(Point, Vec<f64>)> {
        let worlds = self.worlds();
        let with = worlds.raw(point, forecast);
        let mut all = Vec::new();
        for (k, _) in values_of(point) {
            let mut less = point.clone();
            less[k] = 0;
            if !space.admits(&g.candidate(&less)) {
                continue;
            }
            let Some(f) = g.forecast_of(&less) else { continue };
            let brings = brings(&with, &worlds.raw(&less, f));
            all.push((less, brings));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flag that brings so much in so many of ten worlds, and nothing in the others.
    fn flag(in_worlds: usize, gain: f64) -> f64 {
        let all: Vec<f64> = (0..10).map(|w| if w < in_worlds { gain } else { 0.0 }).collect();
        worth(&all)
    }

    #[test]
    fn a_flag_stays_where_its_expected_gain_outweighs_the_chance_that_it_is_of_no_use() {
        assert!(flag(2, 0.05) < 0.0, "1 % is expected of it, and it is most likely of no use");
        assert!(flag(4, 0.05) > 0.0, "one of a few that share a measured gain");
        assert!(flag(10, 0.005) > 0.0, "small and sure");
        assert!(flag(10, 0.003) < 0.0, "sure, and not worth its price");
        assert!(flag(6, 0.01) < 0.0, "small and doubtful");
    }

    #[test]
    fn what_the_launch_needs_stays_and_what_makes_it_fail_goes() {
        let (runs, fails) = ([Some(0.1); 3], [None; 3]);
        assert!(worth(&brings(&runs, &fails)) > 0.2 && worth(&brings(&fails, &runs)) < -0.2);
        assert!(worth(&brings(&runs, &runs)) <= -FLAG_PRICE - USELESS_PRICE);
    }
}
