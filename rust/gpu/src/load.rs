//! Where do a device's kernels come from?
//!
//! The first of these that the driver takes: a prebuilt image for the device's architecture, the cache, the compiler's
//! machine code, the compiler's PTX (for a device newer than the compiler), prebuilt PTX. Whatever each attempt said is
//! kept, so that "no" comes with all its reasons.

use std::fs;
use std::path::PathBuf;

use crate::cache::{Cache, fingerprint};
use crate::driver::{Driver, Module};
use crate::error::{GpuError, GpuErrorKind};
use crate::kernels::{HEADERS, OPTIONS, Unit};
use crate::nvrtc::{Nvrtc, Target};

/// The virtual architecture of PTX: the oldest one that is supported, which every later device runs.
pub const PTX_ARCH: u32 = 75;

/// Where to look.
pub struct Places<'a> {
    /// A folder with `<unit>.sm_<arch>.cubin` and `<unit>.ptx`, if there is one.
    pub prebuilt: Option<PathBuf>,
    /// Compiled kernels of earlier processes.
    pub cache: Cache,
    /// The compiler, or why there is none.
    pub nvrtc: Result<&'a Nvrtc, String>,
}

/// What an image was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Machine code that came with the package.
    Prebuilt,
    /// Machine code that was compiled before.
    Cache,
    /// Machine code, compiled now.
    Compiled,
    /// PTX, compiled now or packaged: the driver made the code, without what is new in the architecture.
    Ptx,
}

/// Load a unit on a device.
///
/// # Errors
/// [`GpuErrorKind::NoImage`] with what every attempt said; [`GpuErrorKind::Capturing`] while `stream` captures a graph.
pub fn load(
    driver: &Driver,
    ordinal: i32,
    unit: &'static Unit,
    places: &Places<'_>,
    stream: u64,
) -> Result<(Module, Origin), GpuError> {
    let arch = driver.arch(ordinal)?;
    let mut attempts: Vec<String> = Vec::new();
    let mut attempt = |name: &str, image: &[u8]| match driver.load(ordinal, unit, image, stream) {
        Ok(module) => Ok(Some(module)),
        Err(error) if *error.kind() == GpuErrorKind::Capturing => Err(error),
        Err(error) => {
            attempts.push(format!("{name}: {error}"));
            Ok(None)
        }
    };
    let prebuilt =
        |file: String| places.prebuilt.as_ref().and_then(|folder| fs::read(folder.join(file)).ok());
    if let Some(image) = prebuilt(format!("{}.sm_{arch}.cubin", unit.name))
        && let Some(module) = attempt("prebuilt", &image)?
    {
        return Ok((module, Origin::Prebuilt));
    }
    let mut compiler_says = None;
    match &places.nvrtc {
        Err(reason) => compiler_says = Some(format!("compiler: {reason}")),
        Ok(nvrtc) => {
            let version = nvrtc.version()?;
            let key = key(unit, Target::Cubin(arch), version);
            if let Some(image) = places.cache.read(key)
                && let Some(module) = attempt("cache", &image)?
            {
                return Ok((module, Origin::Cache));
            }
            match nvrtc.compile(unit, Target::Cubin(arch)) {
                Err(error) => compiler_says = Some(format!("compiler: {error}")),
                Ok(compiled) => {
                    if let Some(module) = attempt("compiled", &compiled.image)? {
                        places.cache.write(key, &compiled.image);
                        return Ok((module, Origin::Compiled));
                    }
                }
            }
            if let Ok(compiled) = nvrtc.compile(unit, Target::Ptx(PTX_ARCH))
                && let Some(module) = attempt("PTX", &compiled.image)?
            {
                return Ok((module, Origin::Ptx));
            }
        }
    }
    if let Some(mut text) = prebuilt(format!("{}.ptx", unit.name)) {
        text.push(0);
        if let Some(module) = attempt("prebuilt PTX", &text)? {
            return Ok((module, Origin::Ptx));
        }
    }
    attempts.extend(compiler_says);
    if let (Ok(nvrtc), Ok(served)) = (&places.nvrtc, driver.version())
        && let Ok((major, minor)) = nvrtc.version()
        && 1000 * major + 10 * minor > served
    {
        attempts.push(format!(
            "the driver serves CUDA {}.{} and the compiler is {major}.{minor}\nhint: a newer driver, or the NVRTC of its \
             version (pip install nvidia-cuda-nvrtc-cu12 for CUDA 12)",
            served / 1000,
            served % 1000 / 10
        ));
    }
    Err(GpuErrorKind::NoImage { unit: unit.name, arch, attempts: attempts.join("; ") }.into())
}

/// The name of an image in the cache: package, source, options, target and compiler.
pub fn key(unit: &Unit, target: Target, (major, minor): (i32, i32)) -> u128 {
    let about = format!("{} {target} {major}.{minor}", env!("CARGO_PKG_VERSION"));
    let headers = HEADERS.iter().flat_map(|(name, text)| [*name, *text]);
    let parts = [about.as_str(), unit.name, unit.text].into_iter().chain(headers).chain(OPTIONS);
    fingerprint(parts.map(str::as_bytes))
}
