"""What has to hold before a release; every step works in a folder of its own and says what it does.

    python scripts/release_check.py build              # wheel and sdist twice: the same bytes, nothing missing
    python scripts/release_check.py newest             # a fresh environment with the newest versions: the quick tests
    python scripts/release_check.py lowest             # the same with the lowest versions that pyproject.toml declares
    python scripts/release_check.py first-page         # docs/index.md, literally, from the wheel and without a network

Needs the development environment (`make setup`) and, but for `build`, a package index to install from.
"""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Seconds, not minutes, and every room of the package once; none of them needs an extra.
QUICK_TESTS = (
    "tests/cli/test_import.py",
    "tests/cli/test_cli.py",
    "tests/cli/test_config.py",
    "tests/cli/test_config_files.py",
    "tests/data/test_sampling.py",
    "tests/data/test_plain_loader.py",
    "tests/models/test_block_values.py",
    "tests/models/test_insertion.py",
    "tests/stored/test_read_back.py",
    "tests/synthetic/test_synthetic_files.py",
    "tests/training/test_engine_fit.py",
    "tests/training/test_recipes.py",
)
TEST_TOOLS = ("beartype", "hypothesis", "pytest", "pytest-xdist")
IN_WHEEL = ("gta/py.typed", "gta/cli.py", "gta/viz/assets/page.css", "gta/evaluation/opposites.json")
NOT_IN_SDIST = (".ci/run", ".gitignore")  # of use in a clone only


class CheckError(Exception):
    """What does not hold, in one line."""


def run(words: Sequence[str | Path], *, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed; a failure is a `CheckError` with its last lines."""
    result = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-40:])
        raise CheckError(f"{' '.join(map(str, words))}: exit code {result.returncode}\n{tail}")
    return result.stdout


def tracked_files() -> list[str]:
    """The files of this version, as git lists them."""
    return sorted(run(["git", "ls-files"]).splitlines())


def build(work: Path) -> tuple[Path, Path]:
    """Build wheel and sdist from two copies that differ in place, times and permissions; return the wheel and sdist.

    Raises:
        CheckError: the two builds differ, or something is missing in them.
    """
    epoch = run(["git", "log", "-1", "--format=%ct"]).strip()
    built: list[dict[str, Path]] = []
    for number, mode in enumerate((0o644, 0o600)):
        copy = work / f"{'a' * (number + 1)}" / "tree"
        for name in tracked_files():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(mode)
            os.utime(target, (number * 10_000_000 + 1, number * 10_000_000 + 1))
        dist = copy.parent / "dist"
        # Without isolation: the builder of the development environment, so that nothing has to be fetched.
        run(
            [sys.executable, "-m", "hatchling", "build", "-d", dist], cwd=copy, environment={"SOURCE_DATE_EPOCH": epoch}
        )
        built.append({path.name: path for path in dist.iterdir()})
    first, second = built
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second or digest(first[name]) != digest(second[name]):
            raise CheckError(f"{name}: two builds of the same tree differ")
        print(f"  {name}  sha256 {digest(first[name])[:16]}  the same twice")
    wheel = next(path for name, path in first.items() if name.endswith(".whl"))
    sdist = next(path for name, path in first.items() if name.endswith(".tar.gz"))
    look_into(wheel, sdist)
    return wheel, sdist


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def look_into(wheel: Path, sdist: Path) -> None:
    """Refuse a wheel or sdist that lacks a file, or a wheel that holds more than the package."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    tracked = tracked_files()
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
    missing = sorted((package | set(IN_WHEEL)) - inside)
    more = sorted(name for name in inside - package if not name.startswith("gta_video-"))
    if missing or more or not any(name.endswith("licenses/LICENSE") for name in inside):
        raise CheckError(f"{wheel.name}: missing {missing}, not of the package {more}")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = sorted(set(tracked) - set(NOT_IN_SDIST) - names)
    if missing:
        raise CheckError(f"{sdist.name}: missing {missing}")
    print(f"  {len(inside)} files in the wheel, {len(names)} in the sdist; none is missing")


def environment_of(work: Path, wheel: Path, resolution: str, *, tests: bool) -> Path:
    """A fresh environment with the wheel, and the tools of the tests if wanted; return its folder of programs.

    Args:
        work: where the environment goes.
        wheel: what is installed.
        resolution: `highest` or `lowest-direct`, as `uv pip install --resolution` has it.
        tests: also install what the quick tests need.
    """
    uv, venv = Path(sys.executable).with_name("uv"), work / f"venv-{resolution}"
    run([uv, "venv", "--quiet", "--python", sys.executable, venv])
    wanted = list(PROJECT["dependencies"])
    if tests:
        wanted += [line for line in PROJECT["optional-dependencies"]["dev"] if line.startswith(TEST_TOOLS)]
    # By name, because what a wheel asks for is not "direct" to uv; then the wheel, as it is.
    install = [uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python"]
    run([*install, "--resolution", resolution, *wanted])
    run([*install, "--no-deps", wheel])
    run([uv, "pip", "check", "--python", venv / "bin" / "python"])
    return venv / "bin"


def quick_tests(work: Path, wheel: Path, sdist: Path, resolution: str) -> None:
    """Run the quick tests of the sdist against the installed wheel, in a fresh environment."""
    programs = environment_of(work, wheel, resolution, tests=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "sdist", filter="data")
    (tree,) = (work / "sdist").iterdir()
    shutil.rmtree(tree / "src")  # what is tested is the wheel
    where = run([programs / "python", "-c", "import gta; print(gta.__file__)"], cwd=tree).strip()
    if not where.startswith(str(programs.parent)):
        raise CheckError(f"the tests would see {where} instead of the wheel")
    versions = run([Path(sys.executable).with_name("uv"), "pip", "freeze", "--python", programs / "python"])
    shown = [line for line in versions.splitlines() if line.startswith(("torch", "timm", "av=", "lightning=", "numpy"))]
    print(f"  {', '.join(shown)}")
    tested = run(
        [programs / "python", "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", *QUICK_TESTS],
        cwd=tree,
        environment={"OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
    )
    print(f"  {tested.strip().splitlines()[-1]}")


def first_page(work: Path, wheel: Path) -> None:
    """Do what the first page of the documentation says, in its words, in an empty folder.

    `pip install gta-video` finds the wheel that was built; everything after it runs without a network.
    """
    if shutil.which("unshare") is None:
        raise CheckError("unshare is not installed (util-linux): nothing else here takes the network away")
    sys.path.insert(0, str(ROOT / "tests" / "docs"))
    import documented as pages

    installing, using = ["set -e"], ["set -e", "source .venv/bin/activate"]
    for snippet in pages.snippets("docs/index.md"):
        if snippet.language == "python":
            using.append(f"python - <<'END'\n{snippet.text}\nEND")
        for line in pages.commands(snippet) if snippet.language == "sh" else ():
            elsewhere = line.text.split()[0] in pages.CHECKED_ELSEWHERE
            (installing if elsewhere else using).append(line.text)
    here = {"PIP_FIND_LINKS": str(wheel.parent), "PYTHONPATH": "", "PATH": os.environ["PATH"]}
    begin = time.monotonic()
    run(["bash", "-c", "\n".join(installing)], cwd=work, environment=here)
    print(f"  installed in {time.monotonic() - begin:.0f} s")
    begin = time.monotonic()
    said = run(["unshare", "--map-root-user", "--net", "bash", "-c", "\n".join(using)], cwd=work, environment=here)
    print("\n".join(f"  | {line}" for line in said.splitlines()[-12:]))
    print(f"  the page's commands took {time.monotonic() - begin:.0f} s without a network")


def main() -> None:
    """Run the steps that are asked for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="+", choices=("build", "newest", "lowest", "first-page"))
    steps = parser.parse_args().steps
    try:
        with tempfile.TemporaryDirectory(prefix="gta-release-") as folder:
            work = Path(folder)
            print("build")
            wheel, sdist = build(work)
            for step, resolution in (("newest", "highest"), ("lowest", "lowest-direct")):
                if step in steps:
                    print(step)
                    (work / step).mkdir()
                    quick_tests(work / step, wheel, sdist, resolution)
            if "first-page" in steps:
                print("first-page")
                (work / "first-page").mkdir()
                first_page(work / "first-page", wheel)
    except CheckError as error:
        sys.exit(f"release_check: {error}")


if __name__ == "__main__":
    main()
