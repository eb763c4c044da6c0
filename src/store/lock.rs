//! A lock against two `dyno` in one directory.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Held while a campaign runs; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    pub fn acquire(dir: &Path) -> Result<DirLock> {
        let path = dir.join("lock");
        let unwritable = |e: std::io::Error| {
            Error::usage("the output directory cannot be written")
                .at(path.display())
                .source(e)
                .hint("choose another --out")
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(unwritable)?;
        if file.try_lock().is_err() {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::failed("another dyno is at work in this directory")
                .at(dir.display())
                .hint(format!("wait for process {} or stop it, or choose another --out", holder.trim())));
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unwritable)?;
        Ok(DirLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path()).unwrap();
        let e = DirLock::acquire(dir.path()).unwrap_err();
        assert!(e.to_string().contains(&std::process::id().to_string()), "{e}");
        drop(first);
        DirLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_bad_usage() {
        let e = DirLock::acquire(Path::new("/proc/no-such")).unwrap_err();
        assert_eq!(e.kind.exit_code(), 2);
    }
}
