//! What GPUs are there, and how is a kernel started on one?
//!
//! The driver is a library that comes with the GPU's kernel module, so it is opened at run time and its absence is an
//! ordinary answer. Kernels run in the device's primary context, the one torch uses, on a stream of the caller's; nothing
//! is allocated, copied or waited for here.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr;

use crate::error::{GpuError, GpuErrorKind};
use crate::kernels::{Kernel, Parameter, Unit};
use crate::library::{Candidate, Opened, functions, open};

type Context = *mut c_void;
type ModuleHandle = *mut c_void;
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
        cuModuleLoadData: fn(*mut ModuleHandle, *const c_void) -> c_int;
        cuModuleGetFunction: fn(*mut Function, ModuleHandle, *const c_char) -> c_int;
        cuFuncSetAttribute: fn(Function, c_int, c_int) -> c_int;
        cuStreamIsCapturing: fn(Stream, *mut c_int) -> c_int;
        cuLaunchKernel: fn(
            Function, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Stream, *mut *mut c_void, *mut *mut c_void
        ) -> c_int;
        cuLaunchKernelEx: fn(*const LaunchConfig, Function, *mut *mut c_void, *mut *mut c_void) -> c_int;
    }
}

/// `CUlaunchConfig` of the CUDA headers.
#[repr(C)]
pub(crate) struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    n_shared_bytes: c_uint,
    stream: Stream,
    attributes: *const LaunchAttribute,
    n_attributes: c_uint,
}

/// `CUlaunchAttribute`: a number, padding to eight bytes, 64 bytes of value that may be a pointer.
#[repr(C, align(8))]
pub(crate) struct LaunchAttribute {
    id: c_uint,
    padding: c_uint,
    value: [c_uint; 16],
}

const LAUNCH_CLUSTER_DIMENSION: c_uint = 4;
const MAX_DYNAMIC_SHARED_BYTES: c_int = 8;

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

/// A unit's kernels, loaded on one device. They stay loaded: unloading a module breaks graphs that hold it.
#[derive(Debug)]
pub struct Module {
    context: usize,
    functions: Vec<(&'static Kernel, usize)>,
}

impl Module {
    fn kernel(&self, name: &str) -> Result<(&'static Kernel, usize), GpuError> {
        let found = self.functions.iter().find(|(kernel, _)| kernel.name == name);
        found.copied().ok_or_else(|| GpuErrorKind::UnknownKernel { name: name.to_owned() }.into())
    }
}

/// How many blocks and threads a launch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Blocks along x and y.
    pub grid: [u32; 2],
    /// Threads of a block, a multiple of 32.
    pub n_threads: u32,
    /// Blocks along x that run together and see each other's shared memory; 1 where the architecture has no clusters.
    pub n_cluster: u32,
    /// Shared memory of a block besides what the kernel declares.
    pub n_shared_bytes: u32,
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
        Ok(Device {
            ordinal,
            name: String::from_utf8_lossy(name).into_owned(),
            arch: self.arch(ordinal)?,
            n_multiprocessors: self.attribute(handle, MULTIPROCESSOR_COUNT)? as u32,
        })
    }

    /// The compute capability of a device: ten times the major plus the minor number.
    ///
    /// # Errors
    /// [`GpuError`] if there is no such device.
    pub fn arch(&self, ordinal: i32) -> Result<u32, GpuError> {
        let handle = self.handle(ordinal)?;
        let major = self.attribute(handle, COMPUTE_CAPABILITY_MAJOR)?;
        Ok((10 * major + self.attribute(handle, COMPUTE_CAPABILITY_MINOR)?) as u32)
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
    pub fn load(
        &self,
        ordinal: i32,
        unit: &'static Unit,
        image: &[u8],
        stream: u64,
    ) -> Result<Module, GpuError> {
        let mut context: Context = ptr::null_mut();
        let handle = self.handle(ordinal)?;
        #[allow(unsafe_code)]
        // SAFETY: an out-parameter; the context is kept for ever, as torch keeps it.
        let code = unsafe { self.functions.cuDevicePrimaryCtxRetain()?(&mut context, handle) };
        self.checked("cuDevicePrimaryCtxRetain", code)?;
        self.within(context, || {
            if self.is_capturing(stream)? {
                return Err(GpuErrorKind::Capturing.into());
            }
            let mut module: ModuleHandle = ptr::null_mut();
            #[allow(unsafe_code)]
            // SAFETY: the driver checks an ELF image by its header, reads PTX up to its NUL, and copies either.
            let code = unsafe { self.functions.cuModuleLoadData()?(&mut module, image.as_ptr().cast()) };
            self.checked("cuModuleLoadData", code)?;
            let functions = unit.kernels.iter().map(|kernel| Ok((kernel, self.function(module, kernel)?)));
            Ok(Module { context: context as usize, functions: functions.collect::<Result<_, GpuError>>()? })
        })
    }

    fn function(&self, module: ModuleHandle, kernel: &Kernel) -> Result<usize, GpuError> {
        let name = CString::new(kernel.name).unwrap_or_default();
        let mut function: Function = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: a loaded module and a NUL-terminated name.
        let code = unsafe { self.functions.cuModuleGetFunction()?(&mut function, module, name.as_ptr()) };
        self.checked("cuModuleGetFunction", code)?;
        Ok(function as usize)
    }

    /// Let a kernel have more shared memory than every kernel may; needed once, and not while a graph is captured.
    ///
    /// # Errors
    /// [`GpuError`] if the device has less.
    pub fn allow_shared(&self, module: &Module, kernel: &str, n_bytes: u32) -> Result<(), GpuError> {
        let (_, function) = module.kernel(kernel)?;
        self.within(module.context as Context, || {
            let set = self.functions.cuFuncSetAttribute()?;
            #[allow(unsafe_code)]
            // SAFETY: a function of a module that stays loaded.
            let code = unsafe { set(function as Function, MAX_DYNAMIC_SHARED_BYTES, n_bytes as c_int) };
            self.checked("cuFuncSetAttribute", code)
        })
    }

    /// Start a kernel on `stream`.
    ///
    /// # Errors
    /// [`GpuError`] if the arguments are not those of the kernel in number and size, or the launch is refused.
    ///
    /// # Safety
    /// Addresses among the arguments must be those of arrays on the module's device of the kernel's types and sizes, which
    /// stay allocated until the stream has passed the launch.
    #[allow(unsafe_code)]
    pub unsafe fn launch(
        &self,
        module: &Module,
        kernel: &str,
        shape: Shape,
        arguments: &[u64],
        stream: u64,
    ) -> Result<(), GpuError> {
        let (kernel, function) = module.kernel(kernel)?;
        let fits =
            |(parameter, value): (&Parameter, &u64)| *parameter == Parameter::Wide || *value >> 32 == 0;
        let (expected, found) = (kernel.parameters.len(), arguments.len());
        if expected != found || !kernel.parameters.iter().zip(arguments).all(fits) {
            return Err(GpuErrorKind::Arguments { kernel: kernel.name, expected, found }.into());
        }
        if shape.grid.contains(&0) {
            return Ok(());
        }
        // Little-endian, as every machine with a CUDA driver: the address of a u64 is that of its low half.
        let mut values = arguments.to_vec();
        let mut parameters: Vec<*mut c_void> =
            values.iter_mut().map(|value| ptr::from_mut(value).cast()).collect();
        let (function, stream) = (function as Function, stream as Stream);
        let ([x, y], n_threads, n_shared_bytes) = (shape.grid, shape.n_threads, shape.n_shared_bytes);
        self.within(module.context as Context, || {
            let parameters = parameters.as_mut_ptr();
            if shape.n_cluster == 1 {
                let launch = self.functions.cuLaunchKernel()?;
                // SAFETY: the parameters are those of the kernel in number, order and size; the caller vouches for arrays.
                let code = unsafe {
                    launch(
                        function,
                        x,
                        y,
                        1,
                        n_threads,
                        1,
                        1,
                        n_shared_bytes,
                        stream,
                        parameters,
                        ptr::null_mut(),
                    )
                };
                return self.checked("cuLaunchKernel", code);
            }
            let mut value = [0; 16];
            value[..3].copy_from_slice(&[shape.n_cluster, 1, 1]);
            let attribute = LaunchAttribute { id: LAUNCH_CLUSTER_DIMENSION, padding: 0, value };
            let (grid, block) = ([x, y, 1], [n_threads, 1, 1]);
            let (attributes, n_attributes) = (ptr::from_ref(&attribute), 1);
            let config = LaunchConfig { grid, block, n_shared_bytes, stream, attributes, n_attributes };
            let launch = self.functions.cuLaunchKernelEx()?;
            // SAFETY: as above, and a config that lives through the call.
            let code = unsafe { launch(&config, function, parameters, ptr::null_mut()) };
            self.checked("cuLaunchKernelEx", code)
        })
    }

    /// Is `stream` of the current context recording a graph?
    fn is_capturing(&self, stream: u64) -> Result<bool, GpuError> {
        let mut status = 0;
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
