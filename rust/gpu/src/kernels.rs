//! Which source does a device compile, and what do its kernels take?
//!
//! The files of `cuda/`, embedded, so a wheel carries them and nothing is looked up beside it. A translation unit is
//! compiled and loaded alone, when the first of its kernels is needed. The parameters of every kernel are listed, so a
//! launch with a wrong number of arguments, or with one that does not fit, is an error and never reaches a device.

/// The type of a kernel's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// A device address, or a 64-bit integer.
    Wide,
    /// A 32-bit unsigned integer.
    U32,
}

/// A kernel of a translation unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Its name in the compiled module.
    pub name: &'static str,
    /// What it takes, in order.
    pub parameters: &'static [Parameter],
}

/// A file of `cuda/` that is compiled alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// The file's name without its suffix.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Its kernels.
    pub kernels: &'static [Kernel],
}

impl Unit {
    /// The unit with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        UNITS.iter().find(|unit| unit.name == name)
    }
}

use Parameter::{U32, Wide};

macro_rules! unit {
    ($name:literal: $($kernel:literal [$($parameter:ident),*]),*) => {
        Unit {
            name: $name,
            text: include_str!(concat!("../../../cuda/", $name, ".cu")),
            kernels: &[$(Kernel { name: $kernel, parameters: &[$($parameter),*] }),*],
        }
    };
}

/// Everything that can be compiled.
pub const UNITS: [Unit; 7] = [
    unit!("arrivals":
        "tokenloom_arrivals" [Wide, Wide, U32, U32, Wide, Wide, U32, Wide, Wide, U32, Wide, Wide, Wide, Wide, Wide]
    ),
    unit!("mask":
        "tokenloom_forbid" [Wide, Wide, U32, U32, U32, Wide, Wide, Wide]
    ),
    unit!("mixture":
        "tokenloom_mixture" [Wide, Wide, U32, Wide, U32, Wide, Wide, U32, Wide]
    ),
    unit!("ranges":
        "tokenloom_maxima" [Wide, Wide, U32, U32, Wide],
        "tokenloom_range_sums" [Wide, Wide, U32, U32, Wide, Wide, U32, Wide, Wide]
    ),
    unit!("report":
        "tokenloom_stats" [Wide, Wide, U32, U32, Wide, Wide, U32, U32, Wide, Wide, Wide, Wide, Wide, Wide],
        "tokenloom_process" [Wide, Wide, U32, U32, Wide, Wide, Wide, Wide, Wide, Wide, Wide, Wide, U32, Wide, Wide, Wide, Wide, Wide]
    ),
    unit!("sample":
        "tokenloom_sample" [Wide, Wide, U32, U32, Wide, Wide, Wide, Wide, Wide, Wide, Wide, U32, Wide, Wide, Wide, Wide, Wide, Wide, Wide]
    ),
    unit!("verify":
        "tokenloom_row_scales" [Wide, Wide, Wide, U32, U32, Wide, Wide],
        "tokenloom_verify" [U32, U32, Wide, Wide, Wide, Wide, Wide, Wide, U32, Wide, Wide, U32, Wide, Wide, U32, Wide, Wide, U32, Wide, Wide, Wide, Wide, Wide, Wide, Wide, Wide]
    ),
];

macro_rules! headers {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../../../cuda/", $name)))),*] };
}

/// What the units include, by name.
pub const HEADERS: &[(&str, &str)] = headers!(
    "cut.cuh",
    "kept.cuh",
    "math.cuh",
    "noise.cuh",
    "philox.cuh",
    "row.cuh",
    "team.cuh",
    "types.cuh"
);

/// Compiler options besides the architecture. Contraction would change the bits that the CPU has too.
pub const OPTIONS: [&str; 3] = ["--std=c++17", "--fmad=false", "--ptxas-options=-v"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters of a kernel as its source declares them.
    fn declared(text: &str, kernel: &str) -> Vec<Parameter> {
        let (_, rest) = text.split_once(&format!("{kernel}(")).expect(kernel);
        let (list, _) = rest.split_once(") {").expect(kernel);
        let of_type = |parameter: &str| match parameter.trim() {
            wide if wide.contains('*') || wide.starts_with("i64 ") || wide.starts_with("u64 ") => Wide,
            narrow if narrow.starts_with("u32 ") => U32,
            other => panic!("{kernel}: {other}"),
        };
        list.split(',').map(of_type).collect()
    }

    #[test]
    fn the_lists_are_what_the_sources_declare() {
        for unit in UNITS {
            assert_eq!(
                unit.text.matches("extern \"C\" __global__").count(),
                unit.kernels.len(),
                "{}",
                unit.name
            );
            for kernel in unit.kernels {
                assert_eq!(kernel.parameters, declared(unit.text, kernel.name), "{}", kernel.name);
            }
        }
    }

    #[test]
    fn every_include_is_embedded() {
        let texts = UNITS.iter().map(|unit| unit.text).chain(HEADERS.iter().map(|(_, text)| *text));
        for name in texts.flat_map(|text| text.lines().filter_map(|line| line.strip_prefix("#include "))) {
            let name = name.trim_matches('"');
            assert!(HEADERS.iter().any(|(header, _)| *header == name), "{name}");
        }
    }
}
