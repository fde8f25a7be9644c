//! How are words trained from that lie on disk?
//!
//! As sorted runs that are merged while they are read. Memory: one buffer a run. Many runs are merged into one first, so
//! that the buffers stay few.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use tokenloom_tokenize::train::{
    RunReader, RunWriter, TrainError, TrainErrorKind, Visit, WordSource, merge_runs,
};

use crate::write_whole;

/// Words with their counts in files.
#[derive(Clone, Debug)]
pub struct SpilledWords {
    paths: Vec<PathBuf>,
}

impl SpilledWords {
    const BUFFER_BYTES: usize = 1 << 16;

    /// The words of some runs. They are opened when they are read.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn readers(&self) -> io::Result<Vec<RunReader<BufReader<File>>>> {
        let open =
            |path: &PathBuf| RunReader::new(BufReader::with_capacity(Self::BUFFER_BYTES, File::open(path)?));
        self.paths.iter().map(open).collect()
    }

    /// Writes one run of all words.
    ///
    /// # Errors
    /// Those of the file system; invalid data if a file is no run.
    pub fn merge_into(&self, path: &Path) -> io::Result<()> {
        write_whole(path, |out| {
            let mut writer = RunWriter::new(out)?;
            merge_runs(self.readers()?, |word, count| writer.push(word, count))?;
            writer.finish()
        })
    }
}

/// Carries both kinds of errors through the merge.
enum Failure {
    File(io::Error),
    Training(TrainError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl WordSource for SpilledWords {
    fn for_each(&self, visit: &mut Visit<'_>) -> Result<(), TrainError> {
        let mut all =
            || merge_runs(self.readers()?, |word, count| visit(word, count).map_err(Failure::Training));
        match all() {
            Ok(()) => Ok(()),
            Err(Failure::Training(error)) => Err(error),
            Err(Failure::File(error)) => Err(TrainErrorKind::Words { message: error.to_string() }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use tokenloom_tokenize::train::WordCounts;

    use super::*;

    #[test]
    fn runs_are_one_source() {
        let folder = std::env::temp_dir().join(format!("tokenloom-words-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (mut paths, mut sums) = (Vec::new(), BTreeMap::new());
        for run in 0..3u64 {
            let mut words = WordCounts::new();
            for at in 0..50u64 {
                let (word, count) = (format!("{}", at * (run + 1)).into_bytes(), at + 1);
                words.add(&word, count);
                *sums.entry(word).or_insert(0) += count;
            }
            paths.push(folder.join(format!("{run}")));
            write_whole(&paths[run as usize], |out| words.write_sorted(out)).unwrap();
        }
        let told = |words: &SpilledWords| {
            let mut told = BTreeMap::new();
            words.for_each(&mut |word, count| {
                assert_eq!(told.insert(word.to_vec(), count), None);
                Ok(())
            })?;
            Ok::<_, TrainError>(told)
        };
        let words = SpilledWords::new(paths.clone());
        assert_eq!(told(&words).unwrap(), sums);
        let one = folder.join("all");
        words.merge_into(&one).unwrap();
        assert_eq!(told(&SpilledWords::new(vec![one])).unwrap(), sums);
        fs::write(&paths[1], b"tlwords1\x01").unwrap();
        assert!(matches!(told(&words).unwrap_err().kind(), TrainErrorKind::Words { .. }));
        let stop = |_: &[u8], _| Err(TrainErrorKind::Interrupted.into());
        let one = SpilledWords::new(paths[..1].to_vec());
        assert_eq!(one.for_each(&mut { stop }).unwrap_err().kind(), &TrainErrorKind::Interrupted);
        fs::remove_dir_all(&folder).unwrap();
    }
}
