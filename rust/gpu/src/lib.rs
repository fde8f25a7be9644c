//! How does a kernel in cuda/ get onto the device without a CUDA toolkit at build time?
#![deny(unsafe_code)]
