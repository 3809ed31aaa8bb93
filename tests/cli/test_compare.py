"""`mldiag compare`: two checkpoints of any format, and runs side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from readers.checkpoint_files import VIEWS, archive, npy, of_arrays

from mldiag.cli import main

RANDOM = np.random.default_rng(3)
A = {
    "module.wte.weight": RANDOM.standard_normal((8, 4)).astype(np.float32),
    "module.ln.weight": np.ones(4, np.float32),
    "module.ln.bias": np.array([0, np.nan, 1, 2], np.float32),
    "module.head.weight": RANDOM.standard_normal((4, 4)).astype(np.float32),
    "module.cast.weight": np.arange(4, dtype=np.float32),
    "module.old.weight": np.zeros((2, 3), np.float32),
    "module.steps": np.array(100, np.int64),
}
B = {
    "wte.weight": np.concatenate([A["module.wte.weight"][:4], A["module.wte.weight"][4:] * np.float32(1.5)]),
    "ln.weight": np.ones(4, np.float32),
    "ln.bias": np.array([0, np.nan, np.inf, 2], np.float32),
    "head.weight": np.zeros((4, 5), np.float32),
    "cast.weight": np.arange(4, dtype=np.float16),
    "steps": np.array(200, np.int64),
    "new.weight": np.zeros(3, np.float64),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.safetensors").write_bytes(of_arrays(A, {"step": "100", "format": "pt"}))
    (tmp_path / "b.safetensors").write_bytes(of_arrays(B, {"step": "200", "format": "pt"}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(*arguments: str, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"}).invoke(main, ["compare", *arguments])


def told(*arguments: str) -> dict[str, Any]:
    found = json.loads(compare(*arguments, "--format", "json").stdout)
    assert isinstance(found, dict)
    return found


GOLDEN = """\
── two checkpoints ─────────────────────────────────────────────────────────────
A a.safetensors safetensors · 7 tensors · 67 elements · 272 B
B b.safetensors safetensors · 7 tensors · 68 elements · 280 B

metadata that differ
        A    B
  step  100  200

names that differ in what wrappers add
  module. in A: 6 tensors, module.wte.weight is wte.weight

only in A: 1 tensor
  tensor             shape  dtype
  module.old.weight  2×3    float32

only in B: 1 tensor
  tensor      shape  dtype
  new.weight  3      float64

shapes that differ, whose values are not compared
  tensor              A    B
  module.head.weight  4×4  4×5

values that differ
  module.steps
    relative L2 1 · max abs 100 · mean abs 100 · cosine 1.000000 · changed all
  module.wte.weight
    relative L2 {relative} · max abs {most} · mean abs {mean} · cosine {cosine} ·
    changed 50.0%
  module.ln.bias
    relative L2 0 · max abs 0 · mean abs 0 · cosine 1.000000 · changed 25.0% ·
    1 NaN or infinite in one only, or otherwise
  module.cast.weight
    relative L2 0 · max abs 0 · mean abs 0 · cosine 1.000000 · changed 0 ·
    float32 and float16, the same numbers

1 identical · 3 changed · 2 missing (1 in A, 1 in B) · 1 the same in other bits
or types · 1 of other shapes
"""


def test_two_checkpoints_are_told_apart_tensor_by_tensor(here: Path) -> None:
    found = compare("a.safetensors", "b.safetensors")
    a, b = (x.astype(np.float64).ravel() for x in (A["module.wte.weight"], B["wte.weight"]))
    apart = a - b
    figures = {
        "relative": f"{np.linalg.norm(apart) / np.linalg.norm(a):.4g}",
        "most": f"{abs(apart).max():.4g}",
        "mean": f"{abs(apart).mean():.4g}",
        "cosine": f"{a @ b / np.linalg.norm(a) / np.linalg.norm(b):.6f}",
    }
    assert found.stdout == GOLDEN.format(**figures)
    assert found.exit_code == 1


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(here: Path, columns: int) -> None:
    lines = compare("a.safetensors", "b.safetensors", columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert "module.wte.weight" in "\n".join(lines)


def test_short_names_stand_in_a_table(here: Path) -> None:
    for name, value in (("x", 1.0), ("y", 2.0)):
        (here / f"{name}.safetensors").write_bytes(of_arrays({"w": np.full(4, value, np.float32)}))
    out = compare("x.safetensors", "y.safetensors").stdout
    assert "  tensor  relative L2  max abs  mean abs    cosine  changed\n" in out
    assert "  w                 1        1         1  1.000000      all\n" in out


def test_the_same_is_exit_code_0_whatever_stands_before_the_names(here: Path) -> None:
    assert compare("a.safetensors", "a.safetensors").exit_code == 0
    for prefix in ("module._orig_mod.", "model.", "state_dict/", "_orig_mod.module."):
        renamed = {prefix + name.removeprefix("module."): value for name, value in A.items()}
        (here / "renamed.safetensors").write_bytes(of_arrays(renamed))
        found = compare("a.safetensors", "renamed.safetensors")
        assert found.exit_code == 0
        assert "\n7 identical · 0 changed · 0 missing\n" in found.stdout


def test_a_bare_name_that_fits_two_tensors_is_not_guessed(here: Path) -> None:
    x = np.ones(2, np.float32)
    (here / "x.safetensors").write_bytes(of_arrays({"module.w": x, "model.w": x}))
    (here / "y.safetensors").write_bytes(of_arrays({"w": x}))
    summary = told("x.safetensors", "y.safetensors")["summary"]
    assert (summary["only_a"], summary["only_b"], summary["same"]) == (2, 1, False)


def test_one_bit_is_a_difference(here: Path) -> None:
    x = np.ones(200_000, np.float32)
    y = x.copy()
    y[-1] = np.nextafter(np.float32(1), np.float32(2))
    z = np.zeros(3, np.float32)
    (here / "x.safetensors").write_bytes(of_arrays({"w": x, "z": z}))
    (here / "y.safetensors").write_bytes(of_arrays({"w": y, "z": -z}))
    found = told("x.safetensors", "y.safetensors")
    by_name = {t["name"]: t for t in found["tensors"]}
    assert by_name["w"]["difference"]["changed"] == 1
    assert by_name["w"]["difference"]["max"] == 2**-23
    assert by_name["z"]["state"] == "equal"  # 0 and -0 are the same number, in other bits
    assert compare("x.safetensors", "y.safetensors").exit_code == 1


def test_formats_may_differ(here: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (here / "x.safetensors").write_bytes(of_arrays({"w": x}))
    (here / "x.npz").write_bytes(archive({"w.npy": npy("'<f4'", (3, 2), x.T.tobytes("F"))}))
    assert compare("x.safetensors", "x.npz").exit_code == 1  # of another shape
    (here / "x.npz").write_bytes(archive({"w.npy": npy("'<f4'", (2, 3), x.tobytes("F"), fortran=True)}))
    found = compare("x.safetensors", "x.npz")
    assert found.exit_code == 0, found.stdout
    assert "\n1 identical · 0 changed · 0 missing\n" in found.stdout


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("distance", ["far", "near", "turned"]),
        ("max", ["near", "far", "turned"]),
        ("cosine", ["turned", "near", "far"]),
        ("size", ["near", "turned", "far"]),
        ("name", ["far", "near", "turned"]),
    ],
)
def test_differences_come_in_the_order_that_is_asked_for(here: Path, sort: str, names: list[str]) -> None:
    one = np.ones(2, np.float32)
    a = {"near": np.full(10, 100, np.float32), "far": one[:1], "turned": np.array([1, 0, 0], np.float32) * 5}
    b = {"near": np.full(10, 104, np.float32), "far": one[:1] * 4, "turned": np.array([5, 0.1, 0], np.float32)}
    b["near"][0] = 103
    (here / "x.safetensors").write_bytes(of_arrays(a))
    (here / "y.safetensors").write_bytes(of_arrays(b))
    if sort == "distance":
        names = ["far", "near", "turned"]
    found = told("x.safetensors", "y.safetensors", "--sort", sort)["tensors"]
    assert [t["name"] for t in found] == names
    limited = told("x.safetensors", "y.safetensors", "--sort", sort, "--limit", "2")
    assert ([t["name"] for t in limited["tensors"]], limited["left_out"]) == (names[:2], 1)


def test_a_missing_tensor_that_is_tied_to_another_one_is_told_so(here: Path) -> None:
    (here / "views.pt").write_bytes(VIEWS)
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    rest = {"turned": a.T.copy(), "row": a[1].copy()}
    (here / "x.safetensors").write_bytes(of_arrays({"a": a, **rest}))
    out = compare("views.pt", "x.safetensors").stdout
    assert "  tied    2×3    float32   shares memory with a\n" in out


def test_names_from_a_file_cannot_act_on_a_terminal(here: Path) -> None:
    for name, value in (("x", 1.0), ("y", 2.0)):
        tensors = {"\x1b[31mred": np.full(1, value, np.float32), f"\u202e{name}\n": np.zeros(1, np.float32)}
        (here / f"{name}.safetensors").write_bytes(of_arrays(tensors, {"\x1b[2J": name}))
    for words in ([], ["--format", "json"]):
        out = compare("x.safetensors", "y.safetensors", *words).stdout
        assert not {"\x1b", "\u202e"} & set(out)


BAD = {
    "gone.pt": (None, "no such file or folder"),
    "text.pt": (b"not a checkpoint", "neither a zip archive nor a pickle"),
    "notes.txt": (b"hello there\n", "neither a checkpoint nor a log or configuration"),
    "cut.safetensors": (of_arrays(A)[:60], "the header should be bytes 8 to"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name: str, here: Path) -> None:
    content, reason = BAD[name]
    if content is not None:
        (here / name).write_bytes(content)
    for words in (("a.safetensors", name), (name, "a.safetensors")):
        found = compare(*words)
        assert (found.exit_code, found.stdout) == (2, "")
        assert found.stderr.startswith(f"mldiag: {name}: ")
        assert reason in found.stderr
        assert found.stderr.count("\n") == 1


def test_values_that_are_not_there_are_named_with_their_file(here: Path) -> None:
    (here / "cut.safetensors").write_bytes(of_arrays(A)[:-8])
    found = compare("a.safetensors", "cut.safetensors", columns=120)
    assert "\ncould not be compared\n  module.steps  B: its values should be bytes" in found.stdout
    assert "\n6 identical · 0 changed · 0 missing · 1 not compared\n" in found.stdout
    assert found.exit_code == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a.safetensors"], "checkpoints are compared two at a time; found 1"),
        (["a.safetensors"] * 3, "checkpoints are compared two at a time; found 3"),
        (["a.safetensors", "run"], "a.safetensors is a checkpoint and run is not; compare checkpoints, or runs"),
        (["run"], "run: one run; name at least two runs, or two checkpoints"),
        (["many", "a.safetensors"], "many: 2 checkpoints and no run; name one of them: step1.pt, step2.pt"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(words: list[str], reason: str, here: Path) -> None:
    run_at(here / "run", lr=0.1, losses=[3, 2])
    (here / "many").mkdir()
    for step in "12":
        (here / "many" / f"step{step}.pt").write_bytes(VIEWS)
    found = compare(*words)
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", f"mldiag: {reason}\n")


def run_at(folder: Path, lr: float, losses: list[float]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"lr: {lr}\nbatch_size: 8\n")
    rows = "".join(f"{i},{v},{v + 0.5}\n" for i, v in enumerate(losses))
    (folder / "log.csv").write_text(f"step,train_loss,val_loss\n{rows}")


def test_runs_stand_side_by_side(here: Path) -> None:
    run_at(here / "x", lr=0.1, losses=[3, 2.5, 2])
    run_at(here / "y", lr=0.2, losses=[3, 1, 2.5])
    found = compare("x", "y")
    lines = found.stdout.splitlines()
    shown = [" ".join(line.split()) for line in lines]
    assert "lr 0.1 0.2" in shown
    assert "train/loss 2 2.5 (1)" in shown
    assert "val/loss 2.5 3 (1.5)" in shown
    assert not any(line.startswith("batch_size") for line in shown)
    assert found.exit_code == 1
    as_data = told("x", "y")
    assert as_data["kind"] == "runs"
    assert [r["path"] for r in as_data["runs"]] == ["x", "y"]
    assert set(as_data["runs"][0]["findings"]) == {"error", "warning", "info"}
    assert compare("x", "x").exit_code == 0


def test_a_folder_of_runs_is_compared_as_a_whole_and_equal_runs_are_the_same(here: Path) -> None:
    for name in ("runs/x", "runs/y"):
        run_at(here / name, lr=0.1, losses=[3, 2.5, 2])
    found = compare("runs")
    assert "no setting differs among those that are stated" in found.stdout
    assert found.exit_code == 0


def test_large_files_are_compared_in_little_memory(here: Path) -> None:
    """64 MiB in each file; as a process of its own, whose memory is its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak is told by /proc")
    values = np.random.default_rng(0).standard_normal(2**23).astype(np.float32)
    for name in ("x", "y"):
        (here / f"{name}.safetensors").write_bytes(of_arrays({"w": values, "v": values}))
        values[-1] += 1
    code = (
        "from mldiag.cli import main\n"
        "try: main(['compare', 'x.safetensors', 'y.safetensors'])\n"
        "except SystemExit as end: code = end.code\n"
        "status = open('/proc/self/status').read()\n"
        "print(code, status.partition('VmHWM:')[2].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    exit_code, peak = map(int, done.stdout.splitlines()[-1].split())
    assert exit_code == 1
    assert peak < 100 * 1024, "KiB"
