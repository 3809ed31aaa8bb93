"""The wheel holds core and plugins, and works where only it is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("mldiag_toolkit-*.whl")
    return built


def test_the_wheel_holds_both_source_roots_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names if ".dist-info" not in n}
    assert tops == {"mldiag", *(p.name for p in (ROOT / "plugins").iterdir() if p.is_dir())}
    assert not [n for n in names if n.endswith((".pyc", ".sh"))]


def test_an_installed_wheel_has_every_rule(wheel: Path, tmp_path: Path) -> None:
    """Installed beside the dependencies of this environment, away from the checkout."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    script = "import mldiag, mldiag.plugins as p; l = p.load(); print(mldiag.__file__, len(l.rules), l.broken)"
    # -S keeps this environment's editable install of mldiag out; its other packages are put on the path by hand.
    paths = [str(site), *(p for p in sys.path if p.endswith("site-packages"))]
    code = f"import sys; sys.path[:0] = {paths!r}; {script}"
    done = subprocess.run([sys.executable, "-S", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    place, count, broken = done.stdout.split(maxsplit=2)
    assert place.startswith(str(site))
    assert int(count) == len(list((ROOT / "plugins").glob("*/[a-z][a-z][a-z][0-9][0-9][0-9]_*.py")))
    assert broken.strip() == "[]"
