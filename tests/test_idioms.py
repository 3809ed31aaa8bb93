"""What a training step's source shows is found where it is certain, and no valid Python makes the search fail."""

from __future__ import annotations

import ast
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Idiom
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.pysource.idioms import idioms
from mldiag.pysource.module import Module

ROOT = Path(__file__).parents[1]

STATEMENTS = (
    "optimizer.zero_grad()", "loss.backward()", "optimizer.step()", "scheduler.step()", "model.eval()",
    "model.train()",
    "loss = F.cross_entropy(model(x), y)", "loss = loss / accum", "loss = loss.item()", "total += loss",
    "out = model(x)",
    "out = F.softmax(out, dim=1)", "loss = criterion(out, y)", "out = out.view(-1, 3)", "scaler.scale(loss).backward()",
    "scaler.step(optimizer)", "model = Net()", "optimizer = torch.optim.Adam(model.parameters())",
    "args = p.parse_args()",
    "p = argparse.ArgumentParser()", "p.add_argument('--lr', type=float)", "print(args.lr)", "d = vars(args)", "f(**d)",
    "x = x[:, :-1]", "logits[:, -1]", "criterion = nn.CrossEntropyLoss()", "model.compile('adam', loss='mse')",
    "model = keras.Sequential([keras.layers.Dense(3)])", "model.add(keras.layers.Dense(3, activation='softmax'))",
    "args, rest = p.parse_known_args()", "self.x = args", "return loss", "yield x", "break", "continue", "pass",
    "config = yaml.safe_load(open('c.yaml'))", "config['a']", "out, loss = out, out", "*a, b = x", "del optimizer",
    "global loss", "optimizer = optimizers[0]", "scheduler = OneCycleLR(optimizer, total_steps=len(loader) * epochs)",
    "if (i + 1) % accum == 0: optimizer.step()", "if i % 2: continue", "outputs = lambda x: model(x)",
)  # fmt: skip
HEADS = (
    "for x, y in loader:", "while True:", "for epoch in range(epochs):", "def f(model, loss, *args, **kw):",
    "def evaluate(model):", "with torch.no_grad():", "if i % accum == 0:", "class Net(nn.Module):",
    "def forward(self, x):",
    "try:", "class Lit(pl.LightningModule):", "async def g(x):", "with open('c.yaml') as fd:", "for _ in range(accum):",
    "match x:", "def training_step(self, batch):",
)  # fmt: skip
IMPORTS = (
    "import torch, argparse, yaml\nimport torch.nn as nn\nimport torch.nn.functional as F\nimport keras\n"
    "import pytorch_lightning as pl\nfrom torch.optim.lr_scheduler import OneCycleLR\n"
)


def found(text: str) -> tuple[Idiom, ...]:
    return idioms(Module(File(Path("nowhere"), "train.py", text.encode())))


def names(text: str) -> list[str]:
    return [i.name for i in found(text)]


@st.composite
def programs(draw: st.DrawFn, depth: int = 4) -> list[str]:
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        head = draw(st.sampled_from(HEADS)) if depth and draw(st.booleans()) else None
        if head is None:
            lines.append(draw(st.sampled_from(STATEMENTS)))
            continue
        inner = draw(programs(depth=depth - 1))
        if head == "match x:":
            inner = ["case [a, *loss]:", *(f"    {line}" for line in inner)]
        lines += [head, *(f"    {line}" for line in inner)]
        if head == "try:":
            lines += ["except ValueError as loss:", "    pass"]
    return lines


@settings(max_examples=400, deadline=None)
@given(programs())
def test_no_program_of_these_parts_makes_the_search_fail(lines: list[str]) -> None:
    text = IMPORTS + "\n".join(lines) + "\n"
    try:
        ast.parse(text)
    except SyntaxError:
        return
    seen = found(text)
    count = text.count("\n") + 1
    assert pickle.loads(pickle.dumps(seen)) == seen
    for idiom in seen:
        assert all(1 <= (place.line or 0) <= count for place in (idiom.source, *idiom.also))


def test_no_installed_module_makes_the_search_fail() -> None:
    """The parts of the standard library and of this project, read as if they used every framework."""
    paths = [*Path(ast.__file__).parent.glob("*.py"), *(ROOT / "src").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
    paths.sort(key=lambda p: p.stat().st_size)
    for path in paths[::6]:
        text = path.read_text("utf-8", "replace").replace("from __future__ import annotations", "")
        try:
            found(IMPORTS + text)
        except ReadError:
            continue


@pytest.mark.parametrize("depth", [50, 90])
def test_deep_nesting_is_no_failure(depth: int) -> None:
    calls = "F.softmax(" * depth + "x" + ", 1)" * depth
    assert names(f"import torch.nn.functional as F\nF.cross_entropy({calls}, y)\n") == ["softmax_before_loss"]
    chain = "\n".join(f"x{i + 1} = x{i}.view(1)" for i in range(depth * 20))
    assert names(f"import torch\nimport torch.nn.functional as F\n{chain}\nF.cross_entropy(x{depth * 20}, y)\n") == []


def test_what_defines_itself_has_no_end_and_is_no_failure() -> None:
    functions = "def f(x):\n    return g(x)\n\n\ndef g(x):\n    return f(x)\n"
    assert names(f"import torch.nn.functional as F\n{functions}F.cross_entropy(f(1), y)\n") == []


def test_a_generated_file_is_read_in_seconds() -> None:
    step = "    loss = F.cross_entropy(loss, y)\n    loss.backward()\n    optimizer.step()\n    total += loss\n"
    tests = "".join(f"def test_{i}(model):\n    test_{i * 7 % 2000}(model)\n" for i in range(2000))
    begun = time.process_time()
    found(f"{IMPORTS}nn.Dropout(0.5)\n{tests}for x in y:\n{step * 400}")
    assert time.process_time() - begun < 20


LOOP = """
import torch
import torch.nn.functional as F


def train(model, loader, optimizer, accum):
    for i, (x, y) in enumerate(loader):
        {before}
        out = {out}
        loss = {loss}
        loss.backward()
        {after}
"""


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"before": "optimizer.zero_grad()", "after": "optimizer.step()"}, []),
        ({"before": "pass", "after": "optimizer.step()"}, ["gradients_kept"]),
        ({"before": "pass", "after": "optimizer.step(); model.zero_grad()"}, []),
        ({"before": "pass", "after": "optimizer.step()\n        for p in model.parameters(): p.grad = None"}, []),
        ({"before": "optimizer = torch.optim.SGD(model.parameters(), 1)", "after": "optimizer.step()"}, []),
        ({"before": "optimizer.zero_grad()", "out": "F.softmax(model(x), 1)"}, ["softmax_before_loss"]),
        ({"before": "optimizer.zero_grad()", "out": "F.log_softmax(model(x), 1)"}, []),
        ({"before": "optimizer.zero_grad()", "out": "model(x).softmax(dim=-1).view(-1, 3)"}, ["softmax_before_loss"]),
        ({"before": "optimizer.zero_grad()", "out": "F.softmax(model(x), 1) if i else model(x)"}, []),
        (
            {"before": "pass", "after": "if (i + 1) % accum == 0: optimizer.step(); optimizer.zero_grad()"},
            ["undivided_loss"],
        ),
        (
            {
                "before": "pass",
                "loss": "F.cross_entropy(out, y) / accum",
                "after": "if (i + 1) % accum == 0: optimizer.step(); optimizer.zero_grad()",
            },
            [],
        ),
        (
            {
                "before": "pass",
                "loss": "F.cross_entropy(out, y, reduction='sum')",
                "after": "if (i + 1) % accum == 0: optimizer.step(); optimizer.zero_grad()",
            },
            [],
        ),
        (
            {"before": "optimizer.zero_grad()", "after": "if (i + 1) % accum == 0: optimizer.step()"},
            ["accumulation_discarded"],
        ),
        ({"before": "optimizer.zero_grad()", "loss": "F.cross_entropy(out, y).detach()"}, ["detached_loss"]),
    ],
)
def test_one_changed_line_decides(parts: dict[str, str], expected: list[str]) -> None:
    filled = {"out": "model(x)", "loss": "F.cross_entropy(out, y)", "after": "optimizer.step()", **parts}
    assert names(LOOP.format(**filled)) == expected


def test_files_without_a_framework_are_left_alone() -> None:
    assert found("loss.backward()\noptimizer.step()\n") == ()
