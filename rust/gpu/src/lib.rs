//! How does a kernel in cuda/ get onto the device without a CUDA toolkit at build time?
//!
//! The source is embedded ([`kernels`]), compiled by NVRTC for the device's architecture ([`nvrtc`]) and loaded by the
//! driver ([`driver`]). Both are libraries that are opened at run time from places that the caller names; a missing
//! library, an old one without some symbol and a failing call are errors, never panics. This crate reads no files, keeps
//! no global state and makes no context of its own.
#![deny(unsafe_code)]

pub mod driver;
mod error;
pub mod kernels;
mod library;
pub mod nvrtc;

pub use error::{GpuError, GpuErrorKind};
pub use library::Candidate;
