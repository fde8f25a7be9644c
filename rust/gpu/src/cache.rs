//! Where do compiled kernels wait for the next process?
//!
//! One file an image, named by a fingerprint of everything the image depends on, in a folder that the caller names. A file
//! is written beside its place and renamed, so a reader sees a whole file or none, whoever else is writing; it begins with
//! a fingerprint of its content, so a damaged file is no file. Files that were not used for longest go when the folder is
//! larger than its limit. Nothing here is an error: a cache that cannot be read or written is an empty one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

const MAGIC: &[u8; 16] = b"tokenloom cubin\n";
const SUFFIX: &str = "cubin";

/// A folder of compiled kernels.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

impl Cache {
    /// The cache in `folder`, which need not exist yet, of at most `max_bytes`.
    pub fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self { folder, max_bytes }
    }

    /// The file of a key.
    pub fn path(&self, key: u128) -> PathBuf {
        self.folder.join(format!("{key:032x}.{SUFFIX}"))
    }

    /// The image that was stored under a key, whole or not at all.
    pub fn read(&self, key: u128) -> Option<Vec<u8>> {
        let path = self.path(key);
        let image = unwrapped(&fs::read(&path).ok()?)?;
        // When it was last used; a read-only folder does not keep it, and loses nothing to the limit either.
        if let Ok(file) = File::options().append(true).open(&path) {
            file.set_modified(SystemTime::now()).ok();
        }
        Some(image)
    }

    /// Store an image, and forget what was not used for longest. Says whether it is there.
    pub fn write(&self, key: u128, image: &[u8]) -> bool {
        static N_WRITTEN: AtomicU64 = AtomicU64::new(0);
        let n_written = N_WRITTEN.fetch_add(1, Ordering::Relaxed);
        let path = self.path(key);
        let beside = self.folder.join(format!("{key:032x}.{}.{n_written}.part", std::process::id()));
        let contents = [MAGIC.as_slice(), &fingerprint([image]).to_le_bytes(), image].concat();
        let stored = fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(&beside, contents))
            .and_then(|()| fs::rename(&beside, &path));
        if stored.is_err() {
            fs::remove_file(&beside).ok();
            return false;
        }
        self.shrink(&path);
        true
    }

    /// Remove the files that were not used for longest until the rest fits; `newest` stays.
    fn shrink(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let about = path.metadata().ok()?;
                let is_ours = path.extension().is_some_and(|suffix| suffix == SUFFIX);
                is_ours.then(|| Some((about.modified().ok()?, about.len(), path)))?
            })
            .collect();
        files.sort_unstable();
        let mut n_bytes: u64 = files.iter().map(|(_, n_bytes, _)| n_bytes).sum();
        for (_, n_freed, path) in files {
            if n_bytes <= self.max_bytes {
                return;
            }
            if path != newest && fs::remove_file(path).is_ok() {
                n_bytes -= n_freed;
            }
        }
    }
}

fn unwrapped(contents: &[u8]) -> Option<Vec<u8>> {
    let (sum, image) = contents.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
    (u128::from_le_bytes(*sum) == fingerprint([image])).then(|| image.to_vec())
}

/// A fingerprint of byte strings (FNV-1a of 128 bits, a length before each): against accidents, not against malice.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
    let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    parts.into_iter().fold(0x6C62_272E_07BB_0142_62B8_2175_6295_C58D, |hash, part| {
        part.iter().fold((part.len() as u64).to_le_bytes().iter().fold(hash, step), step)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tokenloom-cache-{}-{name}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        folder
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_seen() {
        let cache = Cache::new(folder("damage"), 1 << 20);
        assert_eq!(cache.read(7), None);
        assert!(cache.write(7, b"image"));
        assert_eq!(cache.read(7), Some(b"image".to_vec()));
        let whole = fs::read(cache.path(7)).unwrap();
        for n_bytes in 0..whole.len() {
            fs::write(cache.path(7), &whole[..n_bytes]).unwrap();
            assert_eq!(cache.read(7), None, "cut to {n_bytes}");
            let mut flipped = whole.clone();
            flipped[n_bytes] ^= 1;
            fs::write(cache.path(7), flipped).unwrap();
            assert_eq!(cache.read(7), None, "flipped at {n_bytes}");
        }
        assert!(cache.write(7, b"again"));
        assert_eq!(cache.read(7), Some(b"again".to_vec()));
        fs::remove_dir_all(&cache.folder).unwrap();
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let cache = Cache::new(folder("limit"), 3 * (32 + 100));
        for key in 0..3u32 {
            assert!(cache.write(key.into(), &[0; 100]));
            let then = SystemTime::now() - Duration::from_secs(u64::from(100 - key));
            File::options().append(true).open(cache.path(key.into())).unwrap().set_modified(then).unwrap();
        }
        assert!(cache.read(0).is_some());
        assert!(cache.write(3, &[0; 100]));
        let kept: Vec<u128> = (0..4).filter(|&key| cache.read(key).is_some()).collect();
        assert_eq!(kept, [0, 2, 3]);
        // One that is too large alone stays until the next.
        assert!(cache.write(4, &[0; 10_000]));
        assert!(cache.read(4).is_some() && cache.read(3).is_none());
        fs::remove_dir_all(&cache.folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_empty_cache() {
        let place = folder("blocked");
        fs::write(&place, "a file").unwrap();
        let cache = Cache::new(place.clone(), 1 << 20);
        assert!(!cache.write(1, b"image"));
        assert_eq!(cache.read(1), None);
        fs::remove_file(place).unwrap();
    }

    #[test]
    fn many_writers_leave_whole_files() {
        let cache = Cache::new(folder("many"), 1 << 20);
        std::thread::scope(|scope| {
            for n_thread in 0..8u8 {
                let cache = &cache;
                scope.spawn(move || {
                    for _ in 0..20 {
                        assert!(cache.write(1, &[n_thread; 5000]));
                        let image = cache.read(1).expect("a whole file");
                        assert!(image.len() == 5000 && image.iter().all(|byte| *byte == image[0]));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1);
        fs::remove_dir_all(&cache.folder).unwrap();
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| fingerprint(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&[]), of(&[""]));
        assert_eq!(of(&["x"]), of(&["x"]));
    }
}
