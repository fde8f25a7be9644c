//! How are the words of a file used without reading it all?
//!
//! Mapped, so that processes share the pages and only what is looked at is loaded; or copied, so that nothing depends on
//! the file any more.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use tokenloom_decode::draft::index::Words;

/// A mapped file as 32-bit words in the byte order of the machine.
#[derive(Debug)]
struct Mapped {
    map: Mmap,
}

impl AsRef<[u32]> for Mapped {
    #[expect(unsafe_code)]
    fn as_ref(&self) -> &[u32] {
        // SAFETY: any bytes are valid words, and `align_to` gives only what is aligned; a map begins on a page.
        let (_, words, _) = unsafe { self.map.align_to::<u32>() };
        words
    }
}

/// The words of a file, mapped if they are to be used `in_place`, and how many bytes it has: those behind the last whole
/// word are left out.
///
/// # Errors
/// Those of the file system.
pub fn read_words(path: &Path, in_place: bool) -> io::Result<(Arc<dyn Words>, usize)> {
    if !in_place {
        let bytes = fs::read(path)?;
        let words = bytes.as_chunks().0.iter().map(|&word| u32::from_ne_bytes(word));
        return Ok((Arc::new(words.collect::<Vec<_>>()), bytes.len()));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok((Arc::new(Vec::new()), 0));
    }
    map(&file)
}

#[expect(unsafe_code)]
fn map(file: &File) -> io::Result<(Arc<dyn Words>, usize)> {
    // SAFETY: the caller was told not to change the file while it is in use; files are replaced as a whole here.
    let map = unsafe { Mmap::map(file)? };
    let n_bytes = map.len();
    Ok((Arc::new(Mapped { map }), n_bytes))
}
