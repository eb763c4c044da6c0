//! Racing by pace: how long a run takes at least, by what it has done so far.
//!
//! A run is two kinds of work, prompts to compute and tokens to generate, and an engine may do either first. Of both the client sees
//! the part that is done: answers that began, and chunks that came. Over a window of `w` seconds in which the parts grow by `dp` and
//! `dd`, the engine spent a share `x` of the time on prompts, so that at this speed what is left takes
//! `x w (1 - p) / dp + (1 - x) w (1 - d) / dd`: whatever `x` is, at least the smaller of the two quotients. In a window that is much
//! longer than answers ever waited for each other to begin and that sees none begin, all of the time is for tokens.

use std::collections::VecDeque;

/// A run that is bound to take so many times the best candidate's has lost. Twice would be enough if the speed could not rise any more.
const FACTOR: f64 = 4.0;
/// Seconds before a pace is judged, and for how long it must be as slow.
const FIRST_S: f64 = 10.0;
const LASTS_S: f64 = 3.0;
/// Seconds between two marks of a course.
const MARK_S: f64 = 0.5;
/// Answers that must have begun, or chunks come, in a window before its pace says anything: an engine may compute one prompt alone and
/// then thirty at once.
const LEAST_BEGUN: f64 = 8.0;
const LEAST_CHUNKS: f64 = 16.0;
/// A window without an answer that begins is one of tokens alone where it is so many times the longest wait for a beginning.
const WITHOUT_PROMPTS: f64 = 3.0;

/// Parts of the run that are done at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    at: f64,
    prompts: f64,
    tokens: f64,
}

/// The course of a run beside the best one's time.
#[derive(Debug)]
pub(super) struct Pace {
    /// Seconds of the best candidate's run.
    best_s: f64,
    /// Requests and tokens that are planned.
    planned: (f64, f64),
    marks: VecDeque<Mark>,
    /// When an answer last began, and the longest time between two beginnings.
    began: (f64, f64),
    last: f64,
    /// Since when the pace is too slow.
    slow: Option<f64>,
}

impl Pace {
    pub(super) fn new(best_s: f64, requests: usize, tokens: u64) -> Pace {
        Pace {
            best_s,
            planned: (requests.max(1) as f64, tokens.max(1) as f64),
            marks: VecDeque::new(),
            began: (0.0, 0.0),
            last: 0.0,
            slow: None,
        }
    }

    /// The run at `at` seconds, standstills that are forgiven left out: answers that began and chunks that came. What it takes at
    /// least, in seconds, where it has lost by that.
    pub(super) fn lost(&mut self, at: f64, begun: u64, chunks: u64) -> Option<f64> {
        let now = Mark {
            at,
            prompts: begun as f64 / self.planned.0,
            tokens: (chunks as f64 / self.planned.1).min(1.0),
        };
        if begun as f64 > self.last {
            self.began = (at, self.began.1.max(at - self.began.0));
            self.last = begun as f64;
        }
        if self.marks.back().is_none_or(|m| at >= m.at + MARK_S) {
            self.marks.push_back(now);
        }
        let slow = at >= FIRST_S && self.least_s(now).is_some_and(|s| s > FACTOR * self.best_s);
        if !slow {
            self.slow = None;
            return None;
        }
        let since = *self.slow.get_or_insert(at);
        if at - since < LASTS_S { None } else { self.least_s(now) }
    }

    /// Seconds that the whole run takes at least at the pace of its latter half; `None` while that says nothing.
    fn least_s(&mut self, now: Mark) -> Option<f64> {
        while self.marks.get(1).is_some_and(|m| m.at <= 0.5 * now.at) {
            self.marks.pop_front();
        }
        let from = self.marks.front().filter(|m| m.at <= 0.5 * now.at + MARK_S)?;
        let window = now.at - from.at;
        let left = |done: f64, grew: f64| if grew > 0.0 { Some(window * (1.0 - done) / grew) } else { None };
        let (begun, came) = (now.prompts - from.prompts, now.tokens - from.tokens);
        let few = |grew: f64, planned: f64, least: f64| grew > 0.0 && grew * planned < least - 0.5;
        if few(begun, self.planned.0, LEAST_BEGUN) || few(came, self.planned.1, LEAST_CHUNKS) {
            return None;
        }
        let (tokens, prompts) = (left(now.tokens, came), left(now.prompts, begun));
        let none_begins = now.prompts >= 1.0 || window > WITHOUT_PROMPTS * self.began.1;
        let rest = match (prompts, tokens) {
            (Some(p), Some(t)) if now.prompts < 1.0 => p.min(t),
            (Some(p), None) => p,
            (None, Some(t)) if none_begins => t,
            // All prompts are done, some of them within the window: its tokens had not the whole of it.
            _ => return None,
        };
        Some(now.at + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a run with this course is given up, and what it was said to take; looked at as often as the engine is.
    fn cut(best_s: f64, seconds: f64, course: impl Fn(f64) -> (u64, u64)) -> Option<(f64, f64)> {
        let mut pace = Pace::new(best_s, 1000, 200_000);
        let looks = (0..(seconds / 0.02) as u32).map(|n| f64::from(n) * 0.02);
        looks.into_iter().find_map(|at| {
            let (begun, chunks) = course(at);
            pace.lost(at, begun, chunks).map(|least| (at, least))
        })
    }

    #[test]
    fn one_that_needs_seventeen_times_the_best_is_cut_after_seconds() {
        // 64 at a time of 1,000, a token each in a quarter of a second.
        let (at, least) = cut(54.0, 100.0, |t| (64, (64.0 * t / 0.25) as u64)).unwrap();
        assert!(at < 14.0 && (least / 781.0 - 1.0).abs() < 0.05, "{at} {least}");
        // Both kinds of work are slow.
        let slow = |t: f64| ((1000.0 * t / 735.0) as u64, (200_000.0 * t / 735.0) as u64);
        let (at, least) = cut(54.0, 100.0, slow).unwrap();
        assert!(at < 16.0 && (least / 735.0 - 1.0).abs() < 0.1, "{at} {least}");
    }

    #[test]
    fn one_that_may_still_win_goes_on_whatever_it_does_first() {
        // As fast as the best: everything in step, prompts first, tokens of each wave before the next prompts.
        let even = |t: f64| ((1000.0 * t / 54.0) as u64, (200_000.0 * t / 54.0) as u64);
        assert_eq!(cut(54.0, 54.0, even), None);
        let prompts_first = |t: f64| {
            ((1000.0 * t / 25.0).min(1000.0) as u64, (200_000.0 * (t - 25.0).max(0.0) / 29.0) as u64)
        };
        assert_eq!(cut(54.0, 54.0, prompts_first), None);
        let waves = |t: f64| {
            let (wave, within) = ((t / 13.5).floor(), t % 13.5);
            let begun = 250.0 * (wave + (within / 6.0).min(1.0));
            (begun as u64, (50_000.0 * (wave + (within - 6.0).max(0.0) / 7.5)) as u64)
        };
        assert_eq!(cut(54.0, 54.0, waves), None);
        // One long prompt after the other: nothing but a few tokens of the first for half a minute.
        let long = |t: f64| ((t / 20.0) as u64, (0.5 * (t - 20.0).max(0.0)) as u64);
        assert_eq!(cut(20_000.0, 200.0, long), None);
        // A slow beginning that ends in time.
        let late = |t: f64| {
            ((t + 100.0 * (t - 9.0).max(0.0)) as u64, (20.0 * t + 9_000.0 * (t - 9.0).max(0.0)) as u64)
        };
        assert_eq!(cut(54.0, 19.0, late), None);
    }

    #[test]
    fn one_prompt_alone_before_many_at_once_is_no_pace() {
        // A real vLLM under 64 short answers at once, stretched: the first prompt had a step of its own.
        let burst = |t: f64| match t {
            t if t < 16.0 => (0, 0),
            t if t < 23.0 => (1, 1),
            t if t < 40.0 => (300, 301),
            _ => (1000, 100_000),
        };
        assert_eq!(cut(30.0, 60.0, burst), None);
    }

    #[test]
    fn what_has_not_begun_says_nothing() {
        assert_eq!(cut(5.0, 300.0, |_| (0, 0)), None);
    }
}
