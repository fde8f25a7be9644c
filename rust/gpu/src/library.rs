//! Where is a shared library that may or may not be on this machine?

use std::error::Error;
use std::path::PathBuf;

use libloading::Library;

use crate::error::{GpuError, GpuErrorKind};

/// Files to open in order; the last is the library itself. NVRTC's own builtins come before it because the pip package
/// has no run path to find them by.
pub type Candidate = Vec<PathBuf>;

/// A library and what had to be opened before it.
pub(crate) struct Opened {
    pub(crate) library: Library,
    pub(crate) path: PathBuf,
    _before: Vec<Library>,
}

/// Open the first candidate that can be opened.
pub(crate) fn open(name: &'static str, candidates: &[Candidate]) -> Result<Opened, GpuError> {
    let mut reason = String::from("nothing to try");
    for candidate in candidates {
        match open_all(candidate) {
            Ok(mut libraries) => {
                if let (Some(library), Some(path)) = (libraries.pop(), candidate.last()) {
                    return Ok(Opened { library, path: path.clone(), _before: libraries });
                }
            }
            Err(error) => reason = error.source().map_or_else(|| error.to_string(), ToString::to_string),
        }
    }
    Err(GpuErrorKind::LibraryNotFound { library: name, n_candidates: candidates.len(), reason }.into())
}

fn open_all(paths: &[PathBuf]) -> Result<Vec<Library>, libloading::Error> {
    let open_one = |path: &PathBuf| {
        #[allow(unsafe_code)]
        // SAFETY: the initialisers of the CUDA driver and of NVRTC may run at any time and on any thread; a path that
        // names another library is the caller's choice, as it is for LD_LIBRARY_PATH.
        unsafe {
            Library::new(path)
        }
    };
    paths.iter().map(open_one).collect()
}

/// Function pointers of a library, each absent or present, with an accessor that names what is missing.
macro_rules! functions {
    ($(#[$attribute:meta])* $table:ident of $library:literal { $($name:ident: fn($($type:ty),*) -> $output:ty;)* }) => {
        $(#[$attribute])*
        #[allow(non_snake_case)]
        pub(crate) struct $table {
            $($name: Option<unsafe extern "C" fn($($type),*) -> $output>,)*
        }

        #[allow(non_snake_case)]
        impl $table {
            pub(crate) fn find(library: &libloading::Library) -> Self {
                #[allow(unsafe_code)]
                // SAFETY: the types are those of the CUDA headers; the pointers are used while the library is open.
                unsafe {
                    Self {
                        $($name: library.get(concat!(stringify!($name), "\0").as_bytes()).ok().map(|symbol| *symbol),)*
                    }
                }
            }

            $(pub(crate) fn $name(
                &self,
            ) -> Result<unsafe extern "C" fn($($type),*) -> $output, crate::error::GpuError> {
                self.$name.ok_or_else(|| {
                    crate::error::GpuErrorKind::SymbolNotFound { library: $library, symbol: stringify!($name) }.into()
                })
            })*
        }
    };
}

pub(crate) use functions;
