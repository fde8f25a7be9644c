//! How does a file appear whole or not at all?
//!
//! Written beside its place under a name of its own, flushed to the disk, renamed. A write that fails removes what it
//! wrote; a process that is killed leaves at most a `.partial` file, which the next write of that name replaces.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Writes a file by `write`.
///
/// # Errors
/// Those of the file system; a full disk among them. Then nothing is left of the new file, and an old one is untouched.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(BufWriter<File>) -> io::Result<BufWriter<File>>,
) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let written = File::create(&partial)
        .and_then(|file| write(BufWriter::with_capacity(1 << 18, file)))
        .and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error))
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tokenloom-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_alone() {
        let folder = folder("whole");
        let path = folder.join("file");
        let write = |text: &'static [u8]| move |mut out: BufWriter<File>| out.write_all(text).map(|()| out);
        write_whole(&path, write(b"old")).unwrap();
        let failed = write_whole(&path, |mut out| {
            out.write_all(b"new")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_whole(&path, write(b"newer")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
        assert!(write_whole(&path, write(b"x")).is_err());
    }
}
