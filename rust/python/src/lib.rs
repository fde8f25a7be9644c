//! The extension module `tokenloom._core`: the module tree only. Each domain has one file here; `error.rs` is the only
//! mapping of errors and `array.rs` the only place that touches NumPy views.

mod array;
mod awrs;
mod bytelevel;
mod combine;
mod constraint;
mod control;
mod direct;
mod draft;
mod encoding;
mod error;
mod exactness;
mod formats;
mod gpu;
mod interpreted;
mod ints;
mod kernels;
mod lexica;
mod list;
mod pipeline;
mod sample;
mod segment;
mod text;
mod tokenizer;
mod train;
mod verify;

/// The compiled core of tokenloom. Import the public modules instead.
#[pyo3::pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::bytelevel::bytelevel;
    #[pymodule_export]
    use crate::control::control;
    #[pymodule_export]
    use crate::draft::draft;
    #[pymodule_export]
    use crate::exactness::exactness;
    #[pymodule_export]
    use crate::formats::formats;
    #[pymodule_export]
    use crate::gpu::gpu;
    #[pymodule_export]
    use crate::kernels::kernels;
    #[pymodule_export]
    use crate::lexica::lexica;
    #[pymodule_export]
    use crate::pipeline::pipeline;
    #[pymodule_export]
    use crate::sample::sample;
    #[pymodule_export]
    use crate::segment::segment;
    #[pymodule_export]
    use crate::tokenizer::tokenizer;
    #[pymodule_export]
    use crate::train::train;
    #[pymodule_export]
    use crate::verify::verify;

    /// The version of the crate, which is the version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// `from tokenloom._core.sample import ...` finds a submodule only through `sys.modules`.
    #[pymodule_init]
    fn register_submodules(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let modules = module.py().import("sys")?.getattr("modules")?;
        for (name, value) in module.dict() {
            if value.cast::<PyModule>().is_ok() {
                modules.set_item(format!("tokenloom._core.{name}"), value)?;
            }
        }
        Ok(())
    }
}
