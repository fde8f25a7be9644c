//! How does a kernel in cuda/ get onto the device without a CUDA toolkit at build time?
//!
//! The source is embedded ([`kernels`]), compiled by NVRTC for the device's architecture ([`nvrtc`]) and loaded by the
//! driver ([`driver`]). Both are libraries that are opened at run time from places that the caller names; a missing
//! library, an old one without some symbol and a failing call are errors, never panics. Compiled kernels are kept in a
//! folder that the caller names ([`cache`]); [`load`] knows all the places an image may come from. This crate makes no
//! context of its own.
#![deny(unsafe_code)]

pub mod cache;
pub mod driver;
mod error;
pub mod kernels;
mod library;
pub mod load;
pub mod nvrtc;

pub use error::{GpuError, GpuErrorKind};
pub use library::Candidate;
