//! The Python face of the `gpu` domain: extract, detach, one core call, wrap.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokenloom_gpu::cache::Cache;
use tokenloom_gpu::driver::{Driver, Module, Shape};
use tokenloom_gpu::kernels::{UNITS, Unit};
use tokenloom_gpu::load::{Origin, Places, load};
use tokenloom_gpu::nvrtc::{Nvrtc, Target};
use tokenloom_gpu::{Candidate, GpuError, GpuErrorKind};

use crate::error::{DeviceError, Raise, raise};

/// See `tokenloom.gpu`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod gpu {
    #[pymodule_export]
    use super::{PyCompiler, PyDriver, PyModule, kernels};
}

impl Raise for GpuError {
    fn into_py_err(self) -> PyErr {
        DeviceError::new_err(self.to_string())
    }
}

/// The kernels of every unit, by name.
#[pyfunction]
fn kernels() -> Vec<(&'static str, Vec<&'static str>)> {
    UNITS.iter().map(|unit| (unit.name, unit.kernels.iter().map(|kernel| kernel.name).collect())).collect()
}

fn unit_named(name: &str) -> PyResult<&'static Unit> {
    Unit::named(name)
        .ok_or_else(|| raise(GpuError::from(GpuErrorKind::UnknownKernel { name: name.to_owned() })))
}

#[pyclass(frozen, name = "Compiler", module = "tokenloom.gpu")]
struct PyCompiler {
    nvrtc: Nvrtc,
}

#[pymethods]
impl PyCompiler {
    #[new]
    fn new(candidates: Vec<Candidate>) -> PyResult<Self> {
        Ok(Self { nvrtc: Nvrtc::open(&candidates).map_err(raise)? })
    }

    #[getter]
    fn path(&self) -> String {
        self.nvrtc.path().to_string_lossy().into_owned()
    }

    #[getter]
    fn version(&self) -> PyResult<(i32, i32)> {
        self.nvrtc.version().map_err(raise)
    }

    /// A unit as machine code of an architecture, or as PTX, and the compiler's log.
    fn compile<'py>(
        &self,
        py: Python<'py>,
        unit: &str,
        arch: u32,
        ptx: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, String)> {
        let unit = unit_named(unit)?;
        let target = if ptx { Target::Ptx(arch) } else { Target::Cubin(arch) };
        let compiled = py.detach(|| self.nvrtc.compile(unit, target)).map_err(raise)?;
        Ok((PyBytes::new(py, &compiled.image), compiled.log))
    }
}

#[pyclass(frozen, name = "Driver", module = "tokenloom.gpu")]
struct PyDriver {
    driver: Driver,
}

#[pymethods]
impl PyDriver {
    #[new]
    fn new(py: Python<'_>, candidates: Vec<Candidate>) -> PyResult<Self> {
        Ok(Self { driver: py.detach(|| Driver::open(&candidates)).map_err(raise)? })
    }

    #[getter]
    fn version(&self) -> PyResult<i32> {
        self.driver.version().map_err(raise)
    }

    /// Name, architecture and multiprocessors of each device.
    fn devices(&self) -> PyResult<Vec<(String, u32, u32)>> {
        let devices = self.driver.devices().map_err(raise)?;
        Ok(devices.into_iter().map(|device| (device.name, device.arch, device.n_multiprocessors)).collect())
    }

    /// A unit on a device, from wherever an image of it can be had: `folders` are those of prebuilt images and of the
    /// cache, with the limit of the cache in bytes.
    fn load(
        &self,
        py: Python<'_>,
        ordinal: i32,
        unit: &str,
        folders: (Option<PathBuf>, PathBuf, u64),
        compiler: CompilerArg,
        stream: u64,
    ) -> PyResult<PyModule> {
        let unit = unit_named(unit)?;
        let nvrtc = match &compiler {
            CompilerArg::Compiler(compiler) => Ok(&compiler.get().nvrtc),
            CompilerArg::Reason(reason) => Err(reason.clone()),
        };
        let (prebuilt, cache, max_bytes) = folders;
        let places = Places { prebuilt, cache: Cache::new(cache, max_bytes), nvrtc };
        let loaded = py.detach(|| load(&self.driver, ordinal, unit, &places, stream));
        let (module, origin) = loaded.map_err(raise)?;
        Ok(PyModule { module, origin })
    }

    /// Let a kernel have this much shared memory.
    fn allow_shared(&self, module: &PyModule, kernel: &str, n_bytes: u32) -> PyResult<()> {
        self.driver.allow_shared(&module.module, kernel, n_bytes).map_err(raise)
    }

    /// Start a kernel; `shape` is blocks along x and y, threads, blocks of a cluster, bytes of shared memory. Addresses
    /// must be those of live arrays on the module's device. Takes microseconds, so the interpreter stays attached.
    fn launch(
        &self,
        module: &PyModule,
        kernel: &str,
        shape: (u32, u32, u32, u32, u32),
        arguments: Vec<u64>,
        stream: u64,
    ) -> PyResult<()> {
        let (x, y, n_threads, n_cluster, n_shared_bytes) = shape;
        let shape = Shape { grid: [x, y], n_threads, n_cluster, n_shared_bytes };
        #[allow(unsafe_code)]
        // SAFETY: the only caller, tokenloom.torch.device, passes tensors it holds, checked for device, dtype and shape.
        unsafe { self.driver.launch(&module.module, kernel, shape, &arguments, stream) }.map_err(raise)
    }
}

/// A compiler, or why there is none.
#[derive(FromPyObject)]
enum CompilerArg {
    Compiler(Py<PyCompiler>),
    Reason(String),
}

#[pyclass(frozen, name = "Module", module = "tokenloom.gpu")]
struct PyModule {
    module: Module,
    origin: Origin,
}

#[pymethods]
impl PyModule {
    /// Where the image came from.
    #[getter]
    fn origin(&self) -> &'static str {
        match self.origin {
            Origin::Prebuilt => "prebuilt",
            Origin::Cache => "cache",
            Origin::Compiled => "compiled",
            Origin::Ptx => "ptx",
        }
    }
}
