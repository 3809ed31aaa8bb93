"""`mldiag fix` shows, writes, copies and takes back; what it refuses it leaves as it was."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mldiag.cli import main
from mldiag.journal import Write, write

RULES = '''
from mldiag.api import Edit, Finding, Fix, Settings, rule


def change(found, value):
    return Edit(found.source.path, found.source.start, found.source.end, found.source.text, str(value))


@rule("TST001", severity="error", pre=True, explains=("TST002",))
def long_windows(settings: Settings):
    """Windows are longer than the model has positions."""
    rows, length = settings.require("max_positions", int), settings.require("seq_len", int)
    seq_len = settings.effective("seq_len")
    if length > rows:
        yield Finding("too long", seq_len.source, fix=Fix.safe(f"set seq_len to {rows}", change(seq_len, rows)))


@rule("TST002", severity="error", pre=True)
def short_plan(settings: Settings):
    """The plan is not all epochs."""
    total, planned = settings.effective("total_steps"), settings.require("total_steps", int)
    wanted = settings.require("epochs", int) * settings.require("steps_per_epoch", int)
    if planned != wanted:
        yield Finding("too short", total.source, fix=Fix.safe(f"plan {wanted} steps", change(total, wanted)))


@rule("TST003", severity="warning", pre=True)
def long_warmup(settings: Settings):
    """Warm-up takes a large part of the plan."""
    total, steps = settings.require("total_steps", int), settings.require("warmup_steps", int)
    warmup = settings.effective("warmup_steps")
    if steps > total // 10:
        fix = Fix.unsafe(f"warm up for {total // 20} steps", change(warmup, total // 20))
        yield Finding("warm-up too long", warmup.source, fix=fix)


@rule("TST004", severity="warning", pre=True)
def small_model(settings: Settings):
    """Only a person can make a larger model."""
    if settings.require("d_model", int) < 100:
        yield Finding("too small", settings.where("d_model"), fix=Fix.show("choose a larger model\\x1b[2J"))
'''

CONFIG = """\
# the plan of v5
seq_len: 320   # windows
max_positions: 256
epochs: 2
steps_per_epoch: 1000
total_steps: 500
warmup_steps: 400
"""
SAFE = CONFIG.replace("seq_len: 320", "seq_len: 256").replace("total_steps: 500", "total_steps: 2000")
UNSAFE = SAFE.replace("warmup_steps: 400", "warmup_steps: 100")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.py").write_text(RULES)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "config.yaml").chmod(0o640)
    return folder


def fix(rules: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(main, ["fix", "--rules", str(rules), "--select", "TST", *map(str, words)])


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        p.relative_to(folder).as_posix(): (stat.S_IMODE(p.stat().st_mode), p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_the_diff_is_what_would_change_and_nothing_is_written(
    rules: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = tree(run)
    done = fix(rules, "run")
    assert done.stdout == (
        "--- a/run/config.yaml\n"
        "+++ b/run/config.yaml\n"
        "@@ -1,7 +1,7 @@\n"
        " # the plan of v5\n"
        "-seq_len: 320   # windows\n"
        "+seq_len: 256   # windows\n"
        " max_positions: 256\n"
        " epochs: 2\n"
        " steps_per_epoch: 1000\n"
        "-total_steps: 500\n"
        "+total_steps: 2000\n"
        " warmup_steps: 400\n"
    )
    assert done.exit_code == 1
    assert tree(run) == before


def test_stderr_says_what_each_fix_does_and_what_is_held_back(rules: Path, run: Path) -> None:
    said = fix(rules, run).stderr.splitlines()
    assert said == [
        "safe TST001: set seq_len to 256",
        "safe TST002: plan 2000 steps",
        "1 unsafe fix held back; --unsafe-fixes applies them:",
        "  TST003: warm up for 100 steps",
        "checked again: 0 errors and 1 warning (TST003) left",
        "nothing was written: --apply writes this in place, --suffix and --output write corrected copies",
    ]


def test_the_diff_applies_with_patch(rules: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("patch") is None:
        pytest.skip("no patch on this machine")
    monkeypatch.chdir(tmp_path)
    (run / "config.yaml").write_bytes(CONFIG.replace("\n", "\r\n").encode().rstrip(b"\r\n") + b"  # \xc3\xa3")
    diff = fix(rules, "run", "--unsafe-fixes").stdout_bytes
    subprocess.run(["patch", "-p1", "--binary"], input=diff, check=True, capture_output=True)
    assert (run / "config.yaml").read_bytes() == UNSAFE.replace("\n", "\r\n").encode().rstrip(b"\r\n") + b"  # \xc3\xa3"


def test_apply_writes_in_place_one_line_a_file_and_keeps_the_mode(rules: Path, run: Path) -> None:
    done = fix(rules, run, "--apply")
    assert done.stdout == f"edited {run / 'config.yaml'}\n"
    assert done.exit_code == 0
    assert tree(run)["config.yaml"] == (0o640, SAFE.encode())


def test_unsafe_fixes_are_applied_on_request_after_the_safe_ones(rules: Path, run: Path) -> None:
    done = fix(rules, run, "--apply", "--unsafe-fixes")
    assert (run / "config.yaml").read_text() == UNSAFE
    assert done.stderr.splitlines()[-2:] == [
        "unsafe TST003: warm up for 100 steps",
        "checked again: 0 errors and 0 warnings left",
    ]


def test_a_second_run_changes_nothing_more(rules: Path, run: Path) -> None:
    fix(rules, run, "--apply", "--unsafe-fixes")
    before = tree(run)
    done = fix(rules, run, "--apply", "--unsafe-fixes")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert "nothing to change" in done.stderr
    assert tree(run) == before


def test_undo_restores_every_byte_and_leaves_no_trace(rules: Path, run: Path) -> None:
    before = tree(run)
    fix(rules, run, "--apply", "--unsafe-fixes")
    done = fix(rules, run, "--undo")
    assert done.stdout == f"restored {run / 'config.yaml'}\n"
    assert done.exit_code == 0
    assert tree(run) == before
    assert not (run / ".mldiag").exists()


def test_undo_without_anything_written_is_an_error(rules: Path, run: Path) -> None:
    done = fix(rules, run, "--undo")
    assert done.exit_code == 2
    assert done.stderr == f"mldiag: {run}: nothing to undo: no fix was applied to this path\n"


def test_undo_of_a_file_that_changed_since_is_refused(rules: Path, run: Path) -> None:
    fix(rules, run, "--apply")
    (run / "config.yaml").write_text("mine")
    done = fix(rules, run, "--undo")
    assert done.exit_code == 2
    assert done.stderr == (
        f"mldiag: {run / 'config.yaml'}: the file changed since it was written; nothing was undone\n"
    )
    assert (run / "config.yaml").read_text() == "mine"


def test_a_suffix_writes_a_copy_beside_and_leaves_the_original(rules: Path, run: Path) -> None:
    done = fix(rules, run, "--suffix", "_fixed")
    assert done.stdout == f"wrote {run / 'config_fixed.yaml'}\n"
    assert done.exit_code == 0
    found = tree(run)
    assert found["config.yaml"] == (0o640, CONFIG.encode())
    assert found["config_fixed.yaml"] == (0o640, SAFE.encode())


def test_a_copy_is_no_part_of_the_run_but_can_be_checked_by_name(rules: Path, run: Path) -> None:
    fix(rules, run, "--suffix", "_fixed")
    before = tree(run)
    again = fix(rules, run, "--suffix", "_fixed", "--apply")
    assert again.exit_code == 0
    assert again.stderr.startswith("nothing to change: the corrected copies are there\n")
    assert tree(run) == before
    named = fix(rules, run / "config_fixed.yaml", "--unsafe-fixes")
    assert "+warmup_steps: 100" in named.stdout


def test_a_copy_of_ours_follows_its_original_and_undo_takes_the_steps_back(rules: Path, run: Path) -> None:
    fix(rules, run, "--suffix", "_fixed")
    first = tree(run)
    fix(rules, run, "--suffix", "_fixed", "--unsafe-fixes")
    assert (run / "config_fixed.yaml").read_text() == UNSAFE
    assert fix(rules, run, "--undo").stdout == f"restored {run / 'config_fixed.yaml'}\n"
    assert tree(run) == first
    assert fix(rules, run, "--undo").stdout == f"removed {run / 'config_fixed.yaml'}\n"
    assert sorted(tree(run)) == ["config.yaml"]


@pytest.mark.parametrize("ours", [False, True])
def test_a_copy_that_is_not_ours_or_was_changed_is_not_overwritten(rules: Path, run: Path, ours: bool) -> None:
    if ours:
        fix(rules, run, "--suffix", "_fixed")
    (run / "config_fixed.yaml").write_text("mine: 1\n")
    before = tree(run)
    done = fix(rules, run, "--suffix", "_fixed")
    assert done.exit_code == 2
    assert "config_fixed.yaml: exists, and is not as mldiag wrote it" in done.stderr
    assert tree(run) == before


@pytest.mark.parametrize("suffix", ["", "/x", "a/b", "\\x", "a b", "$HOME", "'", "\n"])
def test_a_suffix_that_leads_elsewhere_is_refused(rules: Path, run: Path, suffix: str) -> None:
    before = tree(run)
    done = fix(rules, run, f"--suffix={suffix}")
    assert done.exit_code == 2
    assert "expected letters, digits" in done.stderr
    assert tree(run) == before


def test_output_keeps_the_layout_below_the_checked_path(rules: Path, run: Path, tmp_path: Path) -> None:
    (run / "configs").mkdir()
    (run / "config.yaml").rename(run / "configs" / "config.yaml")
    done = fix(rules, run, "--output", tmp_path / "out")
    assert done.stdout == f"wrote {tmp_path / 'out' / 'configs' / 'config.yaml'}\n"
    assert tree(tmp_path / "out") == {"configs/config.yaml": (0o640, SAFE.encode())}
    assert (run / "configs" / "config.yaml").read_text() == CONFIG
    assert fix(rules, run, "--undo").exit_code == 0
    assert not (tmp_path / "out").exists()


def test_output_inside_the_checked_folder_is_no_run_of_its_own(rules: Path, run: Path) -> None:
    fix(rules, run, "--output", run / "fixed")
    before = tree(run)
    assert "the corrected copies are there" in fix(rules, run, "--output", run / "fixed").stderr
    assert tree(run) == before


def test_copies_of_several_runs_below_one_folder_are_no_runs(rules: Path, run: Path, tmp_path: Path) -> None:
    base = tmp_path / "versions"
    for name in ("v4", "v5"):
        shutil.copytree(run, base / name)
    fix(rules, base, "--output", base / "fixed")
    assert sorted(tree(base / "fixed")) == ["v4/config.yaml", "v5/config.yaml"]
    assert "the corrected copies are there" in fix(rules, base, "--output", base / "fixed").stderr


def test_two_originals_of_the_same_copy_are_refused(rules: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    done = fix(rules, run, other, "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert "would both be written to" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_read_only_file_is_refused_and_nothing_is_written(rules: Path, run: Path) -> None:
    (run / "config.yaml").chmod(0o440)
    done = fix(rules, run, "--apply")
    assert done.exit_code == 2
    assert done.stderr == f"mldiag: {run / 'config.yaml'}: the file is read-only; nothing was written\n"
    assert tree(run) == {"config.yaml": (0o440, CONFIG.encode())}


def test_a_link_that_leads_out_of_the_checked_path_is_refused(rules: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / "config.yaml").rename(tmp_path / "elsewhere" / "config.yaml")
    (run / "config.yaml").symlink_to(tmp_path / "elsewhere" / "config.yaml")
    done = fix(rules, run, "--apply")
    assert done.exit_code == 2
    assert "elsewhere/config.yaml: is outside the checked path; nothing was written" in done.stderr
    assert (tmp_path / "elsewhere" / "config.yaml").read_text() == CONFIG


def test_a_link_inside_the_checked_path_stays_one_and_its_target_is_edited(rules: Path, run: Path) -> None:
    (run / "real.txt").write_text(CONFIG)
    (run / "config.yaml").unlink()
    (run / "config.yaml").symlink_to("real.txt")
    done = fix(rules, run, "--apply")
    assert done.stdout == f"edited {run / 'real.txt'}\n"
    assert (run / "config.yaml").is_symlink()
    assert (run / "real.txt").read_text() == SAFE
    fix(rules, run, "--undo")
    assert (run / "real.txt").read_text() == CONFIG


@pytest.fixture
def half_done(rules: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, bytes]]:
    """The run with a second plan, after a kill between the two files of a fix; what it was before."""
    (run / "more").mkdir()
    (run / "more" / "plan.yaml").write_text(CONFIG.replace("seq_len: 320", "seq_len: 256"))
    before = tree(run)
    real, replaced = Path.replace, []

    class Killed(BaseException):
        pass

    def killing(path: Path, target: Path) -> Path:
        replaced.append(path)
        if len(replaced) == 3:  # the journal, the first file
            raise Killed
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killing)
        with pytest.raises(Killed):
            write(
                [
                    Write(path, run, path.read_bytes(), path.read_bytes().replace(b"500", b"2000"), 0o640)
                    for path in (run / "config.yaml", run / "more" / "plan.yaml")
                ]
            )
    assert tree(run) != before
    return before


def test_a_fix_that_was_left_half_done_is_told_by_the_next_check(
    rules: Path, run: Path, half_done: dict[str, tuple[int, bytes]]
) -> None:
    now = tree(run)
    line = (
        f"mldiag: {run}: a fix was interrupted while it was written, with 1 of 2 files corrected; "
        f"`mldiag fix --undo {run}` takes it back\n"
    )
    for path in (run, run / "config.yaml", run.parent):
        checked = CliRunner().invoke(main, ["check", str(path), "--rules", str(rules), "--select", "TST"])
        assert checked.exit_code == 2
        assert line in checked.stderr
    shown = fix(rules, run)
    assert shown.exit_code == 2
    assert line in shown.stderr
    assert tree(run) == now


def test_a_fix_that_was_left_half_done_is_taken_back_on_request(
    rules: Path, run: Path, half_done: dict[str, tuple[int, bytes]]
) -> None:
    done = fix(rules, run, "--undo")
    assert done.exit_code == 0
    assert done.stdout == f"restored {run / 'config.yaml'}\n"
    assert tree(run) == half_done


def test_a_fix_that_was_left_half_done_is_taken_back_before_the_next_is_written(
    rules: Path, run: Path, half_done: dict[str, tuple[int, bytes]]
) -> None:
    done = fix(rules, run, "--apply")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"restored {run / 'config.yaml'}\nedited ")
    assert "an earlier fix was interrupted while it was written" in done.stderr
    assert (run / "config.yaml").read_text() == SAFE
    assert fix(rules, run, "--undo").exit_code == 0
    assert tree(run) == half_done


def test_a_fix_that_was_left_half_done_below_the_named_folder_keeps_others_from_being_written(
    rules: Path, run: Path, half_done: dict[str, tuple[int, bytes]]
) -> None:
    now = tree(run)
    done = fix(rules, run.parent, "--apply")
    assert done.exit_code == 2
    assert "a fix was interrupted while it was written" in done.stderr
    assert {name: held for name, held in tree(run).items() if ".mldiag" not in name} == {
        name: held for name, held in now.items() if ".mldiag" not in name
    }


def test_of_several_runs_each_fix_is_told_with_its_own(rules: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    said = fix(rules, run, other).stderr.splitlines()
    assert f"{run}: safe TST001: set seq_len to 256" in said
    assert f"  {other}: TST003: warm up for 100 steps" in said


def test_a_missing_path_is_told_and_the_others_are_fixed(rules: Path, run: Path, tmp_path: Path) -> None:
    done = fix(rules, run, tmp_path / "nowhere", "--apply")
    assert done.exit_code == 2
    assert f"mldiag: {tmp_path / 'nowhere'}: no such file or folder" in done.stderr
    assert (run / "config.yaml").read_text() == SAFE


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_fixed(rules: Path, run: Path) -> None:
    (run / "broken.yaml").write_text("a: [1\n")
    done = fix(rules, run, "--apply")
    assert done.exit_code == 2
    assert "broken.yaml" in done.stderr
    assert (run / "config.yaml").read_text() == SAFE


def test_rules_can_be_selected_and_left_out(rules: Path, run: Path) -> None:
    words = ["fix", "--rules", str(rules), "--select", "TST001,TST002", "--ignore", "TST002", str(run), "--apply"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0
    assert (run / "config.yaml").read_text() == CONFIG.replace("320", "256")


def test_what_only_a_person_can_do_is_said_without_control_characters(rules: Path, run: Path) -> None:
    (run / "config.yaml").write_text("d_model: 64\n")
    done = fix(rules, run)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "nothing to change",
        "only a person can do this:",
        r"  TST004: choose a larger model\x1b[2J",
        "0 errors and 1 warning (TST004) found",
    ]


@pytest.mark.parametrize(
    "words", [("--undo", "--apply"), ("--undo", "--suffix", "_x"), ("--suffix", "_x", "--output", "out")]
)
def test_options_that_contradict_each_other_are_refused(rules: Path, run: Path, words: tuple[str, ...]) -> None:
    before = tree(run)
    assert fix(rules, run, *words).exit_code == 2
    assert tree(run) == before


LAUNCH = """\
#!/bin/bash
# train.py trains
python train.py --config configs/v5.yaml \\
    --total_steps 500 \\
    --epochs 2 --steps_per_epoch 1000 2>&1 | tee train.py.log
"""
PROGRAM = """\
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--seq_len", type=int, default=320)
parser.add_argument("--max_positions", type=int, default=256)
parser.add_argument("--total_steps", type=int, default=1)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--steps_per_epoch", type=int, default=1)
args = parser.parse_args()
"""


@pytest.fixture
def launched(tmp_path: Path) -> Path:
    folder = tmp_path / "launched"
    folder.mkdir()
    (folder / "run.sh").write_text(LAUNCH)
    (folder / "run.sh").chmod(0o755)
    (folder / "train.py").write_text(PROGRAM)
    return folder


def test_the_copy_of_a_script_calls_the_copy_of_its_program(rules: Path, launched: Path) -> None:
    done = fix(rules, launched, "--suffix", "_fixed")
    assert done.exit_code == 0, done.stderr
    assert sorted(done.stdout.split()[1::2]) == [str(launched / "run_fixed.sh"), str(launched / "train_fixed.py")]
    assert (launched / "run_fixed.sh").read_text() == LAUNCH.replace(
        "python train.py", "python train_fixed.py"
    ).replace("--total_steps 500", "--total_steps 2000")
    assert (launched / "train_fixed.py").read_text() == PROGRAM.replace("320", "256")
    assert (launched / "run.sh").read_text() == LAUNCH
    assert fix(rules, launched / "run_fixed.sh").exit_code == 0
    before = tree(launched)
    assert "nothing to change" in fix(rules, launched, "--suffix", "_fixed").stderr
    assert tree(launched) == before


def test_a_script_without_edits_gets_a_copy_that_calls_the_copy_of_its_program(rules: Path, launched: Path) -> None:
    (launched / "run.sh").write_text("python3 ./train.py --epochs 1\n")
    fix(rules, launched, "--suffix", "_fixed")
    assert (launched / "run_fixed.sh").read_text() == "python3 ./train_fixed.py --epochs 1\n"


def test_the_copy_of_a_script_uses_the_copies_of_its_configurations(rules: Path, launched: Path) -> None:
    (launched / "configs").mkdir()
    (launched / "configs" / "v5.yaml").write_text("seq_len: 320\nmax_positions: 256\n")
    (launched / "train.py").unlink()
    done = fix(rules, launched, "--suffix", "_fixed")
    assert done.exit_code == 0, done.stderr
    assert "--config configs/v5_fixed.yaml" in (launched / "run_fixed.sh").read_text()


@pytest.mark.parametrize(
    "script", ["P=train.py\npython $P --epochs 1\n", "python train.py --log train.py --epochs 1\n"]
)
def test_a_program_that_is_not_named_exactly_once_is_refused(rules: Path, launched: Path, script: str) -> None:
    (launched / "run.sh").write_text(script)
    before = tree(launched)
    done = fix(rules, launched, "--suffix", "_fixed")
    assert done.exit_code == 2
    assert "cannot be made to use train_fixed.py" in done.stderr
    assert tree(launched) == before


def test_a_module_that_is_imported_gets_no_copy_of_another_name(rules: Path, launched: Path) -> None:
    (launched / "run.sh").unlink()
    (launched / "options.py").write_text(PROGRAM)
    (launched / "train.py").write_text("import options\noptions.args\n")
    before = tree(launched)
    done = fix(rules, launched, "--suffix", "_fixed")
    assert done.exit_code == 2
    assert "options.py: is imported by train.py" in done.stderr
    assert tree(launched) == before


def test_a_module_run_with_m_is_called_by_its_copys_name(rules: Path, launched: Path) -> None:
    (launched / "pkg").mkdir()
    (launched / "train.py").rename(launched / "pkg" / "train.py")
    (launched / "run.sh").write_text("python -m pkg.train --epochs 1\n")
    done = fix(rules, launched, "--suffix", "_fixed")
    assert done.exit_code == 0, done.stderr
    assert (launched / "run_fixed.sh").read_text() == "python -m pkg.train_fixed --epochs 1\n"
    refused = fix(rules, launched, "--suffix", "-2")
    assert refused.exit_code == 2
    assert "python -m cannot run train-2" in refused.stderr


def test_colour_is_for_terminals_only(rules: Path, run: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    words = ["fix", "--rules", str(rules), "--select", "TST", str(run)]
    plain = CliRunner().invoke(main, words, env=environment)
    assert "\x1b" not in plain.stdout
    coloured = CliRunner().invoke(main, words, env=environment | {"FORCE_COLOR": "1"}, color=True)
    assert "\x1b[32m+seq_len: 256   # windows\x1b[0m\n" in coloured.stdout
    silenced = CliRunner().invoke(main, words, env=environment | {"FORCE_COLOR": "1", "NO_COLOR": "1"}, color=True)
    assert "\x1b" not in silenced.stdout


V5 = Path(__file__).parents[2] / "examples" / "versions" / "v5-transformer"


@pytest.fixture
def v5(tmp_path: Path) -> Path:
    return Path(shutil.copytree(V5, tmp_path / "v5-transformer"))


def test_the_v5_run_is_corrected_in_a_copy_that_passes_the_gate_before_training(v5: Path) -> None:
    before = tree(v5)
    done = CliRunner().invoke(main, ["fix", str(v5), "--apply", "--unsafe-fixes", "--suffix", "_fixed"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"wrote {v5 / 'run_v5_transformer_fixed.sh'}\n"
    copy = (v5 / "run_v5_transformer_fixed.sh").read_text()
    for flag in (
        "--seq_len 256",
        "--stride 128",
        "--steps_per_epoch 651",
        "--total_steps 1302",
        "--warmup_steps 65",
        "--batch_size 192",
    ):
        assert f"  {flag} \\\n" in copy
    assert {name: tree(v5)[name] for name in before} == before
    checked = CliRunner().invoke(main, ["check", "--stage", "pre", str(v5 / "run_v5_transformer_fixed.sh")])
    assert checked.exit_code == 0, checked.stdout
    assert CliRunner().invoke(main, ["fix", str(v5), "--undo"]).exit_code == 0
    assert tree(v5) == before


def test_the_safe_fixes_of_the_v5_run_restore_what_its_other_parts_say(v5: Path) -> None:
    done = CliRunner().invoke(main, ["fix", str(v5), "--apply"])
    assert done.exit_code == 0, done.stderr
    script = (v5 / "run_v5_transformer.sh").read_text()
    original = (V5 / "run_v5_transformer.sh").read_text()
    assert script == original.replace("--seq_len 320", "--seq_len 256").replace(
        "--total_steps 10000", "--total_steps 83306"
    )
    assert "CFG008" in done.stderr
    before = tree(v5)
    assert "nothing to change" in CliRunner().invoke(main, ["fix", str(v5), "--apply"]).stderr
    assert tree(v5) == before


def test_what_the_last_run_recorded_does_not_undo_a_fix(tmp_path: Path) -> None:
    command = "python train.py --lr 3e-4 --max_steps 10000 --warmup_ratio 0.3 --seed 1\n"
    (tmp_path / "run.sh").write_text(command)
    (tmp_path / "args.json").write_text('{"lr": 3e-4, "max_steps": 10000, "warmup_ratio": 0.3, "seed": 1}\n')
    done = CliRunner().invoke(main, ["fix", "--apply", "--unsafe-fixes", str(tmp_path)])
    assert (tmp_path / "run.sh").read_text() == command.replace("0.3 ", "0.05 "), done.stderr
