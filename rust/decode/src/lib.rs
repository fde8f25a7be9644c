//! What happens in one decoding step?
#![deny(unsafe_code)]

pub mod bytelevel;
pub mod control;
pub mod dist;
pub mod draft;
pub mod rng;
pub mod sample;
pub mod verify;
mod wide;
