//! Charts as hand-made SVG: horizontal bars, no script, no outside resource.

use std::fmt::Write;

/// One bar: label, value, text beside it, and whether it stands out.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) text: String,
    pub(super) strong: bool,
}

const ROW: f64 = 24.0;
const LEFT: f64 = 330.0;
const WIDTH: f64 = 900.0;

/// Bars from zero to the largest value; a value that is not positive gives an empty bar.
pub(super) fn bars(bars: &[Bar]) -> String {
    let most = bars.iter().map(|b| b.value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let height = ROW * bars.len() as f64 + 8.0;
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" font-size=\"13\">\n");
    for (i, b) in bars.iter().enumerate() {
        let y = ROW * i as f64 + 4.0;
        let length = (WIDTH - LEFT - 110.0) * (b.value / most).max(0.0);
        let class = if b.strong { "strong" } else { "plain" };
        let label: String = b.label.chars().take(46).collect();
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text><rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{y:.0}\" \
             width=\"{length:.1}\" height=\"16\"/><text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            LEFT - 8.0,
            y + 13.0,
            escape(&label),
            LEFT + length + 6.0,
            y + 13.0,
            escape(&b.text)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Text as it may stand in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_room_and_text_is_escaped() {
        let bar = |label: &str, value| Bar { label: label.into(), value, text: "t".into(), strong: false };
        let svg = bars(&[bar("<a>", 10.0), bar("b", 5.0), bar("c", -1.0)]);
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("<a>"));
        for width in ["width=\"460.0\"", "width=\"230.0\"", "width=\"0.0\""] {
            assert!(svg.contains(width), "{width} missing in {svg}");
        }
    }
}
