//! The report as a document: what it says, apart from how Markdown, HTML or a terminal writes it. Text of foreign origin
//! (names, flags, log lines) goes into spans as it came; each writer escapes it in its own way.

use super::chart::Svg;

/// A piece of running text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Span {
    Plain(String),
    Code(String),
    Strong(String),
}

impl From<&str> for Span {
    fn from(s: &str) -> Span {
        Span::Plain(s.to_owned())
    }
}

impl From<String> for Span {
    fn from(s: String) -> Span {
        Span::Plain(s)
    }
}

pub(super) fn code(s: impl Into<String>) -> Span {
    Span::Code(s.into())
}

pub(super) fn strong(s: impl Into<String>) -> Span {
    Span::Strong(s.into())
}

/// Running text. Strong text has no blank at its ends: Markdown would not take it for strong.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Text(pub(super) Vec<Span>);

/// `text!["The flag ", code(flag), " gives ", strong(gain)]`.
macro_rules! text {
    ($($part:expr),* $(,)?) => { $crate::report::doc::Text(vec![$($crate::report::doc::Span::from($part)),*]) };
}
pub(super) use text;

impl From<&str> for Text {
    fn from(s: &str) -> Text {
        Text(vec![s.into()])
    }
}

impl From<String> for Text {
    fn from(s: String) -> Text {
        Text(vec![s.into()])
    }
}

impl Text {
    pub(super) fn push(&mut self, part: impl Into<Span>) {
        self.0.push(part.into());
    }

    /// Without any marks, for a terminal or an attribute.
    pub(super) fn plain(&self) -> String {
        self.0
            .iter()
            .map(|s| match s {
                Span::Plain(t) | Span::Code(t) | Span::Strong(t) => t.as_str(),
            })
            .collect()
    }

    /// Text in which `` `code` `` and `**strong**` are marked, as the notes in a record are.
    pub(super) fn marked(text: &str) -> Text {
        let mut out = Text::default();
        for (i, part) in text.split('`').enumerate() {
            if i % 2 == 1 {
                out.push(code(part));
                continue;
            }
            for (j, piece) in part.split("**").enumerate() {
                if !piece.is_empty() {
                    out.push(if j % 2 == 1 { strong(piece) } else { piece.into() });
                }
            }
        }
        out
    }
}

/// How a value is meant; shown by a word or a sign too, never by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    Better,
    Worse,
    Muted,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Better => "better",
            Tone::Worse => "worse",
            Tone::Muted => "mut",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cell {
    pub(super) text: Text,
    pub(super) tone: Tone,
}

impl<T: Into<Text>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain }
    }
}

impl Cell {
    pub(super) fn toned(text: impl Into<Text>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// Engine that the row is about, for the filter.
    pub(super) engine: Option<String>,
}

/// A table; `numeric` columns are set right.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) head: Vec<&'static str>,
    pub(super) numeric: Vec<bool>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// Column names; those that begin with `>` are numeric.
    pub(super) fn new(caption: impl Into<String>, head: &[&'static str]) -> Table {
        Table {
            caption: caption.into(),
            numeric: head.iter().map(|h| h.starts_with('>')).collect(),
            head: head.iter().map(|h| h.trim_start_matches('>')).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(Row { cells, engine: None });
    }
}

/// One large figure with what it was before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) note: String,
    pub(super) tone: Tone,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    Para(Text),
    /// A short label that must not be overlooked.
    Tag(String),
    /// Verbatim text; the language is that of a Markdown fence.
    Code {
        language: &'static str,
        text: String,
    },
    Table(Table),
    /// A picture: file name without extension.
    Figure {
        name: &'static str,
        svg: Box<Svg>,
    },
    List(Vec<Text>),
    Fold {
        summary: Text,
        blocks: Vec<Block>,
    },
    Cards(Vec<Card>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    /// Anchor.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    pub(super) title: String,
    /// One muted line above the title: version and date.
    pub(super) byline: String,
    pub(super) lead: Vec<Block>,
    pub(super) sections: Vec<Section>,
    /// Engines to filter by; no filter is shown for fewer than two.
    pub(super) engines: Vec<String>,
}

impl Page {
    /// Every picture, with its file name without extension.
    pub(super) fn figures(&self) -> Vec<(&'static str, &Svg)> {
        fn walk<'a>(blocks: &'a [Block], out: &mut Vec<(&'static str, &'a Svg)>) {
            for b in blocks {
                match b {
                    Block::Figure { name, svg } => out.push((name, svg)),
                    Block::Fold { blocks, .. } => walk(blocks, out),
                    _ => {}
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.lead, &mut out);
        self.sections.iter().for_each(|s| walk(&s.blocks, &mut out));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_in_a_note_become_spans() {
        let t = Text::marked("`a|b` gives **+1 %**, no more");
        assert_eq!(t, text![code("a|b"), " gives ", strong("+1 %"), ", no more"]);
        assert_eq!(t.plain(), "a|b gives +1 %, no more");
    }
}
