//! Requests that all come at once: fill, run at the limit, drain.

use super::{Limit, Mean, Screen, Screened};
use crate::sim::step::StepTime;

impl<T: StepTime + ?Sized> Screen<'_, T> {
    /// Everything at once: fill the running rows, run at the limit, drain.
    pub(super) fn burst(&self) -> Screened {
        let (capacity, limit, full) = self.capacity();
        let (d, gaps) = (&self.demand, self.gaps());
        let count = d.requests;
        if limit == Limit::FrontEnd {
            let n = self.rows_at(capacity).min(count);
            let mean = self.mean(n);
            let feed = count * self.frontend;
            let first = self.first_token(&mean, 1.0, 0.0);
            let mut a = self.answer(capacity, feed / 2.0 + first, mean.period, n, limit);
            a.duration = feed + first + gaps * mean.period;
            a.rate = count / a.duration * 1e9;
            return a;
        }
        let rows = self.rows.min(count);
        let spread = (d.output_square / d.output / d.output - 1.0).max(0.0);
        let limit = if count > self.rows { limit } else { Limit::Load };
        let (duration, ttft, tpot) =
            if spread > 0.05 { self.melting_burst(rows, &full) } else { self.waves(rows, &full) };
        let ttft = ttft + self.first_token(&full, 0.0, 0.0);
        let mut a = self.answer(count / duration, ttft, tpot, rows, limit);
        a.duration = duration;
        a
    }

    /// Steps and time in which the prompts of `rows` requests are computed while they begin to decode.
    fn fill(&self, rows: f64) -> (f64, f64) {
        let beside = if self.prefill_alone { 0.0 } else { rows / 2.0 };
        let chunk = (self.budget - beside).max(1.0).min(rows * self.demand.input);
        let steps = rows * self.demand.input / chunk;
        (steps, (steps * self.period(&self.shape(beside, chunk))).max(rows * self.frontend))
    }

    /// Outputs of one length: whole waves, and a last one with fewer rows. Duration, TTFT, TPOT.
    fn waves(&self, rows: f64, full: &Mean) -> (f64, f64, f64) {
        let (count, gaps) = (self.demand.requests, self.gaps());
        let waves = (count / rows).ceil();
        let rest = count - (waves - 1.0) * rows;
        let one = |rows: f64| {
            let (steps, fill) = self.fill(rows);
            let during = if self.prefill_alone { 0.0 } else { steps / 2.0 };
            let decode = (gaps - during).max(0.0) * self.period(&self.shape(rows, 0.0));
            (fill, fill / 2.0 + decode)
        };
        let (fill, first) = one(rows);
        if waves < 2.0 {
            return (fill / 2.0 + first, fill / 2.0, first / gaps.max(1.0));
        }
        let (last_fill, last) = one(rest);
        let middle = (waves - 2.0) * gaps * full.period;
        let start_of_last = fill / 2.0 + first + middle;
        let duration = start_of_last + last_fill / 2.0 + last - fill.min(last_fill) / 2.0;
        let between = (waves - 2.0) * rows;
        let ttft = (rows * fill / 2.0 + between * (start_of_last / 2.0) + rest * start_of_last) / count;
        let tpot = (rows * first + between * gaps * full.period + rest * last) / count / gaps.max(1.0);
        (duration, ttft, tpot)
    }

    /// Outputs of many lengths: fill, a steady middle, and a drain with ever fewer rows.
    fn melting_burst(&self, rows: f64, full: &Mean) -> (f64, f64, f64) {
        let (d, gaps) = (&self.demand, self.gaps());
        let count = d.requests;
        let (fill_steps, fill) = self.fill(rows);
        let filled = if self.prefill_alone { 0.0 } else { (rows / 2.0 * fill_steps).min(rows * gaps / 2.0) };
        let residual = if count > rows { d.output_square / d.output / 2.0 } else { d.output } / self.brings;
        let tail_tokens = (rows * residual).min(count * gaps);
        let tail_steps = (d.output_max / self.brings).max(1.0);
        let tail_rows = (tail_tokens / tail_steps).min(rows);
        let tail_period = self.period(&self.shape(tail_rows, 0.0));
        let middle_tokens = (count * gaps - tail_tokens - filled).max(0.0);
        let middle = middle_tokens / rows * full.period;
        let duration = fill + middle + tail_tokens / tail_rows.max(1e-9) * tail_period;
        let late = (count - rows) / count;
        let ttft = fill / 2.0 * (1.0 - late) + (fill + middle / 2.0) * late;
        let tokens = (filled + middle_tokens + tail_tokens).max(1.0);
        let in_fill = if filled > 0.0 { rows * fill / 2.0 } else { 0.0 };
        let tail = tail_tokens * f64::midpoint(full.period, tail_period);
        (duration, ttft, (in_fill + middle_tokens * full.period + tail) / tokens)
    }
}
