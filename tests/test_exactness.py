"""What the files of real runs do that a quick parser gets wrong, each read to the number: files as programs write them.

The runs that showed each of these to be needed are checked in `test_exactness_of_real_runs.py`, where they are at hand.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mldiag.audit import Request, audit, read_runs
from mldiag.facts.curves import Curves, prepared
from mldiag.facts.plan import Plan
from mldiag.overview import described
from mldiag.plugins import Plugins, load
from mldiag.run import Run

sys.path.insert(0, str(Path(__file__).parent / "readers"))
from test_tensorboard import VERSION, event, record

Files = Mapping[str, bytes | str]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


class Reading:
    """Writes files into a folder and reads what is there as a user would have it read."""

    def __init__(self, folder: Path, plugins: Plugins) -> None:
        self.folder = folder
        self.plugins = plugins
        self.problems: list[str] = []

    def all(self, files: Files) -> list[Run]:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_runs(Request((self.folder,)), self.plugins, self.problems))

    def __call__(self, files: Files) -> Run:
        (run,) = self.all(files)
        return run

    def findings(self) -> set[str]:
        return {f.code for f in audit(Request((self.folder,)), self.plugins).findings}


@pytest.fixture
def read(tmp_path: Path, plugins: Plugins) -> Reading:
    return Reading(tmp_path, plugins)


def values(run: Run, name: str) -> list[float]:
    return run.metrics.require(name).data.tolist()


def steps(run: Run, name: str) -> list[float] | None:
    column = run.metrics.require(name).step_data
    return None if column is None else column.tolist()


def epochs(run: Run, name: str) -> list[float] | None:
    column = run.metrics.require(name).epoch_data
    return None if column is None else column.tolist()


def told(run: Run, name: str) -> dict[str, Any]:
    """What `mldiag inspect` tells of a series."""
    return next(s for s in described(run)["series"] if s["name"] == name)


def reasons(run: Run) -> list[str]:
    return [str(u) for u in run.unread if u.known]


def jsonl(*rows: Mapping[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# Several launches in one log.


def test_launches_appended_to_one_log_are_kept_whole_counted_and_the_last_is_judged(read: Reading) -> None:
    first = [{"iteration": i, "total_loss": 9.0 - i / 100, "lr": 1e-3} for i in range(19, 120, 20)]
    again = [{"iteration": i, "total_loss": 5.0 - i / 100, "lr": 1e-3} for i in range(19, 80, 20)]
    run = read({"metrics.json": jsonl(*first, *again)})
    assert values(run, "train/loss") == [row["total_loss"] for row in (*first, *again)]
    assert told(run, "train/loss")["launches"] == 2
    assert described(run)["summary"]["launches"] == 2
    curve = run.get(Curves).get("train/loss")
    assert (curve.launch, curve.launches) == (2, 2)
    assert list(curve.values) == [row["total_loss"] for row in again]


def test_a_text_log_that_starts_over_has_two_launches(read: Reading) -> None:
    lines = [f"Epoch {e}/20 - loss: {3 - e / 10:.4f}" for e in (*range(1, 9), *range(1, 5))]
    run = read({"train.log": "\n".join(lines) + "\n"})
    assert told(run, "train/loss")["launches"] == 2
    assert epochs(run, "train/loss") == [*range(1, 9), *range(1, 5)]


# Values that stand for something else.


def test_a_zero_for_not_evaluated_is_read_as_it_stands_and_left_out_of_what_is_judged(read: Reading) -> None:
    rows = ["epoch,train_loss,val_loss"]
    rows += [f"{e},{2 - e / 50:.3f},{1.9 - e / 60 if e % 5 == 4 else 0.0:.3f}" for e in range(50)]
    run = read({"log.csv": "\n".join(rows) + "\n"})
    read_values = values(run, "val/loss")
    assert len(read_values) == 50
    assert read_values.count(0.0) == 40
    curve = prepared(run.metrics.require("val/loss"))
    assert len(curve) == 10
    assert min(curve.values) > 1


def test_a_loss_that_reaches_zero_is_no_placeholder(read: Reading) -> None:
    rows = [{"epoch": e, "val_loss": max(0.0, 1 - e / 10)} for e in range(15)]
    assert len(prepared(read({"log.jsonl": jsonl(*rows)}).metrics.require("val/loss"))) == 15


def test_learning_rates_that_were_printed_as_zero_raise_no_alarm(read: Reading) -> None:
    lines = [f"Epoch {e}: loss {2.0 - e / 30:.4f} val_loss {2.1 - e / 32:.4f} lr 0.0000" for e in range(1, 41)]
    run = read({"train.log": "\n".join(lines) + "\n"})
    assert set(values(run, "lr")) == {0.0}
    assert not {c for c in read.findings() if c.startswith("SCH")}


def test_an_exact_learning_rate_goes_before_a_rounded_one_of_another_file(read: Reading) -> None:
    exact = [5e-6 * (1 - e / 20) for e in range(1, 21)]
    log = "".join(f"EPOCH {e} done: loss {1 / e:.4f} - lr: {lr:.6f}\n" for e, lr in enumerate(exact, 1))
    table = "EPOCH\tLEARNING_RATE\tTRAIN_LOSS\n" + "".join(
        f"{e}\t{lr:.10f}\t{1 / e:.12f}\n" for e, lr in enumerate(exact, 1)
    )
    run = read({"training.log": log, "loss.tsv": table})
    assert values(run, "lr") == pytest.approx(exact, abs=1e-10)
    assert [p.path for p in run.metrics.require("lr").also] == ["training.log"]
    assert not run.metrics.disagreements


def test_an_undefined_sub_metric_is_no_fault_of_the_run(read: Reading) -> None:
    rows = [
        {"iteration": i, "total_loss": 3 - i / 200, "bbox/AP": 20 + i / 10, "bbox/APs": math.nan, "bbox/APl": 30.0}
        for i in range(19, 400, 20)
    ]
    run = read({"metrics.json": jsonl(*rows)})
    small = next(s for s in run.metrics if s.raw_name == "bbox/APs")
    assert len(small) == len(rows)
    assert all(map(math.isnan, small.data))
    assert told(run, small.name)["not_finite"] == len(rows)
    assert "CUR005" not in read.findings()


def test_negative_losses_are_losses(read: Reading) -> None:
    log = "".join(
        f"2024-01-01 10:0{e % 6}:00: \nepoch:  {e} \n2024-01-01 10:0{e % 6}:30: train loss : {-0.4 - e / 40:.4f} \n"
        f"2024-01-01 10:0{e % 6}:40: validation loss: {-0.45 - e / 50:.4f} \n"
        for e in range(12)
    )
    run = read({"training_log_2024_1_1_10_00_00.txt": log})
    assert values(run, "train/loss") == [round(-0.4 - e / 40, 4) for e in range(12)]
    assert values(run, "val/loss") == [round(-0.45 - e / 50, 4) for e in range(12)]
    assert not {c for c in read.findings() if c.startswith("CUR0") and c != "CUR011"}


# Tables that are not as they should be.


def test_columns_that_moved_in_a_row_are_told_with_the_line_and_cost_only_that_row(read: Reading) -> None:
    good = [f"{e},{2 - e / 10:.2f},{2.1 - e / 10:.2f},0.001" for e in range(6)]
    moved = "6,1.40,1.50,extra,0.001"
    run = read({"history.csv": "\n".join(["epoch,train_loss,val_loss,lr", *good, moved, "7,1.30,1.40,0.001"]) + "\n"})
    assert values(run, "lr").count(0.001) == len(values(run, "lr"))
    assert 1.3 in values(run, "train/loss")
    assert any(":8:" in r or "line 8" in r for r in reasons(run)), reasons(run)


def test_an_index_that_the_header_does_not_name_shifts_nothing(read: Reading) -> None:
    rows = [f"{e},{e + 1},{2 - e / 10:.2f},{2.1 - e / 10:.2f}" for e in range(8)]
    run = read({"history.csv": "\n".join(["epoch,train_loss,val_loss", *rows]) + "\n"})
    assert epochs(run, "train/loss") == [*range(1, 9)]
    assert values(run, "val/loss") == [round(2.1 - e / 10, 2) for e in range(8)]


def test_numbers_written_as_strings_are_numbers(read: Reading) -> None:
    rows = [{"epoch": e, "num_updates": str(200 * e), "loss": f"{9 - e}.25", "lr": "3.1e-06"} for e in range(1, 7)]
    run = read({"log.jsonl": jsonl(*rows)})
    assert values(run, "train/loss") == [9.25 - e for e in range(1, 7)]
    assert values(run, "lr") == [3.1e-6] * 6
    assert steps(run, "train/loss") == [200.0 * e for e in range(1, 7)]


def test_json_inside_the_lines_of_a_log_is_read(read: Reading) -> None:
    lines = [
        f'[2022-04-08 18:4{n}:05,372][train_inner][INFO] - {{"epoch": 1, "update": 0.{n}, "loss": "{9 - n}.276", '
        f'"lr": "{n + 1}e-06", "num_updates": "{200 * (n + 1)}", "gnorm": "1.421"}}'
        for n in range(5)
    ]
    run = read({"hydra_train.log": "starting\n" + "\n".join(lines) + "\n"})
    assert values(run, "train/loss") == [9.276, 8.276, 7.276, 6.276, 5.276]
    assert steps(run, "train/loss") == [200, 400, 600, 800, 1000]


def test_a_plan_of_two_to_the_63_minus_one_epochs_is_no_plan(read: Reading) -> None:
    state = {
        "num_train_epochs": 2**63 - 1, "max_steps": 600, "global_step": 600, "epoch": 0.5,
        "log_history": [{"step": s, "epoch": s / 1200, "loss": 3 - s / 500} for s in range(50, 601, 50)],
    }  # fmt: skip
    run = read({"trainer_state.json": json.dumps(state)})
    assert run.get(Plan).epochs is None
    assert run.get(Plan).run_steps.value == 600
    assert "SCH002" not in read.findings()


def test_the_step_of_an_openmmlab_validation_is_that_of_the_training_before_it(read: Reading) -> None:
    rows: list[dict[str, object]] = [{"env_info": "sys.platform: linux", "seed": 0}]
    for i in range(10, 201, 10):
        rows.append({"mode": "train", "epoch": 1 + i // 60, "iter": i, "lr": 0.01, "loss": 2 - i / 200})
        if i % 40 == 0:
            rows.append({"mode": "val", "epoch": 1 + i // 60, "iter": 16, "lr": 0.01, "mIoU": i / 400})
    run = read({"20240101_000000.log.json": jsonl(*rows)})
    assert steps(run, "val/miou") == [40, 80, 120, 160, 200]
    assert steps(run, "train/loss") == [*range(10, 201, 10)]


# Encodings and terminals.

LOG = "".join(f"Epoch {e}/5 - loss: {3 - e / 10:.3f} - val_loss: {3.1 - e / 10:.3f}\n" for e in range(1, 6))
LOSSES = [2.9, 2.8, 2.7, 2.6, 2.5]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(LOG.encode("utf-16"), id="UTF-16 as PowerShell redirects"),
        pytest.param(LOG.encode("utf-16-le"), id="UTF-16 without its mark"),
        pytest.param(LOG.encode("utf-16-be"), id="UTF-16, the other order"),
        pytest.param(LOG.encode("utf-8-sig"), id="a byte-order mark"),
        pytest.param(LOG.replace("\n", "\r\n").encode(), id="CR LF"),
        pytest.param(LOG.replace("\n", "\r\n").encode("utf-16"), id="UTF-16 and CR LF"),
        pytest.param(("训练开始，模型参数如下\n" + LOG).encode("gb18030"), id="GB18030"),
        pytest.param(("Début de l'entraînement\n" + LOG).encode("latin-1"), id="Latin-1"),
        pytest.param(LOG.replace("loss", "\x1b[1;32mloss\x1b[0m").encode(), id="ANSI colours"),
        pytest.param(LOG.replace("Epoch", "\x1b[2K\rEpoch").encode(), id="lines redrawn with ANSI codes"),
        pytest.param(LOG.rstrip("\n").encode(), id="no end of the last line"),
    ],
)
def test_a_log_is_the_same_in_every_encoding(read: Reading, content: bytes) -> None:
    run = read({"train.log": content})
    assert values(run, "train/loss") == LOSSES
    assert values(run, "val/loss") == [3.0, 2.9, 2.8, 2.7, 2.6]
    assert epochs(run, "val/loss") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "gb18030"])
def test_a_table_is_the_same_in_every_encoding(read: Reading, codec: str) -> None:
    rows = "\r\n".join(["epoch,loss,备注", *(f"{e},{3 - e / 10:.1f},正常结果" for e in range(1, 6))]) + "\r\n"
    run = read({"metrics.csv": rows.encode(codec)})
    assert values(run, "train/loss") == LOSSES
    assert epochs(run, "train/loss") == [1, 2, 3, 4, 5]


def test_progress_bars_of_carriage_returns_alone_give_their_states_and_ends(read: Reading) -> None:
    states = [
        f"\r\x1b[1mEpoch {e}: {10 * n:3d}%|{'#' * n:10}| {n}/10 [00:01<00:01, 9it/s, loss={4 - e - n / 10:.2f}]\x1b[0m"
        for e in range(3)
        for n in range(1, 11)
    ]
    run = read({"output.log": "".join(states)})
    assert values(run, "train/loss") == [round(4 - e - n / 10, 2) for e in range(3) for n in range(1, 11)]
    assert steps(run, "train/loss") == [*range(1, 31)]


def test_a_git_lfs_pointer_is_told_for_what_it_is_and_nothing_of_it_is_read(read: Reading) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 123456\n"
    names = ("train.log", "metrics.csv", "model.safetensors", "events.out.tfevents.1700000000.h.1.0", "log.jsonl")
    run = read({**dict.fromkeys(names, pointer), "history.json": json.dumps({"loss": [3, 2], "val_loss": [3, 2]})})
    assert {s.source.path for s in run.metrics} == {"history.json"}
    assert not run.settings.found
    assert sum("Git LFS" in r for r in reasons(run)) == len(names), reasons(run)


def test_a_log_that_holds_its_own_source_is_a_log_not_source(read: Reading) -> None:
    source = 'import torch\n\nlr = 3e-4\nprint(f"step:{step}/{train_steps} val_loss:{val_loss:.4f} loss: 99.0")\n'
    log = "".join(
        f"step:{s}/2000 val_loss:{9 - s / 400:.4f} train_time:{s * 40}ms step_avg:40.00ms\n"
        for s in range(0, 2001, 250)
    )
    run = read({"logs.txt": source + "=" * 100 + "\nRunning PyTorch 2.5\n" + "=" * 100 + "\n" + log})
    assert values(run, "val/loss") == [round(9 - s / 400, 4) for s in range(0, 2001, 250)]
    assert steps(run, "val/loss") == [*range(0, 2001, 250)]
    assert "train/loss" not in run.metrics


# Files that are still written, cut or damaged.


def test_a_file_that_grows_while_it_is_read_gives_whole_rows_only(tmp_path: Path, plugins: Plugins) -> None:
    path, stop = tmp_path / "log.jsonl", threading.Event()
    path.write_text(jsonl(*({"step": s, "loss": s / 7} for s in range(200))))

    def write() -> None:
        with path.open("a") as stream:
            s = 200
            while not stop.is_set() and s < 200_000:
                for half in (f'{{"step": {s}, "lo', f'ss": {s / 7!r}}}\n'):
                    stream.write(half)
                    stream.flush()
                s += 1

    writer = threading.Thread(target=write)
    begun = path.stat().st_size
    writer.start()
    try:
        while path.stat().st_size == begun:
            pass
        for _ in range(10):
            (run,) = read_runs(Request((tmp_path,)), plugins, [])
            logged = run.metrics.require("train/loss")
            assert len(logged) > 199
            assert logged.step_data.tolist() == [*range(len(logged))]
            assert logged.data.tolist() == [s / 7 for s in range(len(logged))]
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    ("name", "content", "cut"),
    [
        ("log.jsonl", jsonl(*({"step": s, "loss": 9.5 - s} for s in range(1, 6))), '{"step": 6, "lo'),
        ("metrics.csv", "step,loss\n" + "".join(f"{s},{9.5 - s}\n" for s in range(1, 6)), "6,"),
        ("train.log", "".join(f"step {s} loss {9.5 - s} lr 0.001\n" for s in range(1, 6)), "step 6 lo"),
        ("metrics/loss", "".join(f"17000000{s}0000 {9.5 - s} {s}\n" for s in range(1, 6)), "170000"),
    ],
)
def test_of_a_file_with_a_cut_last_line_the_rest_is_kept(read: Reading, name: str, content: str, cut: str) -> None:
    files = {name: content + cut}
    if "/" in name:
        files["meta.yaml"] = "artifact_uri: x\nrun_id: ab\nstatus: 3\n"
    run = read(files)
    assert values(run, "train/loss") == [8.5, 7.5, 6.5, 5.5, 4.5]
    assert steps(run, "train/loss") == [1, 2, 3, 4, 5]
    if name in run.rows:
        assert (run.rows[name].count, run.rows[name].cut) == (6 if name.endswith(".csv") else 5, True)


def test_damage_inside_an_event_file_costs_its_record_and_is_counted(read: Reading) -> None:
    def scalar(step: int) -> bytes:
        value = b"\x0a\x04loss\x15" + struct.pack("<f", 8.0 - step)
        return record(event(step, 1.7e9 + step, value))

    records = [scalar(s) for s in range(1, 7)]
    broken = bytearray(records[2])
    broken[-6] ^= 1
    name = "events.out.tfevents.1700000000.host.1.0"
    run = read({name: VERSION + b"".join((*records[:2], bytes(broken), *records[3:]))})
    assert values(run, "train/loss") == [7, 6, 4, 3, 2]
    assert steps(run, "train/loss") == [1, 2, 4, 5, 6]
    (reason,) = reasons(run)
    assert str(len(broken)) in reason.replace(",", "")


# Axes and units.


def test_steps_epochs_and_wall_times_are_told_apart_and_kept(read: Reading) -> None:
    rows = [
        {"epoch": e / 4, "global_step": 10 * e, "_timestamp": 1.7e9 + 60 * e, "loss": 3 - e / 10, "time": 0.5}
        for e in range(1, 9)
    ]
    run = read({"log.jsonl": jsonl(*rows)})
    loss = run.metrics.require("train/loss")
    assert steps(run, "train/loss") == [10 * e for e in range(1, 9)]
    assert epochs(run, "train/loss") == [e / 4 for e in range(1, 9)]
    assert loss.time_data is not None
    assert loss.time_data.tolist() == [1.7e9 + 60 * e for e in range(1, 9)]


def test_a_step_that_stands_still_is_no_axis_where_another_moves(read: Reading) -> None:
    rows = [{"_step": s, "train/global_step": 0, "eval/loss": 3 - s / 10} for s in range(5)]
    assert steps(read({"wandb-history.jsonl": jsonl(*rows)}), "val/loss") == [0, 1, 2, 3, 4]


def test_evaluations_twice_at_one_step_keep_it(read: Reading) -> None:
    rows = [{"step": s, "loss": 3 - s / 1000} for s in (300, 600, 900)]
    run = read({"log.jsonl": jsonl(*rows, {"step": 1000, "eval_loss": 2.5}, {"step": 1000, "eval_loss": 2.4})})
    assert steps(run, "val/loss") == [1000, 1000]


@pytest.mark.parametrize(
    ("key", "numbers", "name", "unit"),
    [
        ("val_acc", [0.4, 0.6, 0.7], "val/accuracy", "fraction"),
        ("val_acc", [40.5, 60.5, 70.5], "val/accuracy", "percent"),
        ("val_bpb", [1.4, 1.2, 1.1], "val/bits_per_byte", "bits"),
        ("val_loss (nats)", [3.4, 3.2, 3.1], "val/loss", "nats"),
        ("val_loss", [3.4, 3.2, 3.1], "val/loss", None),
        ("step_time_ms", [34.0, 32.0, 31.0], None, "ms"),
        ("tokens_per_second", [1000.0, 1100.0, 1150.0], "tokens_per_s", "tokens/s"),
    ],
)
def test_units_are_known_where_the_name_or_a_score_says_them(
    read: Reading, key: str, numbers: list[float], name: str | None, unit: str | None
) -> None:
    run = read({"log.jsonl": jsonl(*({"step": s, "loss": 1.0, key: v} for s, v in enumerate(numbers)))})
    found = next(s for s in run.metrics if s.raw_name == key)
    assert found.unit == unit
    assert name is None or found.name == name
    assert told(run, found.name)["unit"] == unit


# One series wherever it stands.


def history(folder: str, losses: list[float], digits: int) -> Files:
    rows = [{"step": 10 * i, "train_loss": round(v, digits)} for i, v in enumerate(losses, 1)]
    return {f"{folder}log.jsonl": jsonl(*rows)}


def table(losses: list[float], digits: int) -> Files:
    return {"metrics.csv": "step,train_loss\n" + "".join(f"{10 * i},{v:.{digits}f}\n" for i, v in enumerate(losses, 1))}


CURVE = [3 / (1 + i / 7) for i in range(20)]


def test_two_sources_of_one_series_are_one_with_both_places(read: Reading) -> None:
    run = read({**history("", CURVE, 8), **table(CURVE, 3)})
    loss = run.metrics.require("train/loss")
    assert loss.data.tolist() == [round(v, 8) for v in CURVE]
    assert (loss.source.path, [p.path for p in loss.also]) == ("log.jsonl", ["metrics.csv"])
    assert not run.passed_over
    assert [p["path"] for p in told(run, "train/loss")["also"]] == ["metrics.csv"]


def test_two_files_that_disagree_at_a_step_are_a_fact_with_both_places(read: Reading) -> None:
    other = [v + (0.5 if i >= 15 else 0) for i, v in enumerate(CURVE)]
    run = read({**history("", CURVE, 8), **table(other, 4)})
    (found,) = run.metrics.disagreements
    assert (found.name, found.place, found.points, found.common) == ("train/loss", "step 160", 5, 20)
    assert found.kept == pytest.approx(CURVE[15], abs=1e-8)
    assert found.other == pytest.approx(CURVE[15] + 0.5, abs=1e-4)
    assert {str(found.kept_at), str(found.other_at)} == {"log.jsonl:16", "metrics.csv:17"}
    assert described(run)["disagreements"][0]["points"] == 5


def test_a_name_of_no_known_meaning_is_kept_and_told(read: Reading) -> None:
    run = read({"log.jsonl": jsonl(*({"step": s, "loss": 2.0, "Zorblax_Quux": s / 3} for s in range(5)))})
    found = next(s for s in described(run)["series"] if s["raw_name"] == "Zorblax_Quux")
    assert not found["known"]
    assert values(run, found["name"]) == [s / 3 for s in range(5)]


# Where runs are.

ROWS = jsonl(*({"step": s, "loss": 2 - s / 100} for s in range(1, 40)))


def names(runs: list[Run], folder: Path) -> list[str]:
    return sorted(run.root.relative_to(folder).as_posix() for run in runs)


def test_of_a_repository_only_the_runs_are_audited(read: Reading) -> None:
    runs = read.all({
        ".git/logs/HEAD": ROWS, ".git/train.log": ROWS, "node_modules/chart/log.jsonl": ROWS,
        "venv/lib/site-packages/pkg/history.json": ROWS, "tools/pyvenv.cfg": "home = /usr", "tools/lib/log.jsonl": ROWS,
        "README.md": "# project\nloss: 3.0\n", "src/model.py": "import torch\n", "package.json": '{"name": "x"}',
        "requirements.txt": "torch==2.1\n", "tests/test_model.py": "def test_it(): pass\n",
        "runs/a/log.jsonl": ROWS, "runs/b/log.jsonl": ROWS,
    })  # fmt: skip
    assert names(runs, read.folder) == ["runs/a", "runs/b"]
    assert not [p for run in runs for p in run.files if "node_modules" in p or "site-packages" in p or ".git" in p]


def test_a_sweep_of_runs_is_one_run_each(read: Reading) -> None:
    logs = {f"sweep/lr={lr}/log.jsonl": ROWS for lr in (1, 2, 3)}
    runs = read.all(logs | {f"sweep/lr={lr}/config.yaml": f"lr: {lr}\n" for lr in (1, 2, 3)})
    assert names(runs, read.folder) == ["sweep/lr=1", "sweep/lr=2", "sweep/lr=3"]
    assert sorted(run.settings.get("lr", int) for run in runs) == [1, 2, 3]


def test_the_runs_of_an_mlruns_folder_carry_the_names_their_users_gave(read: Reading) -> None:
    files = {"mlruns/0/meta.yaml": "name: Default\nexperiment_id: '0'\n"}
    for run, name in (("ab12", "bold-owl"), ("cd34", "shy-fox")):
        files[f"mlruns/0/{run}/meta.yaml"] = f"artifact_uri: file:///a/{run}\nrun_id: {run}\nrun_name: {name}\n"
        files[f"mlruns/0/{run}/metrics/val_loss"] = "".join(f"17000000{s}0000 {2 - s / 10} {s}\n" for s in range(5))
        files[f"mlruns/0/{run}/params/lr"] = "0.1"
        files[f"mlruns/0/{run}/tags/mlflow.runName"] = name
    runs = read.all(files)
    assert sorted(run.name for run in runs) == ["bold-owl", "shy-fox"]
    assert [values(run, "val/loss") for run in runs] == [[2, 1.9, 1.8, 1.7, 1.6]] * 2
    assert [steps(run, "val/loss") for run in runs] == [[0, 1, 2, 3, 4]] * 2


def test_versions_below_lightning_logs_are_runs(read: Reading) -> None:
    files = {}
    for v in range(2):
        files[f"lightning_logs/version_{v}/metrics.csv"] = "epoch,step,train_loss,val_loss\n" + "".join(
            f"{e},{10 * e + 9},{2 - e / 10},\n{e},{10 * e + 9},,{2.1 - e / 10}\n" for e in range(5)
        )
        files[f"lightning_logs/version_{v}/hparams.yaml"] = f"lr: 0.{v + 1}\n"
    runs = read.all(files)
    assert names(runs, read.folder) == ["lightning_logs/version_0", "lightning_logs/version_1"]
    assert all(len(values(run, "train/loss")) == len(values(run, "val/loss")) == 5 for run in runs)
    assert all(steps(run, "val/loss") == [9, 19, 29, 39, 49] for run in runs)


def test_five_unrelated_scripts_are_five_runs(read: Reading) -> None:
    runs = read.all({f"train_{n}.sh": f"python prog_{n}.py --lr 0.{n} --epochs {n}\n" for n in range(1, 6)})
    assert len(runs) == 5
    assert sorted(run.settings.get("epochs", int) for run in runs) == [1, 2, 3, 4, 5]


def test_links_in_a_circle_and_a_folder_without_permission_cost_only_themselves(
    read: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    (read.folder / "a").mkdir()
    (read.folder / "a" / "again").symlink_to(read.folder)
    (read.folder / "loop").symlink_to("loop")
    (read.folder / "secret").mkdir()
    real = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    runs = read.all({"a/log.jsonl": ROWS, "b/log.jsonl": ROWS})
    assert {"a", "b"} <= set(names(runs, read.folder))
    assert len(runs) <= 3
    assert any("secret" in p and "ermission" in p for p in read.problems)
