//! What GPUs are there, and how is a kernel started on one?
//!
//! The driver is a library that comes with the GPU's kernel module, so it is opened at run time and its absence is an
//! ordinary answer. Kernels run in the device's primary context, the one torch uses, on a stream of the caller's; nothing
//! is allocated, copied or waited for here.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr;

use crate::error::{GpuError, GpuErrorKind};
use crate::kernels::{BLOCK_THREADS, SAMPLE};
use crate::library::{Candidate, Opened, functions, open};

type Context = *mut c_void;
type Module = *mut c_void;
type Function = *mut c_void;
type Stream = *mut c_void;

functions! {
    Functions of "the CUDA driver" {
        cuInit: fn(c_uint) -> c_int;
        cuDriverGetVersion: fn(*mut c_int) -> c_int;
        cuGetErrorName: fn(c_int, *mut *const c_char) -> c_int;
        cuDeviceGetCount: fn(*mut c_int) -> c_int;
        cuDeviceGet: fn(*mut c_int, c_int) -> c_int;
        cuDeviceGetName: fn(*mut c_char, c_int, c_int) -> c_int;
        cuDeviceGetAttribute: fn(*mut c_int, c_int, c_int) -> c_int;
        cuDevicePrimaryCtxRetain: fn(*mut Context, c_int) -> c_int;
        cuCtxGetCurrent: fn(*mut Context) -> c_int;
        cuCtxSetCurrent: fn(Context) -> c_int;
        cuModuleLoadData: fn(*mut Module, *const c_void) -> c_int;
        cuModuleGetFunction: fn(*mut Function, Module, *const c_char) -> c_int;
        cuStreamIsCapturing: fn(Stream, *mut c_int) -> c_int;
        cuLaunchKernel: fn(
            Function, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Stream, *mut *mut c_void, *mut *mut c_void
        ) -> c_int;
    }
}

const MULTIPROCESSOR_COUNT: c_int = 16;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number among the visible ones.
    pub ordinal: i32,
    /// Its name.
    pub name: String,
    /// Compute capability: ten times the major plus the minor number.
    pub arch: u32,
    /// Multiprocessors.
    pub n_multiprocessors: u32,
}

/// The CUDA driver, initialised.
pub struct Driver {
    functions: Functions,
    _opened: Opened,
}

/// The sampling kernel, loaded on one device. It stays loaded: unloading a module breaks graphs that hold it.
pub struct SampleKernel {
    function: usize,
    context: usize,
}

/// The arguments of the sampling kernel: addresses on the device, row-major arrays with one element or row a batch row.
#[derive(Debug, Clone, Copy)]
pub struct SampleArguments {
    /// f32 `[n_rows, n_vocab]`.
    pub logits: u64,
    /// Elements between two rows of `logits`.
    pub row_stride: i64,
    /// Columns.
    pub n_vocab: u32,
    /// u32 `[n_rows, ceil(n_vocab / 32)]`, or 0.
    pub mask: u64,
    /// Words between two rows of `mask`; 0 if one serves all.
    pub mask_stride: i64,
    /// f32, i64, f64, f64, f64: temperature, top-k, top-p, min-p, typical-p.
    pub rules: [u64; 5],
    /// u64.
    pub seeds: u64,
    /// u64.
    pub positions: u64,
    /// The purpose word of all rows.
    pub purpose: u32,
    /// i64, f32, i8, f32: tokens, log-probabilities, statuses, margins.
    pub outputs: [u64; 4],
}

impl Driver {
    /// Open the first of these that is the driver and initialise it.
    ///
    /// # Errors
    /// [`GpuError`] if there is no driver, or none that starts.
    pub fn open(candidates: &[Candidate]) -> Result<Self, GpuError> {
        let opened = open("the CUDA driver", candidates)?;
        let driver = Self { functions: Functions::find(&opened.library), _opened: opened };
        #[allow(unsafe_code)]
        // SAFETY: may be called any number of times from any thread.
        driver.checked("cuInit", unsafe { driver.functions.cuInit()?(0) })?;
        Ok(driver)
    }

    /// The CUDA version the driver serves, 1000 major + 10 minor.
    ///
    /// # Errors
    /// [`GpuError`] if the driver does not say.
    pub fn version(&self) -> Result<i32, GpuError> {
        let mut version = 0;
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter.
        self.checked("cuDriverGetVersion", unsafe { self.functions.cuDriverGetVersion()?(&mut version) })?;
        Ok(version)
    }

    /// The visible GPUs.
    ///
    /// # Errors
    /// [`GpuError`] if the driver does not say.
    pub fn devices(&self) -> Result<Vec<Device>, GpuError> {
        let mut n_devices = 0;
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter.
        self.checked("cuDeviceGetCount", unsafe { self.functions.cuDeviceGetCount()?(&mut n_devices) })?;
        (0..n_devices).map(|ordinal| self.device(ordinal)).collect()
    }

    fn device(&self, ordinal: i32) -> Result<Device, GpuError> {
        let handle = self.handle(ordinal)?;
        let mut name = [0u8; 128];
        #[allow(unsafe_code)]
        // SAFETY: a buffer and its length.
        let code = unsafe {
            self.functions.cuDeviceGetName()?(name.as_mut_ptr().cast(), name.len() as c_int, handle)
        };
        self.checked("cuDeviceGetName", code)?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let major = self.attribute(handle, COMPUTE_CAPABILITY_MAJOR)?;
        let minor = self.attribute(handle, COMPUTE_CAPABILITY_MINOR)?;
        Ok(Device {
            ordinal,
            name: String::from_utf8_lossy(name).into_owned(),
            arch: (10 * major + minor) as u32,
            n_multiprocessors: self.attribute(handle, MULTIPROCESSOR_COUNT)? as u32,
        })
    }

    fn handle(&self, ordinal: i32) -> Result<c_int, GpuError> {
        let mut handle = 0;
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter.
        self.checked("cuDeviceGet", unsafe { self.functions.cuDeviceGet()?(&mut handle, ordinal) })?;
        Ok(handle)
    }

    fn attribute(&self, handle: c_int, attribute: c_int) -> Result<i32, GpuError> {
        let mut value = 0;
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter.
        let code = unsafe { self.functions.cuDeviceGetAttribute()?(&mut value, attribute, handle) };
        self.checked("cuDeviceGetAttribute", code)?;
        Ok(value)
    }

    /// Load compiled kernels on a device, once for the life of the process.
    ///
    /// # Errors
    /// [`GpuError`] if the image does not fit the device, or while `stream` captures a graph.
    pub fn load_sample(&self, ordinal: i32, image: &[u8], stream: u64) -> Result<SampleKernel, GpuError> {
        if self.is_capturing(stream)? {
            return Err(GpuErrorKind::Capturing.into());
        }
        let name = CString::new(SAMPLE).unwrap_or_default();
        let mut context: Context = ptr::null_mut();
        let handle = self.handle(ordinal)?;
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter; the context is kept for ever, as torch keeps it.
        let code = unsafe { self.functions.cuDevicePrimaryCtxRetain()?(&mut context, handle) };
        self.checked("cuDevicePrimaryCtxRetain", code)?;
        let function = self.within(context, || {
            let (mut module, mut function): (Module, Function) = (ptr::null_mut(), ptr::null_mut());
            #[allow(unsafe_code)]
            // SAFETY: the driver checks the ELF image and copies it.
            let code = unsafe { self.functions.cuModuleLoadData()?(&mut module, image.as_ptr().cast()) };
            self.checked("cuModuleLoadData", code)?;
            #[allow(unsafe_code)]
            // SAFETY: a loaded module and a NUL-terminated name.
            let code = unsafe { self.functions.cuModuleGetFunction()?(&mut function, module, name.as_ptr()) };
            self.checked("cuModuleGetFunction", code)?;
            Ok(function)
        })?;
        Ok(SampleKernel { function: function as usize, context: context as usize })
    }

    /// Start the sampling kernel on `stream`: one block a row.
    ///
    /// # Errors
    /// [`GpuError`] if the launch is refused.
    ///
    /// # Safety
    /// The addresses must be those of arrays on the kernel's device with the documented types and at least `n_rows` rows,
    /// which stay allocated until the stream has passed the launch.
    #[allow(unsafe_code)]
    pub unsafe fn launch_sample(
        &self,
        kernel: &SampleKernel,
        mut arguments: SampleArguments,
        n_rows: u32,
        stream: u64,
    ) -> Result<(), GpuError> {
        if n_rows == 0 {
            return Ok(());
        }
        fn address<T>(value: &mut T) -> *mut c_void {
            ptr::from_mut(value).cast()
        }
        let [temperature, top_k, top_p, min_p, typical_p] = &mut arguments.rules;
        let [tokens, log_probs, statuses, margins] = &mut arguments.outputs;
        let mut parameters = [
            address(&mut arguments.logits),
            address(&mut arguments.row_stride),
            address(&mut arguments.n_vocab),
            address(&mut arguments.mask),
            address(&mut arguments.mask_stride),
            address(temperature),
            address(top_k),
            address(top_p),
            address(min_p),
            address(typical_p),
            address(&mut arguments.seeds),
            address(&mut arguments.positions),
            address(&mut arguments.purpose),
            address(tokens),
            address(log_probs),
            address(statuses),
            address(margins),
        ];
        self.within(kernel.context as Context, || {
            // SAFETY: the parameters are those of the kernel in number, order and size; the caller vouches for the arrays.
            let code = unsafe {
                self.functions.cuLaunchKernel()?(
                    kernel.function as Function,
                    n_rows,
                    1,
                    1,
                    BLOCK_THREADS,
                    1,
                    1,
                    0,
                    stream as Stream,
                    parameters.as_mut_ptr(),
                    ptr::null_mut(),
                )
            };
            self.checked("cuLaunchKernel", code)
        })
    }

    /// Is `stream` recording a graph?
    ///
    /// # Errors
    /// [`GpuError`] if the driver does not know the stream.
    fn is_capturing(&self, stream: u64) -> Result<bool, GpuError> {
        let mut status = 0;
        let mut context: Context = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter.
        self.checked("cuCtxGetCurrent", unsafe { self.functions.cuCtxGetCurrent()?(&mut context) })?;
        if context.is_null() {
            return Ok(false);
        }
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter; an unknown stream is an error code.
        let code = unsafe { self.functions.cuStreamIsCapturing()?(stream as Stream, &mut status) };
        self.checked("cuStreamIsCapturing", code)?;
        Ok(status != 0)
    }

    /// Run `work` with `context` current and put back the one that was.
    fn within<T>(&self, context: Context, work: impl FnOnce() -> Result<T, GpuError>) -> Result<T, GpuError> {
        let mut previous: Context = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter.
        self.checked("cuCtxGetCurrent", unsafe { self.functions.cuCtxGetCurrent()?(&mut previous) })?;
        if previous == context {
            return work();
        }
        let set = self.functions.cuCtxSetCurrent()?;
        #[allow(unsafe_code)]
        // SAFETY: a retained primary context.
        self.checked("cuCtxSetCurrent", unsafe { set(context) })?;
        let result = work();
        #[allow(unsafe_code)]
        // SAFETY: the context that was current, or none.
        self.checked("cuCtxSetCurrent", unsafe { set(previous) })?;
        result
    }

    fn checked(&self, call: &'static str, code: c_int) -> Result<(), GpuError> {
        if code == 0 {
            return Ok(());
        }
        let mut name: *const c_char = ptr::null();
        if let Ok(name_of) = self.functions.cuGetErrorName() {
            #[allow(unsafe_code)]
            // SAFETY: an out-parameter.
            unsafe {
                name_of(code, &mut name);
            }
        }
        let name = if name.is_null() {
            String::new()
        } else {
            #[allow(unsafe_code)]
            // SAFETY: a static string of the driver's.
            let name = unsafe { std::ffi::CStr::from_ptr(name) };
            format!(" ({})", name.to_string_lossy())
        };
        Err(GpuErrorKind::CallFailed { call, code, name }.into())
    }
}
