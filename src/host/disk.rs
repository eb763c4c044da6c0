//! Files that are whole or not there, and reads that end.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a file whole or not at all, and returns only when the disk has it.
///
/// The bytes go to a new file of a random name in the same directory, which then takes the place of the old one.
/// The file behind a symbolic link is replaced, not the link; a device or a pipe (`/dev/stdout`) is written to as
/// it is. The permissions of a file that was there are kept, a new one has those of the user's umask.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o666)
}

/// As [`write_whole`]; a new file can be read by this user alone. For what a record holds: whatever slips through the
/// removal of secrets is then not everybody's.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o600)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = target.metadata().ok();
    if before.as_ref().is_some_and(|m| !m.is_file()) {
        return OpenOptions::new().write(true).open(&target)?.write_all(bytes);
    }
    let dir = directory_of(&target);
    let permissions = match &before {
        Some(meta) => meta.permissions(),
        None => std::os::unix::fs::PermissionsExt::from_mode(mode),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".dyno-")
        .suffix(".part")
        .permissions(permissions)
        .tempfile_in(&dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|e| e.error)?;
    // The new name must survive a power cut as well as the contents; not every file system can promise that.
    let _ = File::open(&dir).and_then(|d| d.sync_all());
    Ok(())
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().filter(|d| !d.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The whole file, or an error when it holds more than `limit` bytes: an input of the wrong kind must not fill the
/// memory.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let what = format!("the file holds more than the {} MiB that are read", limit >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// The whole file as UTF-8 text, under the same bound.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_bounded(path, limit)?)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("the file is not UTF-8: {e}")))
}

/// A checksum of a file's contents: the first 16 hexadecimal digits of their SHA-256.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => digest.update(&piece[..n]),
        }
    }
    Ok(digest.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect())
}

/// The most that is read of a file of settings: data files, profiles, specifications, a model's `config.json`.
pub const SETTINGS_LIMIT: u64 = 64 << 20;
/// The most that is read of a file of records or of a log.
pub const RECORDS_LIMIT: u64 = 256 << 20;
/// The most that is read of a workload's file: ShareGPT's own is 640 MiB.
pub const WORKLOAD_LIMIT: u64 = 1 << 30;

/// A new, empty file that only this user can read. A symbolic link in its place is an error: somebody else may have
/// put it there.
pub fn private_file(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).custom_flags(no_follow).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.json");
        write_whole(&file, b"one").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        write_whole(&link, b"two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        let private = dir.path().join("b.json");
        write_private(&private, b"mine").unwrap();
        assert_eq!(private.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&private).unwrap();
        write_whole(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!Path::new("/dev/null").is_file());
        assert!(write_whole(&dir.path().join("no/such"), b"").is_err());
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, b"12345").unwrap();
        assert_eq!(read_bounded(&file, 5).unwrap(), b"12345");
        assert_eq!(read_bounded(&file, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // A file that never ends.
        assert!(read_bounded(Path::new("/dev/zero"), 1000).is_err());
    }

    #[test]
    fn a_private_file_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link) = (dir.path().join("victim"), dir.path().join("link"));
        std::fs::write(&victim, b"precious").unwrap();
        symlink(&victim, &link).unwrap();
        assert!(private_file(&link).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        let mine = dir.path().join("mine");
        private_file(&mine).unwrap();
        assert_eq!(mine.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
