//! Private directories for the temporary files of one launch.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Holds the mark of the launch that the directory belongs to.
const MARK: &str = ".dyno-mark";
const PREFIX: &str = "dyno-";

/// A name in `root` that nobody can guess.
pub(super) fn unused_name(root: &Path) -> PathBuf {
    let letters: String = std::iter::repeat_with(|| {
        let n = rand::random_range(0..36u32);
        char::from_digit(n, 36).unwrap_or('0')
    })
    .take(10)
    .collect();
    root.join(format!("{PREFIX}{letters}"))
}

/// Makes the directory, for this user alone. One that is there already is an error: it is somebody else's.
pub(super) fn make(dir: &Path, mark: &str) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(dir)?;
    crate::host::private_file(&dir.join(MARK))?.write_all(mark.as_bytes())
}

/// Removes the directory if it is ours: a directory of this user's that no one else can enter, of our kind of
/// name, and either empty or with this mark in it. Anything else is left as it is.
pub(super) fn remove(dir: &Path, mark: &str) {
    let named = dir.file_name().is_some_and(|n| n.to_string_lossy().starts_with(PREFIX));
    let me = rustix::process::geteuid().as_raw();
    let private =
        dir.symlink_metadata().is_ok_and(|m| m.is_dir() && m.uid() == me && m.mode().trailing_zeros() >= 6);
    if !named || !private || mark.is_empty() {
        return;
    }
    let marked = dir.join(MARK);
    let ours = marked.symlink_metadata().is_ok_and(|m| m.is_file())
        && crate::host::read_bounded(&marked, 4096).is_ok_and(|b| b == mark.as_bytes());
    // Death between the making of the directory and that of its mark leaves an empty one.
    let _ = if ours { std::fs::remove_dir_all(dir) } else { std::fs::remove_dir(dir) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_directory_of_ours_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = unused_name(root.path());
        make(&dir, "1-2/x").unwrap();
        assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
        assert!(make(&dir, "1-2/x").is_err(), "never into one that is there");
        remove(&dir, "another/mark");
        assert!(dir.exists());
        let link = root.path().join("dyno-link");
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        remove(&link, "1-2/x");
        assert!(dir.exists());
        remove(&dir, "1-2/x");
        assert!(!dir.exists());
        // A directory of the user's own, named in a forged lease.
        let home = root.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("thesis"), "").unwrap();
        remove(&home, "1-2/x");
        assert!(home.join("thesis").exists());
    }
}
