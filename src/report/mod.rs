//! Results to Markdown, HTML and JSON: pure strings out.
