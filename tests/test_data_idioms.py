"""What the source shows of how data are cut, split and cleaned; and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.files import File
from mldiag.pysource.idioms._code import Code
from mldiag.pysource.idioms.data_handling import data_handling
from mldiag.pysource.module import Module


def seen(root: Path, source: str) -> list[str]:
    (root / "x.py").write_text(source)
    return [idiom.name for idiom in data_handling(Code(Module(File(root, "x.py"))))]


BATCHES = [
    ("start = i * batch_size\nx = data[start:start + batch_size * seq_len]", True),
    ("x = data[step * B : step * B + B * T]", True),
    ("end = min(i * bs + bs * block_size, n)\nx = data[i * bs : end]", True),
    ("for s in range(0, n, batch_size):\n    x = data[s:s + batch_size * context_length]", True),
    ("start = i * batch_size * seq_len\nx = data[start:start + batch_size * seq_len]", False),
    ("start = i * batch_size * (seq_len + 1)\nx = data[start:start + batch_size * seq_len]", False),
    ("x = rows[i * batch_size : (i + 1) * batch_size]", False),
    ("x = data[i * stride : i * stride + seq_len]", False),
    ("x = data[i : i + batch_size * seq_len]", False),
    ("start = i * batch_size // world\nx = data[start:start + batch_size * seq_len]", False),
    ("for s in range(0, n, batch_size * seq_len):\n    x = data[s:s + batch_size * seq_len + 1]", False),
]


@pytest.mark.parametrize(("body", "overlapping"), BATCHES)
def test_batches_overlap_where_the_way_lacks_the_length(tmp_path: Path, body: str, *, overlapping: bool) -> None:
    inner = "\n".join(f"    {line}" for line in body.splitlines())
    names = "data, i, step, n, batch_size, seq_len, context_length, bs, block_size, B, T"
    source = f"def get({names}):\n{inner}\n    return x\n"
    assert seen(tmp_path, source) == (["overlapping batches"] if overlapping else [])


SPLITS = [
    ("win = ids.unfold(0, 64, 8)\nrandom.shuffle(win)\na, b = win[:k], win[k:]", True),
    ("win = ids.unfold(0, 64, 64)\nrandom.shuffle(win)\na, b = win[:k], win[k:]", False),
    ("win = ids.unfold(0, 64, 8)\na, b = win[:k], win[k:]", False),
    ("xs = [t[i:i + n] for i in range(len(t) - n)]\na, b = train_test_split(xs)", True),
    ("xs = [t[i:i + n] for i in range(len(t) - n)]\na, b = train_test_split(xs, shuffle=False)", False),
    ("xs = [t[i:i + n] for i in range(0, len(t), n)]\na, b = train_test_split(xs)", False),
    ("xs = [t[i:i + 9] for i in range(0, len(t), 3)]\na, b = torch.utils.data.random_split(xs, [9, 1])", True),
    ("xs = sliding_window_view(t, 16)\nxs = xs[np.random.permutation(len(xs))]\na, b = xs[:k], xs[k:]", True),
    ("x, y = train_test_split(rows)", False),
]  # fmt: skip


@pytest.mark.parametrize(("source", "leaks"), SPLITS)
def test_windows_leak_where_they_overlap_and_are_split_at_random(tmp_path: Path, source: str, *, leaks: bool) -> None:
    assert seen(tmp_path, source) == (["windows split at random"] if leaks else [])


HELD_OUT = [
    ("tr = load()\nva = tr\nfit(tr, va)", True),
    ("x_train = load()\nx_val = x_train[:100]\nmodel.fit(x_train, validation_data=x_val)", True),
    ("model.fit(x, y, validation_data=(x, y))", True),
    ("model.fit(x, y, validation_data=(xv, yv))", False),
    ("train_data = load()\nval_data = train_data[:100]\ntrain_data = train_data[100:]\nfit(train_data)", False),
    ("x_train = load()\nx_val = x_train[:100]\npart = x_train[100:]\nfit(part)", False),
    ("train_set = load()\nval_set = Subset(train_set, a)\ntrain_part = Subset(train_set, b)", False),
    ("val_ds = load('val')\ntrain_ds = load('train')", False),
    ("x_train, x_val = x_all[:9], x_all[9:]", False),
]


@pytest.mark.parametrize(("source", "same"), HELD_OUT)
def test_validation_is_of_the_training_data_where_nothing_takes_it_out(
    tmp_path: Path, source: str, *, same: bool
) -> None:
    assert seen(tmp_path, source) == (["validation from training"] if same else [])


OTHERS = [
    ("def clean(text):\n    return text.lower()", ["lossy normalization"]),
    ("def clean(name):\n    return name.lower()", []),
    ("def f(t):\n    return unicodedata.normalize('NFKD', t).encode('ascii', 'ignore')", ["lossy normalization"]),
    ("def f(t):\n    return unicodedata.normalize('NFC', t)", []),
    ("def f(rows, tokenizer):\n    return tokenizer('\\n'.join(rows))", ["newline separator"]),
    ("def f(lines, tokenizer):\n    return tokenizer('\\n'.join(lines))", []),
    ("def f(rows, tokenizer):\n    return tokenizer(', '.join(rows))", []),
    ("def f(rows):\n    path.write_text('\\n'.join(rows))", []),
    ("def f(rows):\n    return '\\n'.join(rows).encode('utf-8')", []),
]


@pytest.mark.parametrize(("source", "names"), OTHERS)
def test_text_is_cleaned_and_joined(tmp_path: Path, source: str, names: list[str]) -> None:
    if source.startswith("def f(rows):\n    return"):
        # A function that gives back bytes is left to the rule, which asks whether a tokenizer gets them.
        assert set(seen(tmp_path, source)) <= {"newline separator"}
    else:
        assert seen(tmp_path, source) == names
