//! Files of options that a record's command names (`--config serve.yml`), read from where they lie.

use super::Record;
use crate::launch::{Launch, LaunchFile};
use std::path::Path;

/// Larger files are no options.
const LIMIT: u64 = 1 << 20;

/// Takes the files that the commands name into their records, where one of `dirs` has them; the rest stays told as not
/// read.
pub fn read_beside(records: &mut [Record], dirs: &[&Path]) {
    for record in records {
        let found = files_named_by(&record.launch(), dirs);
        record.files.extend(found);
    }
}

/// The files of options that a launch names and does not hold yet, as one of `dirs` has them.
pub fn files_named_by(launch: &Launch, dirs: &[&Path]) -> Vec<LaunchFile> {
    launch.missing_files().into_iter().filter_map(|path| read(path, dirs)).collect()
}

fn read(path: &str, dirs: &[&Path]) -> Option<LaunchFile> {
    // A device or a pipe would not end.
    let file = dirs.iter().map(|d| d.join(path)).find(|f| f.is_file())?;
    let text = crate::host::read_text(&file, LIMIT).ok()?;
    Some(LaunchFile { path: path.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_the_command_names_is_read_where_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s.yml"), "model: Qwen/Qwen3-8B\ntensor-parallel-size: 4\n").unwrap();
        let command = Some("vllm serve --config s.yml".to_owned());
        let mut all = [Record { serve_command: command, ..Record::default() }];
        read_beside(&mut all, &[Path::new("/nowhere"), dir.path()]);
        let launch = all[0].launch();
        assert_eq!((launch.model.as_deref(), all[0].files.len()), (Some("Qwen/Qwen3-8B"), 1));
        assert_eq!(launch.integer(&["tensor-parallel-size"]), Some(4));
        let command = Some("vllm serve m --config /dev/zero".to_owned());
        let mut none = [Record { serve_command: command, ..Record::default() }];
        read_beside(&mut none, &[dir.path()]);
        assert!(none[0].files.is_empty() && none[0].launch().problems[0].contains("was not read"));
    }
}
