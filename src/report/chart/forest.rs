//! Intervals under one another around a line of no change.

use super::axis::Axis;
use super::svg::{Shape, Svg, Tone, WIDTH, wrapped};

/// One interval, in shares (+0.2 is +20 %). Ends may be infinite.
#[derive(Debug, Clone)]
pub(in crate::report) struct ForestRow {
    /// Begins a group of rows.
    pub(in crate::report) group: Option<String>,
    pub(in crate::report) label: String,
    /// Value, low, high.
    pub(in crate::report) at: [f64; 3],
    pub(in crate::report) tone: Tone,
    pub(in crate::report) shape: Shape,
    /// A second value on the same line, such as the measured beside the predicted.
    pub(in crate::report) second: Option<f64>,
    /// Right of the plot.
    pub(in crate::report) words: String,
    pub(in crate::report) tip: String,
    pub(in crate::report) engine: Option<String>,
}

#[derive(Debug, Clone)]
pub(in crate::report) struct Forest {
    pub(in crate::report) title: String,
    pub(in crate::report) description: String,
    pub(in crate::report) rows: Vec<ForestRow>,
    /// Below the axis, at its left and right end.
    pub(in crate::report) ends: (&'static str, &'static str),
    /// Explains the marks.
    pub(in crate::report) legend: Vec<(Shape, Tone, &'static str)>,
}

const LEFT: f64 = 252.0;
const RIGHT: f64 = 560.0;
const ROW: f64 = 34.0;
const GROUP: f64 = 26.0;
/// An interval that reaches further than this many times the largest value is cut with an arrow, so that one wide row does
/// not flatten all others.
const FURTHEST: f64 = 2.5;

pub(in crate::report) fn forest(f: &Forest) -> Svg {
    let groups = f.rows.iter().filter(|r| r.group.is_some()).count() as f64;
    let bottom = 12.0 + ROW * f.rows.len() as f64 + GROUP * groups;
    let legend = if f.legend.is_empty() { 0.0 } else { 24.0 };
    let mut svg = Svg::new(bottom + 46.0 + legend, f.title.clone(), f.description.clone());
    let axis = axis_of(&f.rows);
    for t in axis.ticks(5) {
        let x = axis.at(t);
        svg.line(if t == 0.0 { "zero" } else { "grid" }, (x, 8.0), (x, bottom));
        svg.text("tick mid", x, bottom + 16.0, &percent(t));
    }
    svg.text("tick", LEFT, bottom + 36.0, f.ends.0);
    svg.text("tick end", RIGHT, bottom + 36.0, f.ends.1);
    let mut y = 12.0;
    for r in &f.rows {
        if let Some(g) = &r.group {
            svg.text("grp", 4.0, y + 18.0, g);
            y += GROUP;
        }
        row(&mut svg, &axis, r, y + ROW / 2.0);
        y += ROW;
    }
    super::scatter::legend(&mut svg, &f.legend, bottom + 58.0);
    svg
}

fn axis_of(rows: &[ForestRow]) -> Axis {
    let values = rows.iter().flat_map(|r| [Some(r.at[0]), r.second]).flatten().filter(|v| v.is_finite());
    let most = FURTHEST * values.fold(0.04, |m: f64, v| m.max(v.abs()));
    let ends = rows.iter().flat_map(|r| r.at.into_iter().chain(r.second)).filter(|v| v.is_finite());
    let ends = ends.map(|v| v.clamp(-most, most)).chain([-0.02, 0.02]);
    Axis::around(ends, 0.06, LEFT, RIGHT)
}

fn row(svg: &mut Svg, axis: &Axis, r: &ForestRow, y: f64) {
    svg.mark(&r.tip, r.engine.as_deref(), |svg| {
        svg.rect("hit", (0.0, y - ROW / 2.0), (WIDTH, ROW));
        let lines = wrapped(&r.label, 36);
        let first = y + 4.5 - 7.5 * (lines.len() - 1) as f64;
        for (i, l) in lines.iter().enumerate() {
            svg.text("end", LEFT - 14.0, first + 15.0 * i as f64, l);
        }
        let [value, low, high] = r.at;
        let class = format!("bar mark {}", r.tone.class());
        svg.line(&class, (axis.at(low), y), (axis.at(high), y));
        for (end, sign) in [(low, 1.0), (high, -1.0)] {
            if !axis.holds(end) {
                // An arrow: it goes on.
                let x = axis.at(end);
                svg.polyline(&class, &[(x + 7.0 * sign, y - 5.0), (x, y), (x + 7.0 * sign, y + 5.0)]);
            }
        }
        svg.shape(r.shape, r.tone, (axis.at(value), y), 5.0);
        if let Some(v) = r.second {
            svg.shape(Shape::Diamond, Tone::Pick, (axis.at(v), y), 5.0);
        }
        svg.text("", RIGHT + 12.0, y + 4.5, &r.words);
    });
}

fn percent(x: f64) -> String {
    let p = (x * 1000.0).round() / 10.0;
    if p == 0.0 { "0 %".to_owned() } else { format!("{p:+} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_without_an_end_gets_an_arrow() {
        let row = |high| ForestRow {
            group: None,
            label: "x".into(),
            at: [0.1, 0.0, high],
            tone: Tone::Good,
            shape: Shape::Circle,
            second: None,
            words: String::new(),
            tip: String::new(),
            engine: None,
        };
        let draw = |high| {
            let f = Forest {
                title: String::new(),
                description: String::new(),
                rows: vec![row(high)],
                ends: ("", ""),
                legend: Vec::new(),
            };
            forest(&f).file()
        };
        assert!(!draw(0.2).contains("<polyline"));
        assert!(draw(f64::INFINITY).contains("<polyline"));
    }
}
