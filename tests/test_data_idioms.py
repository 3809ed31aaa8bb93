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


MOVED = [
    ("self.pos += T", True),
    ("self.pos += B", True),
    ("self.pos = 0\n        self.pos += T", True),
    ("self.pos += B * T", False),
    ("self.pos += B * T * self.processes", False),
    ("self.pos += self.stride", False),
    ("for _ in range(B):\n            self.pos += T", False),
    ("self.pos += T\n        self.pos += T * (B - 1)", False),
    ("self.pos += T\n        self.pos = self.start_of(B)", False),
    ("self.pos -= T", False),
]


@pytest.mark.parametrize(("step", "overlapping"), MOVED)
def test_a_place_that_the_loader_keeps_moves_on_by_what_it_reads(
    tmp_path: Path, step: str, *, overlapping: bool
) -> None:
    source = f"""class Loader:
    def __init__(self, tokens, B, T):
        self.B, self.T, self.tokens = B, T, tokens
        self.pos = 0

    def next_batch(self):
        B, T = self.B, self.T
        buf = self.tokens[self.pos : self.pos + B * T + 1]
        {step}
        return buf[:-1].view(B, T), buf[1:].view(B, T)
"""
    assert seen(tmp_path, source) == (["overlapping batches"] if overlapping else [])


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


HELD_OUT = [
    ("train = DataLoader(TensorDataset(xtr, ytr), shuffle=True)\nval = DataLoader(TensorDataset(xtr, ytr))", True),
    ("train = DataLoader(TensorDataset(xtr, ytr), shuffle=True)\nval = DataLoader(TensorDataset(xva, yva))", False),
    ("trainer.fit(model, DataLoader(tr, shuffle=True), DataLoader(tr))", True),
    ("trainer.fit(model, DataLoader(tr, shuffle=True), DataLoader(va))", False),
    ("loader = DataLoader(tr)\ntrainer.fit(model, train_dataloaders=loader, val_dataloaders=loader)", True),
    ("trainer = Trainer(overfit_batches=1)\ntrainer.fit(model, DataLoader(tr), DataLoader(tr))", False),
    ("trainer.fit(model, DataLoader(tr, sampler=a), DataLoader(tr, sampler=b))", False),
    ("Trainer(model=model, train_dataset=tr, eval_dataset=tr)", True),
    ("Trainer(model=model, train_dataset=tr, eval_dataset=tr.select(range(500)))", True),
    ("small = tr.select(range(500))\nTrainer(model=model, train_dataset=tr, eval_dataset=small)", True),
    ("Trainer(train_dataset=tr.select(range(500, 9000)), eval_dataset=tr.select(range(500)))", False),
    ("Trainer(train_dataset=splits['train'], eval_dataset=splits['train'])", True),
    ("Trainer(train_dataset=splits['train'], eval_dataset=splits['test'])", False),
    ("Trainer(train_dataset=tr, eval_dataset=tr if debug else va)", False),
    ("xgb.train(params, dtrain, evals=[(dtrain, 'val')])", True),
    ("xgb.train(params, dtrain, evals=[(dtrain, 'train'), (dval, 'val')])", False),
    ("lgb.train(params, dtrain, valid_sets=[dtrain], valid_names=['valid'])", True),
    ("lgb.train(params, dtrain, valid_sets=[dtrain], valid_names=['train'])", False),
]


@pytest.mark.parametrize(("body", "same"), HELD_OUT)
def test_one_data_set_that_trains_and_validates(tmp_path: Path, body: str, *, same: bool) -> None:
    given = "".join(f"{name} = load({name!r})\n" for name in ("xtr", "ytr", "xva", "yva", "tr", "va", "splits"))
    source = f"{given}dtrain = xgb.DMatrix(xtr)\ndval = xgb.DMatrix(xva)\n{body}\n"
    assert seen(tmp_path, source) == (["validation from training"] if same else [])


PADDED = [
    ('tokenizer = PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<end>", pad_token="<end>")', True),
    ('tokenizer = PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<end>", pad_token="<pad>")', False),
    ('tokenizer = AutoTokenizer.from_pretrained("gpt2", pad_token="<|endoftext|>", eos_token="<|endoftext|>")', True),
    ("tokenizer.pad_token = tokenizer.eos_token", True),
    ("tokenizer.pad_token = tokenizer.unk_token", False),
]


@pytest.mark.parametrize(("made", "same"), PADDED)
def test_padding_is_the_end_by_assignment_or_by_how_a_tokenizer_is_made(
    tmp_path: Path, made: str, *, same: bool
) -> None:
    source = f"{made}\ncollate = DataCollatorForLanguageModeling(tokenizer, mlm=False)\n"
    assert seen(tmp_path, source) == (["pad is end"] if same else [])


JOINED = [
    ('import tiktoken\nenc = tiktoken.get_encoding("gpt2")\nids = enc.encode("\\n".join(documents))', True),
    ('ids = enc.encode("\\n".join(lines))', False),
    ('data = "\\n".join(documents).encode("utf-8")', False),
]


@pytest.mark.parametrize(("source", "ambiguous"), JOINED)
def test_documents_joined_by_a_line_break(tmp_path: Path, source: str, *, ambiguous: bool) -> None:
    assert seen(tmp_path, source + "\n") == (["newline separator"] if ambiguous else [])
