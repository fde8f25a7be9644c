"""Can somebody else install this, from the checkout, from the sdist and from the wheel?

Builds the source distribution and looks into it, installs each of the three into a fresh virtual environment with build
isolation, as `pip install` does for a user, and runs one line of work there. Slow: three release builds.

    python scripts/check_package.py [--sdist-only]
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = """
import tokenloom as tl
assert "site-packages" in tl.__file__, tl.__file__
tok = tl.train.bpe(["low lower lowest"], vocab_size=260, progress=False)
assert tok.decode(tok.encode("lowest")) == "lowest"
assert (__import__("pathlib").Path(tl.__file__).parent / "py.typed").exists()
print("works:", tl.__version__)
"""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and return what it prints; its failure is ours."""
    print("+", " ".join(map(str, command)), flush=True)
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def check_sdist(sdist: Path) -> None:
    """Everything git tracks under rust/, cuda/ and python/ is in, and what a build needs at the top."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run("git", "ls-files", "rust", "cuda", "python").splitlines()
    wanted = [
        name for name in tracked if not name.startswith(("rust/fuzz/", "rust/testkit/")) and "/tests/" not in name
    ]
    wanted += ["Cargo.toml", "Cargo.lock", "pyproject.toml", "LICENSE", "README.md", "rust-toolchain.toml"]
    if missing := sorted(name for name in wanted if name not in names):
        sys.exit(f"the sdist lacks {missing}")
    print(f"{sdist.name}: {len(names)} members, complete")


def install(source: Path, folder: Path) -> None:
    """Install into a fresh environment, import from there."""
    environment = folder / f"env-{source.name}"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", source)
    print(run(python, "-c", WORK, cwd=folder), end="", flush=True)


def main() -> None:
    """Build, look, install three times."""
    with tempfile.TemporaryDirectory(prefix="check-package-") as scratch:
        folder = Path(scratch)
        maturin = Path(sys.executable).with_name("maturin")
        run(maturin, "sdist", "--out", folder)
        (sdist,) = folder.glob("*.tar.gz")
        check_sdist(sdist)
        if "--sdist-only" in sys.argv:
            return
        install(sdist, folder)
        run(maturin, "build", "--release", "--out", folder)
        (wheel,) = folder.glob("*.whl")
        if "-cp311-abi3-" not in wheel.name:
            sys.exit(f"expected a cp311-abi3 wheel, found {wheel.name}")
        install(wheel, folder)
        install(ROOT, folder)


if __name__ == "__main__":
    main()
