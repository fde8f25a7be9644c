//! How is CUDA source compiled without a CUDA toolkit?
//!
//! NVRTC is one library, in the `nvidia-cuda-nvrtc` package that torch installs. It compiles straight to the machine code
//! of one architecture, which any driver of the same major version loads. Half a second a kernel; no device is needed.

use std::ffi::{CString, c_char, c_int};
use std::path::Path;
use std::ptr;

use crate::error::{GpuError, GpuErrorKind};
use crate::kernels::{HEADERS, OPTIONS, Unit};
use crate::library::{Candidate, Opened, functions, open};

/// NVRTC's opaque program.
type Program = *mut std::ffi::c_void;

functions! {
    Functions of "NVRTC" {
        nvrtcVersion: fn(*mut c_int, *mut c_int) -> c_int;
        nvrtcCreateProgram: fn(
            *mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
        ) -> c_int;
        nvrtcDestroyProgram: fn(*mut Program) -> c_int;
        nvrtcCompileProgram: fn(Program, c_int, *const *const c_char) -> c_int;
        nvrtcGetProgramLogSize: fn(Program, *mut usize) -> c_int;
        nvrtcGetProgramLog: fn(Program, *mut c_char) -> c_int;
        nvrtcGetCUBINSize: fn(Program, *mut usize) -> c_int;
        nvrtcGetCUBIN: fn(Program, *mut c_char) -> c_int;
        nvrtcGetPTXSize: fn(Program, *mut usize) -> c_int;
        nvrtcGetPTX: fn(Program, *mut c_char) -> c_int;
    }
}

/// What source is compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The machine code of one architecture: ten times the major plus the minor compute capability.
    Cubin(u32),
    /// Text that a driver, if it is not older than the compiler, makes code from for any later architecture.
    Ptx(u32),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cubin(arch) => write!(f, "sm_{arch}"),
            Self::Ptx(arch) => write!(f, "compute_{arch}"),
        }
    }
}

/// Compiled kernels and what the assembler said about registers and spills.
pub struct Compiled {
    /// An ELF image for one architecture, or PTX that ends with a NUL.
    pub image: Vec<u8>,
    /// The compiler's log.
    pub log: String,
}

/// The run-time compiler.
pub struct Nvrtc {
    functions: Functions,
    opened: Opened,
}

fn checked(call: &'static str, code: c_int) -> Result<(), GpuError> {
    if code == 0 { Ok(()) } else { Err(GpuErrorKind::CallFailed { call, code, name: String::new() }.into()) }
}

fn c_strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<CString> {
    texts.into_iter().map(|text| CString::new(text).unwrap_or_default()).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).collect()
}

/// A program that is destroyed on every way out.
struct Guard<'a> {
    program: Program,
    nvrtc: &'a Nvrtc,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Ok(destroy) = self.nvrtc.functions.nvrtcDestroyProgram() {
            #[allow(unsafe_code)]
            // SAFETY: the program was made by nvrtcCreateProgram and is destroyed once.
            unsafe {
                destroy(&mut self.program);
            }
        }
    }
}

impl Nvrtc {
    /// Open the first of these that is NVRTC.
    ///
    /// # Errors
    /// [`GpuError`] if none can be opened.
    pub fn open(candidates: &[Candidate]) -> Result<Self, GpuError> {
        let opened = open("NVRTC", candidates)?;
        Ok(Self { functions: Functions::find(&opened.library), opened })
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.opened.path
    }

    /// Major and minor version.
    ///
    /// # Errors
    /// [`GpuError`] if the library cannot say.
    pub fn version(&self) -> Result<(i32, i32), GpuError> {
        let (mut major, mut minor) = (0, 0);
        #[allow(unsafe_code)]
        // SAFETY: two out-parameters that live through the call.
        let code = unsafe { self.functions.nvrtcVersion()?(&mut major, &mut minor) };
        checked("nvrtcVersion", code)?;
        Ok((major, minor))
    }

    /// Compile a unit.
    ///
    /// # Errors
    /// [`GpuError`] with the compiler's log.
    pub fn compile(&self, unit: &'static Unit, target: Target) -> Result<Compiled, GpuError> {
        let program = self.create(unit)?;
        let architecture = format!("--gpu-architecture={target}");
        let options = c_strings(OPTIONS.into_iter().chain([architecture.as_str()]));
        #[allow(unsafe_code)]
        // SAFETY: a live program and option strings that live through the call.
        let code = unsafe {
            self.functions.nvrtcCompileProgram()?(
                program.program,
                options.len() as c_int,
                pointers(&options).as_ptr(),
            )
        };
        let log = self.read(
            &program,
            self.functions.nvrtcGetProgramLogSize()?,
            self.functions.nvrtcGetProgramLog()?,
        )?;
        let log = String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n']).to_owned();
        if code != 0 {
            let target = target.to_string();
            return Err(GpuErrorKind::CompileFailed { unit: unit.name, target, log }.into());
        }
        let functions = &self.functions;
        let image = match target {
            Target::Cubin(_) => {
                self.read(&program, functions.nvrtcGetCUBINSize()?, functions.nvrtcGetCUBIN()?)?
            }
            Target::Ptx(_) => self.read(&program, functions.nvrtcGetPTXSize()?, functions.nvrtcGetPTX()?)?,
        };
        Ok(Compiled { image, log })
    }

    fn create(&self, unit: &Unit) -> Result<Guard<'_>, GpuError> {
        let source = c_strings([unit.text, unit.name]);
        let names = c_strings(HEADERS.iter().map(|(name, _)| *name));
        let contents = c_strings(HEADERS.iter().map(|(_, content)| *content));
        let mut program: Program = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: NUL-terminated strings that live through the call, as many names as contents.
        let code = unsafe {
            self.functions.nvrtcCreateProgram()?(
                &mut program,
                source[0].as_ptr(),
                source[1].as_ptr(),
                names.len() as c_int,
                pointers(&contents).as_ptr(),
                pointers(&names).as_ptr(),
            )
        };
        checked("nvrtcCreateProgram", code)?;
        Ok(Guard { program, nvrtc: self })
    }

    fn read(
        &self,
        program: &Guard<'_>,
        size_of: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        copy: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Result<Vec<u8>, GpuError> {
        let mut n_bytes = 0;
        #[allow(unsafe_code)]
        // SAFETY: a live program and an out-parameter.
        checked("nvrtcGet...Size", unsafe { size_of(program.program, &mut n_bytes) })?;
        let mut bytes = vec![0u8; n_bytes];
        #[allow(unsafe_code)]
        // SAFETY: a live program and a buffer of the size it asked for.
        checked("nvrtcGet...", unsafe { copy(program.program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}
