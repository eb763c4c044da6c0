//! Scenarios and observations come with their launch, and a launch may carry keys: none of them is printed or written again.

use crate::engine::redact;
use crate::scenario::Record;

/// The records without the secrets of their commands and of the files beside them.
pub(super) fn without_secrets(mut records: Vec<Record>) -> Vec<Record> {
    for r in &mut records {
        if let Some(command) = r.serve_command.take() {
            r.serve_command = redact::argv(&[command]).pop().map(|words| redact::text(&words));
        }
        for file in &mut r.files {
            file.text = redact::text(&file.text);
        }
    }
    records
}
