from os import PathLike
from typing import Self, final

__all__ = ["Compiler", "Driver", "SampleKernel", "kernel_source"]

_Candidates = list[list[str | PathLike[str]]]

def kernel_source() -> list[tuple[str, str]]: ...

@final
class Compiler:
    def __new__(cls, candidates: _Candidates) -> Self: ...
    @property
    def path(self) -> str: ...
    @property
    def version(self) -> tuple[int, int]: ...
    def compile(self, arch: int) -> tuple[bytes, str]: ...

@final
class Driver:
    def __new__(cls, candidates: _Candidates) -> Self: ...
    @property
    def version(self) -> int: ...
    def devices(self) -> list[tuple[str, int, int]]: ...
    def load_sample(self, ordinal: int, image: bytes, stream: int) -> SampleKernel: ...
    def launch_sample(
        self,
        kernel: SampleKernel,
        n_rows: int,
        logits: int,
        row_stride: int,
        n_vocab: int,
        mask: int,
        mask_stride: int,
        rules: list[int],
        addresses: list[int],
        purpose: int,
        outputs: list[int],
        stream: int,
    ) -> None: ...

@final
class SampleKernel: ...
