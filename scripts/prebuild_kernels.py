"""Compile the kernels into the package, so that a wheel needs no compiler on the machine with the GPU.

    python scripts/prebuild_kernels.py              # sm_80 sm_90 sm_100 sm_120, and PTX for what is newer
    python scripts/prebuild_kernels.py --arch 90

Needs NVRTC (``pip install nvidia-cuda-nvrtc``) and no GPU. The files go to python/tokenloom/_kernels, which a wheel
that is built afterwards carries; without them kernels are compiled on first use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tokenloom as tl

FOLDER = Path(tl.__file__).parent / "_kernels"
PTX_ARCH = 75


def main() -> None:
    """Write one image a unit and architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", type=int, nargs="*", default=[80, 90, 100, 120])
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for unit in tl.gpu.UNITS:
        for arch in arguments.arch:
            image, _ = tl.gpu.compile_kernels(arch, unit)
            (FOLDER / f"{unit}.sm_{arch}.cubin").write_bytes(image)
        text, _ = tl.gpu.compile_kernels(PTX_ARCH, unit, ptx=True)
        (FOLDER / f"{unit}.ptx").write_bytes(text.rstrip(b"\0"))
    n_bytes = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{len(list(FOLDER.iterdir()))} images, {n_bytes / 1024:.0f} KiB, in {FOLDER}")


if __name__ == "__main__":
    main()
