//! The Python face of the `gpu` domain: extract, detach, one core call, wrap.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokenloom_gpu::driver::{Driver, SampleArguments, SampleKernel};
use tokenloom_gpu::kernels::{HEADERS, OPTIONS, SOURCE};
use tokenloom_gpu::nvrtc::Nvrtc;
use tokenloom_gpu::{Candidate, GpuError};

use crate::error::{DeviceError, Raise, raise};

/// See `tokenloom.gpu`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod gpu {
    #[pymodule_export]
    use super::{PyCompiler, PyDriver, PySampleKernel, kernel_source};
}

impl Raise for GpuError {
    fn into_py_err(self) -> PyErr {
        DeviceError::new_err(self.to_string())
    }
}

/// Everything the compiled code depends on: files, their contents and options.
#[pyfunction]
fn kernel_source() -> Vec<(&'static str, &'static str)> {
    let options = OPTIONS.into_iter().map(|option| ("option", option));
    [("sample.cu", SOURCE)].into_iter().chain(HEADERS).chain(options).collect()
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

    fn compile<'py>(&self, py: Python<'py>, arch: u32) -> PyResult<(Bound<'py, PyBytes>, String)> {
        let cubin = py.detach(|| self.nvrtc.compile(arch)).map_err(raise)?;
        Ok((PyBytes::new(py, &cubin.image), cubin.log))
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

    fn load_sample(
        &self,
        py: Python<'_>,
        ordinal: i32,
        image: &[u8],
        stream: u64,
    ) -> PyResult<PySampleKernel> {
        let kernel = py.detach(|| self.driver.load_sample(ordinal, image, stream)).map_err(raise)?;
        Ok(PySampleKernel { kernel })
    }

    /// The addresses must be those of live arrays on the kernel's device, as `SampleArguments` describes them. A launch
    /// takes microseconds, so the interpreter stays attached.
    #[pyo3(signature = (kernel, n_rows, logits, row_stride, n_vocab, mask, mask_stride, rules, addresses, purpose, outputs, stream))]
    #[allow(clippy::too_many_arguments)]
    fn launch_sample(
        &self,
        kernel: &PySampleKernel,
        n_rows: u32,
        logits: u64,
        row_stride: i64,
        n_vocab: u32,
        mask: u64,
        mask_stride: i64,
        rules: [u64; 5],
        addresses: [u64; 2],
        purpose: u32,
        outputs: [u64; 4],
        stream: u64,
    ) -> PyResult<()> {
        let [seeds, positions] = addresses;
        let arguments = SampleArguments {
            logits,
            row_stride,
            n_vocab,
            mask,
            mask_stride,
            rules,
            seeds,
            positions,
            purpose,
            outputs,
        };
        #[allow(unsafe_code)]
        // SAFETY: the only caller, tokenloom.torch.sampling, passes tensors it holds, checked for device, dtype and shape.
        unsafe { self.driver.launch_sample(&kernel.kernel, arguments, n_rows, stream) }.map_err(raise)
    }
}

#[pyclass(frozen, name = "SampleKernel", module = "tokenloom.gpu")]
struct PySampleKernel {
    kernel: SampleKernel,
}
