//! The canvas.

use std::fmt::Write;

/// Colours and strokes of all pictures, by class; variables differ between light and dark. The hues are those of Okabe
/// and Ito, which people with any common colour blindness tell apart; shapes say the same again.
pub(in crate::report) const STYLE: &str = "\
.chart{--fg:#1b1f24;--mut:#5b6570;--line:#d8dee4;--bg:#fff;--c1:#0072b2;--c2:#c25100;--c3:#007a5e;--c4:#8a4f7d;--c5:#7a6200;--c6:#6b7680;--c7:#3b6ea5;--band:#0072b226;--z0:#009e731a;--z1:#e69f0026;--z2:#d55e0026;--z3:#6b768033}
@media (prefers-color-scheme:dark){.chart{--fg:#e6e9ec;--mut:#9aa5b1;--line:#303a44;--bg:#0f1419;--c1:#56b4e9;--c2:#ff9d57;--c3:#3fc79a;--c4:#d79ac8;--c5:#e2c044;--c6:#97a3af;--c7:#9fc3f0;--band:#56b4e933;--z0:#3fc79a1f;--z1:#e2c04426;--z2:#ff9d5726;--z3:#97a3af2e}}
.chart text{fill:var(--fg);font:13px system-ui,-apple-system,Segoe UI,sans-serif}.chart .tick{fill:var(--mut);font-size:12px}.chart .grp{font-weight:600}
.chart .grid{stroke:var(--line);stroke-width:1}.chart .zero{stroke:var(--mut);stroke-width:1.5}.chart .end{text-anchor:end}.chart .mid{text-anchor:middle}
.chart .good{stroke:var(--c3);fill:var(--c3)}.chart .bad{stroke:var(--c2);fill:var(--c2)}.chart .flat{stroke:var(--c6);fill:var(--c6)}.chart .base{stroke:var(--c6);fill:var(--bg)}.chart .pick{stroke:var(--c1);fill:var(--c1)}.chart .guess{stroke:var(--c4);fill:var(--bg)}
.chart .bar{stroke-width:3;fill:none}.chart .mark{stroke-width:2}.chart .x{fill:none;stroke-width:2.5}.chart .curve{fill:none;stroke-width:2.5}.chart .dash{stroke-dasharray:7 5}.chart .band{fill:var(--band);stroke:none}
.chart .plan{stroke:var(--c3);stroke-width:2}.chart .z0{fill:var(--z0)}.chart .z1{fill:var(--z1)}.chart .z2{fill:var(--z2)}.chart .z3{fill:var(--z3)}
.chart .p0{fill:var(--c1)}.chart .p1{fill:var(--c5)}.chart .p2{fill:var(--c3)}.chart .p3{fill:var(--c4)}.chart .p4{fill:var(--c7)}.chart .p5{fill:var(--c6)}.chart .host{fill:var(--c2)}.chart .seg{stroke:var(--bg);stroke-width:1.5}
.chart .s0{stroke:var(--c1)}.chart .s1{stroke:var(--c2);stroke-dasharray:9 4}.chart .s2{stroke:var(--c3);stroke-dasharray:2 4}.chart .s3{stroke:var(--c4);stroke-dasharray:12 4 2 4}.chart .s4{stroke:var(--c5);stroke-dasharray:5 5}.chart .s5{stroke:var(--c6)}.chart .mark.s0,.chart .mark.s1,.chart .mark.s2,.chart .mark.s3,.chart .mark.s4,.chart .mark.s5{stroke-dasharray:none;fill:var(--bg)}
.chart .pt:focus{outline:none}.chart .pt:focus .mark,.chart .pt:hover .mark{stroke-width:5}.chart .hit{fill:transparent;stroke:none}
";

/// Meaning of a mark: colour and shape follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Tone {
    Good,
    Bad,
    Flat,
    Base,
    Pick,
    Guess,
}

impl Tone {
    pub(in crate::report) fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Flat => "flat",
            Tone::Base => "base",
            Tone::Pick => "pick",
            Tone::Guess => "guess",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Shape {
    Circle,
    Diamond,
    Square,
    Cross,
}

/// A picture: body without its outer element, so that it can stand alone or inside a page.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Svg {
    width: f64,
    height: f64,
    /// What is shown.
    pub(in crate::report) title: String,
    /// What can be read from it, in words.
    pub(in crate::report) description: String,
    body: String,
}

pub(in crate::report) const WIDTH: f64 = 720.0;

impl Svg {
    pub(in crate::report) fn new(
        height: f64,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> Svg {
        Svg {
            width: WIDTH,
            height,
            title: title.into(),
            description: description.into(),
            body: String::new(),
        }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            n(x1),
            n(y1),
            n(x2),
            n(y2)
        );
    }

    /// Text on its base line.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
            n(x),
            n(y),
            escape(text)
        );
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (w, h): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            n(x),
            n(y),
            n(w.max(0.0)),
            n(h.max(0.0))
        );
    }

    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let _ = writeln!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", joined(points));
    }

    pub(super) fn polygon(&mut self, class: &str, points: &[(f64, f64)]) {
        let _ = writeln!(self.body, "<polygon class=\"{class}\" points=\"{}\"/>", joined(points));
    }

    pub(super) fn shape(&mut self, shape: Shape, tone: Tone, at: (f64, f64), r: f64) {
        self.shaped(shape, tone.class(), at, r);
    }

    pub(super) fn shaped(&mut self, shape: Shape, class: &str, (x, y): (f64, f64), r: f64) {
        match shape {
            Shape::Circle => {
                let _ = writeln!(
                    self.body,
                    "<circle class=\"mark {class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>",
                    n(x),
                    n(y),
                    n(r)
                );
            }
            Shape::Diamond => {
                let r = r * 1.35;
                self.polygon(&format!("mark {class}"), &[(x, y - r), (x + r, y), (x, y + r), (x - r, y)]);
            }
            Shape::Square => {
                let r = r * 0.9;
                self.rect(&format!("mark {class}"), (x - r, y - r), (2.0 * r, 2.0 * r));
            }
            Shape::Cross => {
                self.line(&format!("x mark {class}"), (x - r, y - r), (x + r, y + r));
                self.line(&format!("x mark {class}"), (x - r, y + r), (x + r, y - r));
            }
        }
    }

    /// What is drawn by `draw` belongs together: it can be pointed at and focused, and `tip` says what it is.
    pub(super) fn mark(&mut self, tip: &str, engine: Option<&str>, draw: impl FnOnce(&mut Svg)) {
        let engine = engine.map_or(String::new(), |e| format!(" data-engine=\"{}\"", escape(e)));
        let tip = escape(tip);
        let _ = writeln!(
            self.body,
            "<g class=\"pt\" tabindex=\"0\" role=\"img\" aria-label=\"{tip}\" data-tip=\"{tip}\"{engine}><title>{tip}</title>"
        );
        draw(self);
        self.body.push_str("</g>\n");
    }

    /// The element as it stands in a page; `id` must be unique in it.
    pub(in crate::report) fn inline(&self, id: &str) -> String {
        self.element(id, "")
    }

    /// A file of its own, with its style and a ground.
    pub(in crate::report) fn file(&self) -> String {
        let extra = format!(
            "<style>{STYLE}</style>\n<rect x=\"0\" y=\"0\" width=\"{}\" height=\"{}\" style=\"fill:var(--bg)\"/>\n",
            n(self.width),
            n(self.height)
        );
        self.element("chart", &extra)
    }

    fn element(&self, id: &str, extra: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {} {}\" role=\"group\" \
             aria-labelledby=\"{id}-t {id}-d\">\n<title id=\"{id}-t\">{}</title>\n<desc id=\"{id}-d\">{}</desc>\n{extra}{}</svg>\n",
            n(self.width),
            n(self.height),
            escape(&self.title),
            escape(&self.description),
            self.body
        )
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    points.iter().map(|(x, y)| format!("{},{}", n(*x), n(*y))).collect::<Vec<_>>().join(" ")
}

/// A coordinate: one decimal at most, never `-0`.
fn n(x: f64) -> String {
    let text = format!("{x:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text as it may stand in HTML, SVG and their attributes.
pub(in crate::report) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no other control characters; a log line may hold any.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A label in at most two lines of about `width` characters; what is longer loses its middle, so that labels that differ
/// at either end stay different.
pub(super) fn wrapped(label: &str, width: usize) -> Vec<String> {
    let count = |s: &str| s.chars().count();
    let mut lines: Vec<String> = Vec::new();
    for word in label.split_whitespace() {
        match lines.last_mut() {
            Some(l) if count(l) + 1 + count(word) <= width => {
                l.push(' ');
                l.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let cut = |s: &str| {
        if count(s) <= width {
            return s.to_owned();
        }
        let (head, tail) = (width * 2 / 3, width / 3 - 1);
        let chars: Vec<char> = s.chars().collect();
        let end: String = chars[chars.len() - tail..].iter().collect();
        format!("{}…{end}", chars[..head].iter().collect::<String>())
    };
    match lines.len() {
        0 => vec![String::new()],
        1 | 2 => lines.iter().map(|l| cut(l)).collect(),
        _ => vec![cut(&lines[0]), cut(&format!("… {}", lines[lines.len() - 1]))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        let mut s = Svg::new(10.0, "<t>", "d\"\u{1b}");
        s.text("", 0.0, -0.04, "</text><script>");
        s.mark("a\"><script>", Some("v'"), |_| {});
        let all = s.file();
        assert!(!all.contains("<script>") && !all.contains("<t>") && !all.contains('\u{1b}'), "{all}");
        assert!(!all.contains("\"-0\""), "{all}");
    }

    #[test]
    fn long_labels_keep_both_ends() {
        assert_eq!(wrapped("a b", 10), ["a b"]);
        let a = wrapped("--async-scheduling --max-num-batched-tokens 8192", 26);
        let b = wrapped("--async-scheduling --max-num-batched-tokens 16384", 26);
        assert_ne!(a, b);
        assert!(a.len() <= 2 && a.iter().all(|l| l.chars().count() <= 26), "{a:?}");
    }
}
