from os import PathLike
from typing import Self, final

__all__ = ["Compiler", "Driver", "Module", "kernels"]

_Candidates = list[list[str | PathLike[str]]]

def kernels() -> list[tuple[str, list[str]]]: ...

@final
class Compiler:
    def __new__(cls, candidates: _Candidates) -> Self: ...
    @property
    def path(self) -> str: ...
    @property
    def version(self) -> tuple[int, int]: ...
    def compile(self, unit: str, arch: int, ptx: bool) -> tuple[bytes, str]: ...

@final
class Driver:
    def __new__(cls, candidates: _Candidates) -> Self: ...
    @property
    def version(self) -> int: ...
    def devices(self) -> list[tuple[str, int, int]]: ...
    def load(
        self,
        ordinal: int,
        unit: str,
        folders: tuple[str | PathLike[str] | None, str | PathLike[str], int],
        compiler: Compiler | str,
        stream: int,
    ) -> Module: ...
    def allow_shared(self, module: Module, kernel: str, n_bytes: int) -> None: ...
    def launch(
        self,
        module: Module,
        kernel: str,
        shape: tuple[int, int, int, int, int],
        arguments: list[int],
        stream: int,
    ) -> None: ...

@final
class Module:
    @property
    def origin(self) -> str: ...
