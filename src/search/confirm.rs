//! Confirmation: winner and baseline in turns, fresh launches, on data that the search did not see.

use super::evaluator::{Answer, Ask, Evaluator, Runs, Stage, Stop};
use super::settings::Settings;
use crate::launch::Candidate;
use crate::stats::{Interval, mean, pooled_interval, sample_variance, t_critical};

/// First repeat index of the confirmation: its seeds are used nowhere else, so the choice of the winner
/// (the luckiest of many) cannot flatter the result.
pub const FIRST_REPEAT: u32 = 1000;

/// What the confirmation says of the winner against the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Log gain by pair.
    pub pairs: Vec<f64>,
    /// Mean log gain with its t interval at the look's level.
    pub gain: Interval,
    /// The interval excludes no change.
    pub significant: bool,
    /// Confidence of the interval (of each look, alpha shared between the looks).
    pub confidence: f64,
    /// A pair that lay far from the others and was measured again: its place, its first and its second log gain. The second
    /// is the one that counts.
    pub again: Option<(usize, f64, f64)>,
}

/// Quantile of the normal distribution below which four in five lie: so often a gain that is what the search expects shall be
/// told from noise by the pairs that are kept for it.
const POWER: f64 = 0.8416;

/// Pairs that tell a log gain from noise in four of five cases: the least `n` with
/// `gain >= (t(df + n - 1) + 0.84) sigma sqrt(2 / n)`, from `settings.repeats` to `settings.max_pairs`. A gain that even
/// the most would not tell gets the least: there another candidate is worth more than another pair.
pub fn pairs_to_tell(gain: f64, noise: Option<(f64, f64)>, settings: &Settings) -> u32 {
    let least = settings.repeats.max(2);
    let Some((sigma, df)) = noise.filter(|(sigma, df)| *sigma > 0.0 && *df > 0.0) else { return least };
    let tells = |n: &u32| {
        let quantiles = t_critical(df + f64::from(*n) - 1.0, settings.alpha) + POWER;
        gain >= quantiles * sigma * (2.0 / f64::from(*n)).sqrt()
    };
    (least..=settings.max_pairs.max(least)).find(tells).unwrap_or(least)
}

/// What the search says of its winner before the confirmation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Believed {
    /// Log gain over the baseline; it sets how many pairs are measured, and nothing of what they say.
    pub gain: f64,
    /// Noise of a launch (log scale) with its degrees of freedom.
    pub noise: Option<(f64, f64)>,
}

/// Measures A B B A A B … (the order within a pair turns, so that a drift falls on both sides), first
/// as many pairs as the gain that is believed in needs ([`pairs_to_tell`]), and up to `settings.max_pairs` while the interval still
/// holds zero but its estimate is worth having. The error probability is shared equally between the looks (Bonferroni), so
/// that looking more than once does not make significance easier. `None` when either side gave no score.
pub fn confirm(
    ev: &mut dyn Evaluator,
    baseline: &Candidate,
    winner: &Candidate,
    believed: Believed,
    settings: &Settings,
) -> Result<Option<Comparison>, Stop> {
    let noise = believed.noise;
    let least = settings.repeats.max(2);
    ev.reserve(0);
    // A look that the budget cannot take costs no confidence.
    let afforded = ev.launches_left().map_or(u32::MAX, |l| (l / 2) as u32).max(least);
    let first = pairs_to_tell(believed.gain, noise, settings).min(afforded);
    let most = settings.max_pairs.max(least).min(afforded);
    let looks = f64::from(most - first + 1);
    let mut pairs = Vec::new();
    // The number of each pair's launches, in the order of `pairs`.
    let mut numbers = Vec::new();
    let mut again = None;
    ev.expect(Stage::Confirm, 2 * first as usize);
    let mut done = 0;
    while done < most {
        let next: Vec<u32> = if done == 0 { (0..first).collect() } else { vec![done] };
        done += next.len() as u32;
        let launched: Vec<(u32, u32)> = next.iter().map(|n| (*n, *n)).collect();
        let Some(gains) = measured(ev, baseline, winner, &launched)? else { return Ok(None) };
        for (n, gain) in next.into_iter().zip(gains).filter_map(|(n, gain)| Some((n, gain?))) {
            pairs.push(gain);
            numbers.push(n);
        }
        if pairs.is_empty() {
            continue;
        }
        if again.is_none()
            && ev.launches_left().is_none_or(|left| left >= 2)
            && let Some(at) = outlier(&pairs, noise)
        {
            ev.expect(Stage::Confirm, 2);
            let Some(gains) = measured(ev, baseline, winner, &[(numbers[at], AGAIN + numbers[at])])? else {
                return Ok(None);
            };
            if let Some(gain) = gains[0] {
                again = Some((at, std::mem::replace(&mut pairs[at], gain), gain));
            }
        }
        let gain = pooled_interval(&pairs, noise, settings.alpha / looks);
        let open = !gain.excludes(0.0) && gain.value > settings.min_gain;
        let afforded = ev.affordable() && ev.launches_left().is_none_or(|left| left >= 2);
        if !open || done == most || !afforded {
            let confidence = 1.0 - settings.alpha / looks;
            return Ok(Some(Comparison { significant: gain.excludes(0.0), pairs, gain, confidence, again }));
        }
        ev.expect(Stage::Confirm, 2);
    }
    Ok(None)
}

/// Launches of a pair that is measured again have numbers from here on.
const AGAIN: u32 = 100;

/// Measures pairs, each by its number and that of its launches: the log gain of each, or nothing where a side gave no score for
/// a cause that is no candidate's. `None` when the winner failed: a command that fails once in a handful of launches is not one
/// to recommend. Where launches go side by side, the turned order puts each side in each place equally often.
fn measured(
    ev: &mut dyn Evaluator,
    baseline: &Candidate,
    winner: &Candidate,
    pairs: &[(u32, u32)],
) -> Result<Option<Vec<Option<f64>>>, Stop> {
    let asks: Vec<Ask> = pairs
        .iter()
        .flat_map(|(n, launch)| {
            let order = if n.is_multiple_of(2) { [baseline, winner] } else { [winner, baseline] };
            let runs = Runs::all(FIRST_REPEAT + n, 1);
            order.map(|side| Ask { stage: Stage::Confirm, candidate: side.clone(), launch: *launch, runs })
        })
        .collect();
    let mut answers = Vec::new();
    // One at a time, the failure of one spares the others.
    let places = ev.in_flight();
    for together in asks.chunks(if places > 1 { asks.len() } else { 1 }) {
        let made = ev.evaluate_all(together)?;
        let failed = |(ask, answer): (&Ask, &Answer)| ask.candidate == *winner && answer.failure.is_some();
        if together.iter().zip(&made).any(failed) {
            return Ok(None);
        }
        answers.extend(made);
    }
    let score = |at: usize| answers[at].samples.first().map(|s| s.score);
    let gain = |n: usize| {
        let (first, second) = (score(2 * n)?, score(2 * n + 1)?);
        Some(if asks[2 * n].candidate == *winner { first - second } else { second - first })
    };
    Ok(Some((0..pairs.len()).map(gain).collect()))
}

/// A pair that is farther than so many standard deviations from the mean of the others is measured again: rare by chance, sure
/// where the machine stood still for a while.
const FAR: f64 = 6.0;
/// And by no less than this (log scale): what is nearer decides nothing.
const LEAST: f64 = 0.05;

/// The place of the one pair that lies far from all others, on whichever side.
fn outlier(pairs: &[f64], noise: Option<(f64, f64)>) -> Option<usize> {
    let distance = |at: usize| {
        let others: Vec<f64> = pairs.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, p)| *p).collect();
        let known = noise.filter(|(_, df)| *df > 0.0).map_or(0.0, |(sigma, _)| sigma);
        // Two pairs alone say next to nothing of how pairs scatter.
        if others.len() < if known > 0.0 { 2 } else { 3 } {
            return None;
        }
        // The difference of two launches scatters by twice the variance of one; the others say what they know of it.
        let sigma = (2.0 * known * known).max(sample_variance(&others)).sqrt();
        let far = (pairs[at] - mean(&others)).abs();
        (far > LEAST.max(FAR * sigma)).then_some(far)
    };
    let far = (0..pairs.len()).filter_map(|at| Some((at, distance(at)?)));
    far.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeEvaluator;
    use super::*;
    use crate::launch::EngineKind;
    use crate::launch::FlagValue;

    fn winner() -> Candidate {
        Candidate::baseline(EngineKind::Emulated).with("a", FlagValue::Int(1))
    }

    fn compare(sigma: f64, seed: u64, gain: f64) -> (Comparison, usize) {
        let mut ev =
            FakeEvaluator::new(sigma, seed, move |c| Some(if c.flags.is_empty() { 0.0 } else { gain }));
        let base = Candidate::baseline(EngineKind::Emulated);
        let c =
            confirm(&mut ev, &base, &winner(), Believed::default(), &Settings::default()).unwrap().unwrap();
        (c, ev.asked.len())
    }

    #[test]
    fn a_clear_gain_needs_no_more_than_the_first_pairs() {
        let (c, launches) = compare(0.004, 2, 0.2);
        assert!(c.significant && (c.gain.value - 0.2).abs() < 0.02);
        assert_eq!(launches, 6);
    }

    #[test]
    fn the_sides_take_turns_and_share_their_seeds() {
        let mut ev = FakeEvaluator::new(0.001, 1, |_| Some(0.0));
        let base = Candidate::baseline(EngineKind::Emulated);
        confirm(&mut ev, &base, &winner(), Believed::default(), &Settings::default()).unwrap();
        let sides: Vec<bool> = ev.asked.iter().map(|a| a.candidate == base).collect();
        assert_eq!(sides[..6], [true, false, false, true, true, false]);
        for pair in ev.asked.chunks(2) {
            assert_eq!(pair[0].runs, pair[1].runs);
        }
    }

    #[test]
    fn no_gain_is_rarely_called_one() {
        let called = (0..200).filter(|&s| compare(0.01, s, 0.0).0.significant).count();
        assert!(called <= 16, "{called} of 200");
    }

    #[test]
    fn as_many_pairs_as_a_gain_needs_to_be_told_from_noise() {
        let settings = Settings { repeats: 2, ..Settings::default() };
        let pairs = |gain, sigma| pairs_to_tell(gain, Some((sigma, 8.0)), &settings);
        // t(9) + 0.84 = 3.10 for two pairs, t(10) + 0.84 = 3.07 for three: half widths of 0.31 and 0.25 at a noise of 0.1.
        assert_eq!([pairs(0.32, 0.1), pairs(0.3, 0.1), pairs(0.24, 0.1), pairs(0.2, 0.1)], [2, 3, 4, 5]);
        // What five would not tell, and what nobody knows the noise of, gets the least.
        assert_eq!([pairs(0.1, 0.1), pairs_to_tell(0.3, None, &settings)], [2, 2]);
    }

    #[test]
    fn a_gain_between_noise_is_told_by_the_pairs_that_it_needs() {
        let settings = Settings { repeats: 2, ..Settings::default() };
        let told = |believed: Believed| {
            let once = |seed| {
                let mut ev =
                    FakeEvaluator::new(0.08, seed, |c| Some(if c.flags.is_empty() { 0.0 } else { 0.25 }));
                // The budget of a campaign of twelve launches of which the search took six.
                ev.most = 6;
                let base = Candidate::baseline(EngineKind::Emulated);
                confirm(&mut ev, &base, &winner(), believed, &settings).unwrap().unwrap().significant
            };
            (0..200).filter(|seed| once(*seed)).count()
        };
        let noise = Some((0.08, 6.0));
        let (two, three) = (told(Believed { gain: 0.0, noise }), told(Believed { gain: 0.25, noise }));
        assert!(three >= 140 && three >= two, "{two} and {three} of 200");
    }

    /// The n-th launch of the confirmation stands still: its score is that of a run of many times the length.
    fn stalled(n: usize, gain: f64, seed: u64) -> Comparison {
        let launches = std::cell::Cell::new(0);
        let mut ev = FakeEvaluator::new(0.005, seed, move |c| {
            launches.set(launches.get() + 1);
            let stall = if launches.get() == n { -1.4 } else { 0.0 };
            Some(stall + if c.flags.is_empty() { 0.0 } else { gain })
        });
        let base = Candidate::baseline(EngineKind::Emulated);
        let believed = Believed { gain, noise: Some((0.005, 4.0)) };
        confirm(&mut ev, &base, &winner(), believed, &Settings::default()).unwrap().unwrap()
    }

    #[test]
    fn one_stall_decides_no_confirmation() {
        for n in 1..=6 {
            for (gain, seed) in [(0.58, 1), (0.2, 2), (0.0, 3)] {
                let c = stalled(n, gain, seed);
                assert_eq!(c.significant, gain > 0.0, "launch {n}: {c:?}");
                assert!((c.gain.value - gain).abs() < 0.02, "launch {n}: {c:?}");
                let (at, first, second) = c.again.expect("measured again");
                assert!(at == (n - 1) / 2 && (first - gain).abs() > 1.0 && (second - gain).abs() < 0.05);
            }
        }
        // Without a stall nothing is measured again, and no gain is still rarely called one.
        let quiet: Vec<Comparison> = (0..200).map(|seed| stalled(99, 0.0, seed)).collect();
        let again = quiet.iter().filter(|c| c.again.is_some()).count();
        let called = quiet.iter().filter(|c| c.significant).count();
        assert!(again == 0 && called <= 16, "{again} measured again, {called} called");
    }

    #[test]
    fn a_winner_that_fails_gives_no_comparison() {
        let mut ev = FakeEvaluator::new(0.01, 1, |c| c.flags.is_empty().then_some(0.0));
        let base = Candidate::baseline(EngineKind::Emulated);
        assert_eq!(
            confirm(&mut ev, &base, &winner(), Believed::default(), &Settings::default()).unwrap(),
            None
        );
    }
}
