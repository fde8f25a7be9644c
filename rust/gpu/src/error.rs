//! What can go wrong between this process and a GPU?

/// A GPU that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct GpuError {
    kind: GpuErrorKind,
}

/// The reasons behind a [`GpuError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuErrorKind {
    /// No candidate could be opened.
    #[error("expected {library} at one of {n_candidates} places, found none; the last said: {reason}")]
    LibraryNotFound {
        /// What was looked for.
        library: &'static str,
        /// Places looked at.
        n_candidates: usize,
        /// The loader's words about the last place.
        reason: String,
    },
    /// The library is too old or is another one.
    #[error("expected the symbol {symbol} in {library}, found none")]
    SymbolNotFound {
        /// The library.
        library: &'static str,
        /// The symbol.
        symbol: &'static str,
    },
    /// A call returned an error.
    #[error("{call} failed with error {code}{name}")]
    CallFailed {
        /// The function of the driver or of NVRTC.
        call: &'static str,
        /// Its result.
        code: i32,
        /// The result's name, if the library has one, after a space.
        name: String,
    },
    /// The kernel source does not compile for this architecture.
    #[error("the kernels of {unit} do not compile for {target}:\n{log}")]
    CompileFailed {
        /// The translation unit.
        unit: &'static str,
        /// What it was compiled for.
        target: String,
        /// The compiler's words.
        log: String,
    },
    /// No image of a unit could be had that the device takes.
    #[error("expected kernels of {unit} that run on sm_{arch}, found none: {attempts}")]
    NoImage {
        /// The translation unit.
        unit: &'static str,
        /// Compute capability, ten times the major plus the minor number.
        arch: u32,
        /// What was tried and what each attempt said.
        attempts: String,
    },
    /// There is no such unit or kernel.
    #[error("expected the name of a kernel or of its unit, found {name:?}")]
    UnknownKernel {
        /// What was asked for.
        name: String,
    },
    /// The arguments are not those of the kernel.
    #[error("expected {expected} arguments of {kernel} that fit their types, found {found}")]
    Arguments {
        /// The kernel.
        kernel: &'static str,
        /// How many it takes.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A module would have to be loaded while a graph is captured.
    #[error(
        "the kernels are not loaded on this device and cannot be while a graph is captured\nhint: tl.gpu.warmup() or one call before"
    )]
    Capturing,
}

impl GpuError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &GpuErrorKind {
        &self.kind
    }
}

impl From<GpuErrorKind> for GpuError {
    fn from(kind: GpuErrorKind) -> Self {
        Self { kind }
    }
}
