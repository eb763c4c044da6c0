//! Throughput over load as a picture, for the terminal and as SVG: the forecast beside the measurement, the zones
//! below.

use super::measured::MeasuredRamp;
use super::zones::ZoneSpan;
use super::{Axis, Forecast};
use crate::scenario::Key;
use std::fmt::Write as _;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    axis: Axis,
    /// Load, requests a second.
    measured: Vec<(f64, f64)>,
    /// Load, value, and the ends of its 90 % interval.
    forecast: Vec<[f64; 4]>,
    zones: Vec<ZoneSpan>,
}

/// Characters of the terminal's picture.
const COLUMNS: usize = 72;
const ROWS: usize = 14;
/// Pixels of the SVG: the whole, and the plot's margins.
const SIZE: (f64, f64) = (820.0, 380.0);
const MARGIN: (f64, f64, f64, f64) = (64.0, 20.0, 20.0, 64.0);

impl Picture {
    pub fn new(ramp: &MeasuredRamp, forecast: Option<&Forecast>) -> Picture {
        let foretold = forecast.map_or_else(Vec::new, |f| {
            let value = |load: f64| f.study.value_at(load, Key::RequestThroughput);
            f.study
                .rungs
                .iter()
                .filter_map(|r| value(r.load).map(|v| [r.load, v.value, v.p05, v.p95]))
                .collect()
        });
        Picture {
            axis: ramp.axis,
            measured: ramp.steps.iter().map(|s| (s.point.load, s.point.throughput)).collect(),
            forecast: foretold,
            zones: ramp.ramp().zones(),
        }
    }

    fn label(&self) -> &'static str {
        match self.axis {
            Axis::Concurrency => "requests in flight",
            Axis::Rate => "requests/s offered",
        }
    }

    /// Ends of the horizontal axis: a little beyond what was measured.
    fn loads(&self) -> (f64, f64) {
        let low = self.measured.iter().map(|m| m.0).fold(f64::INFINITY, f64::min);
        let high = self.measured.iter().map(|m| m.0).fold(0.0, f64::max);
        if low.is_finite() && high > low { (low / 1.1, high * 1.1) } else { (low / 2.0, low * 2.0) }
    }

    fn top(&self) -> f64 {
        let (low, high) = self.loads();
        let seen = self.measured.iter().map(|m| m.1);
        let told = self.forecast.iter().filter(|f| f[0] >= low && f[0] <= high).map(|f| f[1]);
        seen.chain(told).fold(f64::MIN_POSITIVE, f64::max) * 1.05
    }

    /// Share of the width at which a load lies.
    fn across(&self, load: f64) -> f64 {
        let (low, high) = self.loads();
        (load / low).ln() / (high / low).ln()
    }

    /// For the terminal: `●` measured, `·` forecast, the zones' initials below.
    pub fn text(&self) -> String {
        let top = self.top();
        let mut grid = vec![vec![' '; COLUMNS]; ROWS];
        let mut put = |load: f64, value: f64, mark: char| {
            let x = self.across(load);
            if (0.0..=1.0).contains(&x) && value.is_finite() {
                let column = ((x * (COLUMNS - 1) as f64).round()) as usize;
                let row = ((1.0 - (value / top).clamp(0.0, 1.0)) * (ROWS - 1) as f64).round() as usize;
                grid[row][column] = mark;
            }
        };
        for f in &self.forecast {
            put(f[0], f[1], '·');
        }
        for m in &self.measured {
            put(m.0, m.1, '●');
        }
        let mut out = String::from("req/s (● measured");
        out.push_str(if self.forecast.is_empty() { ")\n" } else { ", · forecast)\n" });
        for (i, row) in grid.iter().enumerate() {
            let value = top * (1.0 - i as f64 / (ROWS - 1) as f64);
            let axis = if i % 3 == 0 { format!("{value:>9.1}") } else { " ".repeat(9) };
            let line: String = row.iter().collect();
            let _ = writeln!(out, "{axis} │{}", line.trim_end());
        }
        let _ = writeln!(out, "{} └{}", " ".repeat(9), self.zone_line());
        let (low, high) = self.loads();
        let _ =
            writeln!(out, "{} {:<12.0}{:^48}{:>12.0}", " ".repeat(10), low * 1.1, self.label(), high / 1.1);
        out
    }

    /// The horizontal axis with the zones' initials: no queueing, efficient, saturation, loss.
    fn zone_line(&self) -> String {
        let (low, high) = self.loads();
        (0..COLUMNS)
            .map(|c| {
                let load = low * (high / low).powf(c as f64 / (COLUMNS - 1) as f64);
                let zone = self.zones.iter().rfind(|z| load >= z.from).or(self.zones.first());
                zone.and_then(|z| z.zone.to_string().chars().next()).unwrap_or('─')
            })
            .collect()
    }

    /// As SVG: no script, no outside resource.
    pub fn svg(&self) -> String {
        let (left, top, right, bottom) = MARGIN;
        let (width, height) = (SIZE.0 - left - right, SIZE.1 - top - bottom);
        let most = self.top();
        let x = |load: f64| left + width * self.across(load).clamp(0.0, 1.0);
        let y = |value: f64| top + height * (1.0 - (value / most).clamp(0.0, 1.0));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            SIZE.0, SIZE.1
        );
        self.zones_svg(&mut out, &x);
        let (low, high) = self.loads();
        let shown: Vec<&[f64; 4]> = self.forecast.iter().filter(|f| f[0] >= low && f[0] <= high).collect();
        let path = |points: &mut dyn Iterator<Item = (f64, f64)>| -> String {
            points.map(|(l, v)| format!("{:.1},{:.1}", x(l), y(v))).collect::<Vec<_>>().join(" ")
        };
        if !shown.is_empty() {
            let band =
                path(&mut shown.iter().map(|f| (f[0], f[3])).chain(shown.iter().rev().map(|f| (f[0], f[2]))));
            let _ = writeln!(out, "<polygon points=\"{band}\" fill=\"#4a7fb5\" opacity=\"0.18\"/>");
            let line = path(&mut shown.iter().map(|f| (f[0], f[1])));
            let _ = writeln!(
                out,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"#4a7fb5\" stroke-dasharray=\"5 4\"/>"
            );
        }
        let line = path(&mut self.measured.iter().copied());
        let _ = writeln!(
            out,
            "<polyline points=\"{line}\" fill=\"none\" stroke=\"#b0422c\" stroke-width=\"1.5\"/>"
        );
        for m in &self.measured {
            let (cx, cy) = (x(m.0), y(m.1));
            let _ = writeln!(out, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3.5\" fill=\"#b0422c\"/>");
        }
        self.axes_svg(&mut out, &x, &y);
        out.push_str("</svg>\n");
        out
    }

    fn zones_svg(&self, out: &mut String, x: &dyn Fn(f64) -> f64) {
        let (low, high) = self.loads();
        let (_, top, _, bottom) = MARGIN;
        for (z, fill) in self.zones.iter().zip(["#e8f3e6", "#fbf3d9", "#f8dfd6", "#eccaca"]) {
            let (from, to) = (x(z.from.max(low)), x(z.to.unwrap_or(high).min(high)));
            let _ = writeln!(
                out,
                "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" fill=\"{fill}\"/>\
                 <text x=\"{:.1}\" y=\"{}\" fill=\"#555\">{}</text>",
                (to - from).max(0.0),
                SIZE.1 - top - bottom,
                from + 4.0,
                top + 14.0,
                z.zone
            );
        }
    }

    fn axes_svg(&self, out: &mut String, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
        let (left, top, right, bottom) = MARGIN;
        let base = SIZE.1 - bottom;
        let _ = writeln!(
            out,
            "<path d=\"M{left},{top}V{base}H{}\" fill=\"none\" stroke=\"#333\"/>",
            SIZE.0 - right
        );
        for i in 0..=4 {
            let value = self.top() / 1.05 * f64::from(i) / 4.0;
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>",
                left - 6.0,
                y(value) + 4.0
            );
        }
        let mut last = f64::NEG_INFINITY;
        for m in &self.measured {
            if x(m.0) - last > 26.0 {
                last = x(m.0);
                let _ = writeln!(
                    out,
                    "<text x=\"{last:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    base + 16.0,
                    (m.0 * 10.0).round() / 10.0
                );
            }
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}; requests/s: measured (red), forecast with its 90 % \
             interval (blue)</text>",
            SIZE.0 / 2.0,
            base + 44.0,
            self.label()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::zones::Zone;
    use super::*;

    fn picture() -> Picture {
        let zone = |zone, from, to| ZoneSpan { zone, from, to, to_interval: None, criterion: String::new() };
        Picture {
            axis: Axis::Concurrency,
            measured: vec![(1.0, 10.0), (8.0, 60.0), (64.0, 100.0)],
            forecast: vec![
                [1.0, 30.0, 8.0, 40.0],
                [8.0, 50.0, 40.0, 60.0],
                [64.0, 80.0, 60.0, 100.0],
                [900.0, 80.0, 1.0, 2.0],
            ],
            zones: vec![
                zone(Zone::Safe, 0.0, Some(8.0)),
                zone(Zone::EarlyDegradation, 8.0, Some(32.0)),
                zone(Zone::Saturation, 32.0, None),
            ],
        }
    }

    #[test]
    fn the_terminal_shows_both_and_the_zones() {
        let text = picture().text();
        assert_eq!((text.matches('●').count(), text.matches('·').count()), (4, 4), "{text}");
        let axis = text.lines().find(|l| l.contains('└')).unwrap();
        let zones: String = axis.chars().filter(char::is_ascii_lowercase).collect();
        assert!(zones.starts_with("nnn") && zones.contains("eee") && zones.ends_with("sss"), "{axis}");
    }

    #[test]
    fn the_svg_holds_every_point_within_its_frame() {
        let svg = picture().svg();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("efficient") && svg.contains("stroke-dasharray"));
        for cx in svg.split("cx=\"").skip(1) {
            let at: f64 = cx.split('"').next().unwrap().parse().unwrap();
            assert!((MARGIN.0..=SIZE.0 - MARGIN.2).contains(&at), "{at}");
        }
    }
}
