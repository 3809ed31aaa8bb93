"""Any bytes are a log, or none; every beginning of a log holds its whole lines; labels mean what people mean."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import Block, File
from mldiag.readers._text.headers import header, section
from mldiag.readers._text.labels import meaning, words_of
from mldiag.readers._text.lines import is_date, splitter
from mldiag.readers._text.templates import Learner
from mldiag.readers.text_log import _is_log, text_log


def read(content: bytes | str, name: str = "train.log") -> tuple[dict[str, Series], dict[str, object]]:
    """Series and settings of a log; what is wrong with it is left out."""
    data = content.encode() if isinstance(content, str) else content
    series: dict[str, Series] = {}
    found: dict[str, object] = {}
    try:
        for artifact in text_log(File(Path(), name, data)):
            if isinstance(artifact, Series):
                series[artifact.name] = artifact
            elif isinstance(artifact, SettingValue):
                found[artifact.name] = artifact.value
    except ReadError:
        pass
    return series, found


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    file = File(Path(), "train.log", content)
    try:
        _is_log(file)
        list(text_log(file))
    except ReadError:
        pass


PIECES = [
    "Epoch", "epoch 3/20", "step", "loss", "val_loss", "acc", "lr", "time", "Validation:", "iter", "[10/500]", ": ",
    "=", " ", "| ", ", ", "0.5", "1e-4", "nan", "-inf", "93.2%", "1,234.5", "12:30:01", "2024-01-02 10:00:00,123",
    "(0.4)", "\n", "\r", "\b\b", "\x1b[31m", "{'loss': 0.5, 'epoch': 1}", "Namespace(lr=0.1, epochs=3, batch_size=2)",
    "ETA: 3s", "30%|###| 3/10", "\u5f53\u524d\u635f\u5931\uff1a", "Epoch | Loss | Val Loss\n", "1 | 0.5 | 0.4\n",
    "\n\n", "\x00", "1.#INF", "1" * 30,
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
@settings(max_examples=300)
def test_any_mixture_of_what_logs_hold_is_read_or_refused(content: str) -> None:
    series, _ = read(content)
    for found in series.values():
        assert len(found) >= 1
        assert found.lines is not None
        assert len(found.lines) == len(found)
        assert found.source.line == found.lines[0]
        assert list(found.lines) == sorted(found.lines)
        for axis in (found.step_data, found.epoch_data, found.time_data):
            assert axis is None or len(axis) == len(found)


LOG = "".join(
    f"epoch {e} | step {e * 10} | train loss {2 / e:.4f} | val loss {3 / e:.4f} | lr 1.00e-0{e}\n" for e in range(1, 9)
)


@given(st.integers(0, len(LOG)))
def test_every_beginning_of_a_log_holds_its_whole_lines_and_nothing_else(length: int) -> None:
    part = LOG[:length]
    series, _ = read(part)
    whole, _ = read(LOG)
    lines = part.count("\n")
    for name, complete in whole.items():
        found = list(series[name].data) if name in series else []
        assert found[:lines] == list(complete.data)[:lines]
        # One line more at most, the one that only lacks its end; with no line before it nothing shows that it is cut.
        only_its_end = LOG[length : length + 1] == "\n"
        assert len(found) - lines in ((0, 1) if only_its_end or not lines else (0,))


ROWS = {
    "mxnet": ("Epoch[{e}] Train-accuracy={a:.6f}\n", "Train-accuracy"),
    "fairseq": ("| epoch {e:03} | loss {a:.3f} | ppl {b:.2f}\n", "ppl"),
    "titan": ("\x1b[31mstep: {e:2}  \x1b[32mloss: {b:8.5f}  \x1b[34mtps: {c:,}\x1b[39m\n", "tps"),
    "speed": ("step {e} loss {a:.4f} tokens_per_second {c:,}\n", "tokens_per_second"),
    "bar": ("Epoch {e}/9:  50%|##  | 5/9 [00:05<00:04, 5img/s, loss={a:.3f}]\rval acc {b:.4f}\n", "val acc"),
    "glued": ("Epoch {e}/9: 100%|####| 9/9 [00:09<00:00, 5img/s, loss={a:.3f}]val acc {b:.4f}\n", "val acc"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_the_number_that_a_log_was_cut_in_is_left_out(kind: str) -> None:
    row, label = ROWS[kind]
    rows = [row.format(e=e, a=0.9 - e / 100, b=8.4321 + 9 * e, c=12345 + 7 * e) for e in range(1, 5)]
    whole, _ = read("".join(rows))
    (name,) = (n for n, s in whole.items() if s.raw_name == label)
    assert len(whole[name]) == 4
    above = "".join(rows[:3])
    for length in range(len(rows[3])):
        part, _ = read(above + rows[3][:length])
        for other, complete in whole.items():
            found = list(part[other].data)
            assert found == list(complete.data)[: len(found)], rows[3][:length]
    assert read("".join(rows)[:-1])[0][name].data == whole[name].data


def test_a_first_line_that_ends_with_a_point_may_be_cut() -> None:
    assert read("Epoch[1] Train-accuracy=0.")[0] == {}
    assert list(read("Epoch[1] Train-accuracy=0.5")[0]["train/accuracy"].data) == [0.5]


@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=3, max_size=20), st.integers(0, 17))
def test_numbers_keep_every_digit(values: list[float], digits: int) -> None:
    content = "".join(f"step {i} loss {v:.{digits}e}\n" for i, v in enumerate(values))
    series, _ = read(content)
    assert list(series["train/loss"].data) == [float(f"{v:.{digits}e}") for v in values]


def test_the_clock_of_the_lines_gives_their_times() -> None:
    content = "".join(f"2024-05-01 10:00:0{i},500 INFO step {i} loss {1 / (i + 1)}\n" for i in range(4))
    times = read(content)[0]["train/loss"].time_data
    assert times is not None
    assert [t - times[0] for t in times] == [0, 1, 2, 3]
    assert times[0] == 1_714_557_600.5


def test_a_clock_without_a_date_that_falls_gives_none() -> None:
    content = "23:59:58 step 1 loss 0.5\n23:59:59 step 2 loss 0.4\n00:00:01 step 3 loss 0.3\n"
    assert read(content)[0]["train/loss"].time_data is None


def test_not_a_number_stays_in_its_place() -> None:
    found = read("iter 1: loss 1.5\niter 2: loss nan\niter 3: loss inf\niter 4: loss -inf\n")[0]["train/loss"]
    assert math.isnan(found.data[1])
    assert list(found.data[2:]) == [math.inf, -math.inf]
    assert list(found.step_data or ()) == [1, 2, 3, 4]


def test_every_value_has_its_line() -> None:
    content = "start\nstep 1 loss 0.5\nnoise\nstep 2 loss 0.4\nval_loss 0.7\n\nstep 3 loss 0.3\n"
    series, _ = read(content)
    assert list(series["train/loss"].lines or ()) == [2, 4, 7]
    assert series["train/loss"].source.excerpt == "step 1 loss 0.5"
    assert list(series["val/loss"].lines or ()) == [5]
    assert list(series["val/loss"].step_data or ()) == [2]


def test_states_of_a_bar_that_is_redrawn_without_any_line_end() -> None:
    content = "\r".join(
        f"Epoch 1:  {i}%|#  | {i}/10 [00:0{i}<00:01,  1.00it/s, loss={1 / i:.3f}]" for i in range(1, 10)
    )
    found = read(content + "\r")[0]["train/loss"]
    assert list(found.data) == [float(f"{1 / i:.3f}") for i in range(1, 10)]
    assert set(found.lines or ()) == {1}


def test_rows_of_another_kind_do_not_stop_those_that_follow() -> None:
    content = "step 1 loss 0.5 lr 0.1\nstep 2 loss 12:30 lr 0.1\nstep 3 loss 0.3 lr 0.1\n"
    series, _ = read(content)
    assert list(series["train/loss"].data) == [0.5, 0.3]
    assert list(series["lr"].data) == [0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("Prec@1 50.0 (48.2)", ["50.0", "48.2"]),
        ("top5: .5, conv2d 3x3, resnet-50", [".5", "3", "50"]),
        ("loss:-0.5 lr=1e-4 x-2", ["-0.5", "1e-4", "2"]),
        ("2020-03-09 09:14:25,400:INFO: loss 1,234.5", ["2020-03-09 09:14:25,400", "1,234.5"]),
        ("[03.24.23|09:56:11] eta: 8 days, 17:11:04", ["03.24.23", "09:56:11", "8", "17:11:04"]),
        ("4776.44ms 93.2% nanms inform", ["4776.44", "93.2", "nan"]),
        ("1.#INF 1.2.3", ["1.#INF", "1.2"]),
    ],
)
def test_lines_are_cut_at_their_numbers(line: str, numbers: list[str]) -> None:
    assert splitter()(line)[1::2] == numbers


def test_dates_are_no_numbers() -> None:
    assert [is_date(t) for t in ("2020-03-09", "11/16", "09:14", "03.24.23", "93.62", "5", "1e-4")] == [True] * 4 + [
        False
    ] * 3


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" | Loss: ", "Loss"), ("ms, mfu ", "mfu"), (": Val acc is ", "Val acc"), (", 'eval_loss': '", "eval_loss"),
        (" - elapsed time per iteration (ms): ", "elapsed time per iteration"), (" sec reader_cost: ", "reader_cost"),
        ("\tvalid_0's binary_logloss: ", "valid binary_logloss"), ("INFO:__main__:Epoch ", "Epoch"),
        ("model.ckpt-", ""), ("out/step_", ""), (" (", ""), (" 60% bf16 MFU | ", ""),
    ],
)  # fmt: skip
def test_the_label_is_what_stands_right_before_a_number(text: str, label: str) -> None:
    assert words_of(text).label == label


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Epoch", "epoch"), ("Training epoch", "epoch"), ("epochs", ""), ("start_epoch", ""), ("global_step", "step"),
        ("train step", "step"), ("Batch", "batch"), ("Episode", "other"), ("loss", "metric"), ("val", "split"),
        ("eta", ""),
        ("improved from", ""), ("num_epochs", ""), ("batch size", "metric"), ("D", ""),
    ],
)  # fmt: skip
def test_what_labels_mean(label: str, kind: str) -> None:
    assert meaning(label).kind == kind


@pytest.mark.parametrize(
    ("line", "split"),
    [
        ("---- eval ----", "val"), ("Validation:", "val"), ("***** Running Evaluation *****", "val"),
        ("TRAIN", "train"),
        ("Eval begin...", "val"), (" > EVALUATION ", "val"), ("Test set:", "test"), ("Validation finished", "end"),
        ("Loading test data from disk", None), ("[2024][trainer.py] saved to test.log", None), ("hello", None),
    ],
)  # fmt: skip
def test_headers_of_sections(line: str, split: str | None) -> None:
    assert section(line) == split


def test_headers_of_tables() -> None:
    assert header("E    #       LOSS TOK2VEC  LOSS NER  ENTS_F") == ("E", "#", "LOSS TOK2VEC", "LOSS NER", "ENTS_F")
    assert header(" Epoch |  Train Loss |    Val Loss") == ("Epoch", "Train Loss", "Val Loss")
    assert header("| Name | Type | Params |") == ()


@pytest.mark.parametrize("name", ["README.txt", "requirements.txt", "LICENSE.txt"])
def test_documents_are_no_logs_whatever_they_quote(name: str) -> None:
    assert not _is_log(File(Path(), name, b"epoch 1 loss 0.5\nepoch 2 loss 0.4\n"))


def test_foreign_text_without_end_is_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mldiag.readers._text.templates.MOST_SKELETONS", 50)
    noise = "".join(f"x{'abcdefghij'[i % 10] * (i % 97)} {i} y{i}z\n" for i in range(500))
    content = f"step 1 loss 0.5\n{noise}step 2 loss 0.4\n{noise}step 3 loss 0.3\n"
    assert list(read(content)[0]["train/loss"].data) == [0.5, 0.4, 0.3]


@pytest.mark.parametrize(
    "line",
    ["a_" * 9000 + " 1", "'" * 9000 + "s 1", "x" * 19000 + "'s 1", "(" * 9000 + " 1 " + ")" * 9000, "1," * 9000,
     "-" * 19000, "1" * 19000, "{'a': " * 3000 + "1", "Namespace(" + "a=(" * 5000, "loss: " * 3000 + "1", "| a " * 4000,
     "1:1" * 6000, "9" * 99_000 + "/5 [0:01<0:02, ", "5/9 [0:01<0:02, 5it/s, [" * 9000,
     "5/9 [0:01<0:02, 5it/s, x]" * 9000],
)  # fmt: skip
def test_no_line_takes_long(line: str) -> None:
    started = time.process_time()
    read(f"step 1 loss 0.5\n{line}\nloss 1 {line}\nstep 2 loss 0.4\n")
    assert time.process_time() - started < 2


def test_a_book_with_dates_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("ship", "king", "wine", "port", "hill", "moon", "men", "snow", "bread", "rope", "salt", "road", "bell")
    lines = (
        f"On 1805-10-{i % 28 + 1:02} {' '.join(words[i * k % 13] for k in range(1, 9))}"
        f"{'x' * (i % 97)}{'y' * (i % 89)} {i} died\n"
        for i in range(20_000)
    )
    prose = "".join(lines)
    read_lines: list[int] = []
    learn = Learner.read
    monkeypatch.setattr(Learner, "read", lambda self, block: (read_lines.append(block.ends), learn(self, block)))
    assert not _is_log(File(Path(), "diary.txt", prose.encode()))
    assert sum(read_lines) < 4_000


@given(st.integers(1, 4000), st.integers(20, 400))
@settings(max_examples=20)
def test_what_a_line_holds_does_not_depend_on_its_block(cut: int, size: int) -> None:
    content = "".join(
        f"step {i} loss {3 / (i + 1):.3f}\n"
        f"[-----] \x1b[31mval\x1b[0m loss 0.{i:02}\r\n"
        f" 50%|###  | 1/2 loss=0.5\r100%|#####| 2/2 loss=0.4\n"
        f" 50%|## val dice 0.5 | 1/2 [00:01<00:05, 5it/s, loss=0.5]\r"
        f" | 2/2 [00:01<00:05, 5it/s, loss=0.4]val dice 0.{i}\n" * (i % 3)
        for i in range(60)
    ).encode()[:cut]

    class Small(File):
        def blocks(self, size_: int = 0) -> Iterator[Block]:
            return super().blocks(size)

    def seen(file: File) -> list[str]:
        try:
            return list(map(repr, text_log(file)))
        except ReadError as error:
            return [str(error)]

    assert seen(Small(Path(), "train.log", content)) == seen(File(Path(), "train.log", content))


def test_prose_with_dates_and_numbers_is_given_up_early() -> None:
    words = "quick brown foxes jump over lazy dogs near river bank while rain falls on old stone walls".split()  # noqa: SIM905
    draw = Random(0)
    lines = (f"2024-03-01 10:00:00 {' '.join(draw.sample(words, 9))} {i} times".encode() for i in range(20_000))
    file = File(Path(), "notes.txt", b"\n".join(lines))
    taken: list[int] = []
    read = Learner.read

    def counted(self: Learner, block: Block) -> None:
        taken.append(block.ends)
        read(self, block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "read", counted)
        assert not _is_log(file)
    assert sum(taken) < 1_000
