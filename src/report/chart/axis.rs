//! One axis: from values to pixels, with round ticks.

/// A linear or logarithmic scale between two pixel positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    /// Covers the values with a little room, `share` of their range on either side.
    pub(in crate::report) fn around(
        values: impl Iterator<Item = f64>,
        share: f64,
        from: f64,
        to: f64,
    ) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.is_finite()) {
            low = low.min(v);
            high = high.max(v);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let room = ((high - low) * share).max(high.abs().max(1e-9) * 0.005);
        Axis { low: low - room, high: high + room, from, to, log: false }
    }

    pub(in crate::report) fn linear(low: f64, high: f64, from: f64, to: f64) -> Axis {
        Axis { low, high: if high > low { high } else { low + 1.0 }, from, to, log: false }
    }

    /// Both ends above 0.
    pub(in crate::report) fn log(low: f64, high: f64, from: f64, to: f64) -> Axis {
        Axis { low, high: if high > low { high } else { low * 2.0 }, from, to, log: true }
    }

    /// Pixel of a value; what lies beyond an end is put on it.
    pub(in crate::report) fn at(&self, v: f64) -> f64 {
        let t = if self.log {
            (v.max(1e-12) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (v - self.low) / (self.high - self.low)
        };
        self.from + (self.to - self.from) * t.clamp(0.0, 1.0)
    }

    pub(in crate::report) fn holds(&self, v: f64) -> bool {
        v >= self.low && v <= self.high
    }

    /// Round values inside, about `count` of them.
    pub(in crate::report) fn ticks(&self, count: usize) -> Vec<f64> {
        if self.log {
            let doublings = (self.high / self.low).log2();
            let step = (doublings / count as f64).ceil().max(1.0) as i32;
            let first = self.low.log2().ceil() as i32;
            return (0..64)
                .map(|i| 2f64.powi(first + i * step))
                .take_while(|v| *v <= self.high * 1.000_001)
                .collect();
        }
        let raw = (self.high - self.low) / count.max(1) as f64;
        let size = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|m| m * size).find(|s| *s >= raw).unwrap_or(raw);
        let first = (self.low / step).ceil() as i64;
        (0..64)
            .map(|i| (first + i) as f64 * step)
            .take_while(|v| *v <= self.high + step * 1e-6)
            .map(|v| if v == 0.0 { 0.0 } else { v })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Axis::linear(-0.12, 0.38, 0.0, 1.0).ticks(5), [-0.1, 0.0, 0.1, 0.2, 0.30000000000000004]);
        assert_eq!(Axis::log(1.0, 256.0, 0.0, 1.0).ticks(4), [1.0, 4.0, 16.0, 64.0, 256.0]);
    }

    #[test]
    fn ends_fall_on_ends() {
        let a = Axis::log(1.0, 100.0, 50.0, 250.0);
        assert_eq!((a.at(1.0), a.at(10.0).round(), a.at(100.0), a.at(1e9)), (50.0, 150.0, 250.0, 250.0));
    }
}
