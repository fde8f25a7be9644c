//! Which source does the device compile?
//!
//! The files of `cuda/`, embedded, so a wheel carries them and nothing is looked up beside it.

/// The translation unit.
pub const SOURCE: &str = include_str!("../../../cuda/sample.cu");

/// What it includes, by name.
pub const HEADERS: [(&str, &str); 6] = [
    ("cut.cuh", include_str!("../../../cuda/cut.cuh")),
    ("math.cuh", include_str!("../../../cuda/math.cuh")),
    ("noise.cuh", include_str!("../../../cuda/noise.cuh")),
    ("philox.cuh", include_str!("../../../cuda/philox.cuh")),
    ("reduce.cuh", include_str!("../../../cuda/reduce.cuh")),
    ("types.cuh", include_str!("../../../cuda/types.cuh")),
];

/// The kernel's name in the compiled module.
pub const SAMPLE: &str = "tokenloom_sample";

/// Threads of a block; the kernel is compiled for at most this many, and any multiple of 32 gives the same results.
pub const BLOCK_THREADS: u32 = 512;

/// Compiler options besides the architecture. Contraction would change the bits that the CPU has too.
pub const OPTIONS: [&str; 3] = ["--std=c++17", "--fmad=false", "--ptxas-options=-v"];
