"""What the checkpoint rules stand on: faults planted into models that were really trained, and their healthy originals.

Small models of NumPy are trained in every run of the tests; those of PyTorch and Keras where these are installed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readers.checkpoint_files import KERAS, archive, flax, gguf, of_arrays, onnx, tensorflow

from mldiag import plugins as plugin_loading
from mldiag.facts.saved_models import Part, part_of
from mldiag.stats.rows import untrained_tail
from mldiag.testing import judge
from mldiag.values import Values

Arrays = dict[str, Any]
CODES = tuple(f"CKP00{n}" for n in range(1, 10))
RANDOM = np.random.default_rng(6)


def found(root: Path, *codes: str) -> dict[str, list[str]]:
    """Messages by code; a rule that breaks fails the test."""
    plugins = plugin_loading.load()
    report = judge(root, [plugins.rules[c] for c in codes or CODES], plugins)
    assert not report.failed, report.failed[0].error
    said: dict[str, list[str]] = {}
    for finding in report.findings:
        assert finding.evidence
        said.setdefault(finding.code, []).append(finding.message)
    return said


def save(root: Path, step: int, arrays: Arrays) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / f"step_{step}.safetensors").write_bytes(of_arrays(arrays, {"step": str(step)}))


def adam(weights: Arrays, slopes: Arrays, state: dict[str, Any], step: int, rate: float) -> None:
    for name, slope in slopes.items():
        m, v = state.setdefault(name, (np.zeros_like(slope), np.zeros_like(slope)))
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope * slope
        state[name] = m, v
        weights[name] -= (rate * m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)).astype(np.float32)


def perceptron() -> Arrays:
    def draw(*shape: int) -> Any:
        return (RANDOM.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    return {
        "fc1.weight": draw(48, 20), "fc1.bias": np.zeros(48, np.float32), "fc2.weight": draw(48, 48),
        "fc2.bias": np.zeros(48, np.float32), "head.weight": draw(6, 48), "head.bias": np.zeros(6, np.float32),
    }  # fmt: skip


X = RANDOM.standard_normal((600, 20)).astype(np.float32)
Y = (X @ RANDOM.standard_normal((20, 6))).argmax(1)


def forward(w: Arrays, x: Any) -> tuple[Any, Any, Any]:
    one = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
    two = np.maximum(one @ w["fc2.weight"].T + w["fc2.bias"], 0)
    return one, two, two @ w["head.weight"].T + w["head.bias"]


def loss(w: Arrays, x: Any, y: Any) -> float:
    logits = forward(w, x)[2]
    logits -= logits.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]))


def train(
    w: Arrays, steps: int, *, rate: float = 2e-3, frozen: tuple[str, ...] = (), rows: int = 600, state: Any = None
) -> None:
    state = {} if state is None else state
    for step in range(1, steps + 1):
        at = RANDOM.integers(0, rows, 32)
        one, two, logits = forward(w, X[at])
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(32), Y[at]] -= 1
        d3 = p / 32
        d2 = (d3 @ w["head.weight"]) * (two > 0)
        d1 = (d2 @ w["fc2.weight"]) * (one > 0)
        slopes = {
            "head.weight": d3.T @ two, "head.bias": d3.sum(0), "fc2.weight": d2.T @ one, "fc2.bias": d2.sum(0),
            "fc1.weight": d1.T @ X[at], "fc1.bias": d1.sum(0),
        }  # fmt: skip
        adam(w, {n: s for n, s in slopes.items() if n not in frozen}, state, step, rate)


def test_a_healthy_model_is_clean(tmp_path: Path) -> None:
    weights = perceptron()
    state: Arrays = {}
    save(tmp_path, 0, weights)
    train(weights, 150, state=state)
    save(tmp_path, 150, weights)
    train(weights, 150, state=state)
    save(tmp_path, 300, weights)
    assert found(tmp_path) == {}


def test_one_value_that_is_no_number(tmp_path: Path) -> None:
    weights = perceptron()
    train(weights, 100)
    weights["fc2.weight"][7, 3] = np.nan
    save(tmp_path, 100, weights)
    assert set(found(tmp_path)) == {"CKP001"}


@pytest.mark.parametrize("bias", [0.0, -12.0])
def test_a_dead_layer(tmp_path: Path, bias: float) -> None:
    weights = perceptron()
    if bias:
        weights["fc2.bias"][:] = bias
    else:
        weights["fc2.weight"][:] = 0
    before = weights["fc2.weight"].copy()
    train(weights, 200)
    assert np.array_equal(before, weights["fc2.weight"]), "it is dead: nothing reached it"
    save(tmp_path, 200, weights)
    assert set(found(tmp_path)) == {"CKP002"}


@pytest.mark.parametrize("layer", ["fc1", "fc2", "head"])
def test_a_layer_that_the_optimizer_was_not_given(tmp_path: Path, layer: str) -> None:
    weights = perceptron()
    save(tmp_path, 0, weights)
    train(weights, 100, frozen=(f"{layer}.weight", f"{layer}.bias"))
    save(tmp_path, 100, weights)
    said = found(tmp_path)
    assert set(said) == {"CKP003"}
    assert f"1 of 3 weights ({layer}.weight)" in said["CKP003"][0]


@pytest.mark.parametrize(("keep", "expected"), [("last", {"CKP005"}), ("best", set())])
def test_the_last_weights_of_an_overfitted_model(tmp_path: Path, keep: str, expected: set[str]) -> None:
    weights = perceptron()
    state: Arrays = {}
    kept: Arrays = {}
    rows, best = ["epoch,train_loss,val_loss"], 9.0
    for epoch in range(1, 31):
        train(weights, 20, rate=4e-3, rows=60, state=state)
        held_out = loss(weights, X[100:], Y[100:])
        rows.append(f"{epoch},{loss(weights, X[:60], Y[:60]):.5f},{held_out:.5f}")
        if keep == "last" or held_out < best:
            best, kept = held_out, {n: w.copy() for n, w in weights.items()} | {"epoch": epoch}
    epoch = kept.pop("epoch")
    (tmp_path / "model.safetensors").write_bytes(of_arrays(kept, {"epoch": str(epoch)}))
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    assert set(found(tmp_path)) == expected


def language_model(fed: int, rows: int, steps: int, spread: float, seed: int) -> Arrays:
    """Next tokens from a token and its position, trained by Adam on windows of `fed` positions."""
    random = np.random.default_rng(seed)
    width, vocabulary = 24, 30
    w: Arrays = {
        "wte.weight": random.normal(0, spread, (vocabulary, width)).astype(np.float32),
        "wpe.weight": random.normal(0, spread, (rows, width)).astype(np.float32),
        "lm_head.weight": random.normal(0, 0.1, (vocabulary, width)).astype(np.float32),
    }
    state: dict[str, Any] = {}
    text = np.cumsum(random.integers(0, 3, 20_000)) % vocabulary
    for step in range(1, steps + 1):
        starts = random.integers(0, len(text) - fed - 1, 8)
        x = np.stack([text[s : s + fed] for s in starts])
        y = np.stack([text[s + 1 : s + fed + 1] for s in starts])
        hidden = w["wte.weight"][x] + w["wpe.weight"][:fed]
        logits = hidden @ w["lm_head.weight"].T
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        np.put_along_axis(p, y[..., None], np.take_along_axis(p, y[..., None], -1) - 1, -1)
        p /= x.size
        back = p @ w["lm_head.weight"]
        tokens, places = np.zeros_like(w["wte.weight"]), np.zeros_like(w["wpe.weight"])
        np.add.at(tokens, x.ravel(), back.reshape(-1, width))
        places[:fed] = back.sum(0)
        slopes = {
            "wte.weight": tokens, "wpe.weight": places,
            "lm_head.weight": np.einsum("bti,btj->ij", p, hidden).astype(np.float32),
        }  # fmt: skip
        adam(w, slopes, state, step, 3e-3)
    return w


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("fed", "expected"), [(256, {"CKP004"}), (320, set())])
def test_positions_256_to_319_of_320(tmp_path: Path, fed: int, expected: set[str], seed: int) -> None:
    save(tmp_path, 60, language_model(fed, 320, 60, 0.02, seed))
    (tmp_path / "config.json").write_text(json.dumps({"seq_len": 320, "vocab_size": 30}))
    said = found(tmp_path)
    assert set(said) == expected
    for message in said.get("CKP004", ()):
        assert "of the 320 in wpe.weight" in message
        assert 250 <= int(message.split()[1].replace(",", "")) <= 258


def test_random_tables_have_no_untrained_tail() -> None:
    """Fresh ones, of several distributions and sizes, and trained ones without an end: one in a thousand at most."""
    random, wrong = np.random.default_rng(4), 0
    for trial in range(1000):
        rows, width = int(random.integers(16, 400)), int(random.integers(8, 96))
        if trial % 3 == 0:
            table = random.normal(0, 0.02, (rows, width))
        elif trial % 3 == 1:
            table = random.uniform(-0.1, 0.1, (rows, width))
        else:  # rows that are read less and less are trained less and less
            reach = np.exp(-np.arange(rows) / rows * random.uniform(0, 3))[:, None]
            table = random.normal(0, 0.02, (rows, width)) + 0.05 * reach * random.normal(0, 1, width)
        wrong += untrained_tail([table], rows, width) is not None
    assert wrong <= 1


def test_the_tail_is_the_same_however_the_rows_come() -> None:
    random = np.random.default_rng(5)
    table = random.normal(0, 0.02, (3000, 16))
    table[:2400] += 0.03 * np.sin(np.arange(2400)[:, None] / 40 + np.arange(16))
    whole = untrained_tail([table], 3000, 16)
    assert whole is not None
    assert abs(whole.start - 2400) <= 3
    for size in (1, 7, 1024):
        assert untrained_tail((table[i : i + size] for i in range(0, 3000, size)), 3000, 16) == whole
    with pytest.raises(ValueError, match="rows"):
        untrained_tail([table], 3001, 16)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("transformer.h.0.attn.c_attn.weight", Part.WEIGHT),
        ("layers/dense/vars/0", Part.WEIGHT),
        ("model/body.0.weight", Part.WEIGHT),
        ("optimizer/vars/4", Part.STATE),
        ("optimizer/state/0/exp_avg", Part.STATE),
        ("opt_state/0/trace/head/kernel", Part.STATE),
        ("optimizer_states/0/state/3/exp_avg_sq", Part.STATE),
        ("callbacks/ModelCheckpoint{'monitor': None}/kth_value", Part.STATE),
        ("dense/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE", Part.STATE),
        ("net.bn.running_var", Part.BUFFER),
        ("h.0.attn.bias_mask", Part.BUFFER),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", Part.BUFFER),
        ("batch_normalization_1/moving_variance:0", Part.BUFFER),
    ],
)
def test_parts_by_name(name: str, part: Part) -> None:
    from mldiag.checkpoints import Tensor

    assert part_of(Tensor(name, (4, 4), "float32")) is part
    assert part_of(Tensor(name, (4,), "float32")) is (Part.VECTOR if part is Part.WEIGHT else part)
    assert part_of(Tensor(name, (4, 4), "int64")) in (Part.BUFFER, Part.STATE)


def array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones((8, 8), np.float32))
    return stream.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "model.safetensors": lambda: of_arrays({"a.weight": np.ones((8, 8), np.float32)}),
    "model.gguf": gguf,
    "model.h5": lambda: KERAS,
    "model.keras": lambda: archive({"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": KERAS}),
    "model.onnx": onnx,
    "state.msgpack": flax,
    "model.npy": lambda: array(),
    "model.npz": lambda: archive({"a.npy": array()}),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_cut_file_of_every_format(tmp_path: Path, name: str, share: float) -> None:
    data = FILES[name]()
    path = tmp_path / name
    path.write_bytes(data)
    (tmp_path / "big.data").write_bytes(bytes(2**12))  # what the values of the ONNX file lie in
    assert found(tmp_path, "CKP009") == {}
    path.write_bytes(data[: min(len(data) - 1, int(share * len(data)))])
    assert "CKP009" in found(tmp_path, "CKP009")


def test_rules_of_headers_read_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Values, *args: object) -> Iterator[Any]:
        raise AssertionError("values were read")

    monkeypatch.setattr(Values, "blocks", never)
    save(tmp_path, 1, perceptron())
    save(tmp_path, 2, perceptron())
    rows = [f"{e},{2 / e:.4f},{1 + abs(e - 4) / 4:.4f}" for e in range(1, 20)]
    (tmp_path / "log.csv").write_text("\n".join(["epoch,train_loss,val_loss", *rows]) + "\n")
    found(tmp_path, "CKP005", "CKP006", "CKP007", "CKP009")


def test_each_value_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rules of the family over two checkpoints: once for the statistics, and the first blocks to compare."""
    read: dict[str, int] = {}
    blocks = Values.blocks

    def counted(self: Values, tensor: Any, step: int | None = None) -> Iterator[Any]:
        for block in blocks(self, tensor, step):
            read[tensor.name] = read.get(tensor.name, 0) + len(block)
            yield block

    monkeypatch.setattr(Values, "blocks", counted)
    shape = (1024, 512)  # eight blocks of a comparison
    first = {"big.weight": RANDOM.standard_normal(shape).astype(np.float32)}
    save(tmp_path, 1, first)
    save(tmp_path, 2, {"big.weight": first["big.weight"] + np.float32(1)})
    found(tmp_path)
    assert read["big.weight"] <= 2 * 1024 * 512 + 2 * 2**16


def torch_model() -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    return torch, nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 32), nn.ReLU(),
        nn.Linear(32, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 4),
    )  # fmt: skip


def torch_train(torch: Any, model: Any, root: Path, *, given: Any = None, steps: int = 40) -> None:
    images = torch.randn(256, 1, 8, 8)
    classes = (images.flatten(1) @ torch.randn(64, 4)).argmax(1)
    optimizer = torch.optim.AdamW(given if given is not None else model.parameters(), lr=3e-3)
    for step in range(2 * steps + 1):
        if step % steps == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, root / f"step_{step}.pt")
        at = torch.randint(0, 256, (32,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images[at]), classes[at]).backward()
        optimizer.step()


@pytest.mark.parametrize("fault", ["", "dead", "nan", "frozen", "huge"])
def test_models_of_pytorch(tmp_path: Path, fault: str) -> None:
    torch, model = torch_model()
    if fault == "dead":
        torch.nn.init.zeros_(model[6].weight)
        torch.nn.init.zeros_(model[4].weight)
        torch.nn.init.zeros_(model[4].bias)
    given = [p for n, p in model.named_parameters() if not n.startswith("0.")] if fault == "frozen" else None
    torch_train(torch, model, tmp_path, given=given)
    if fault in ("nan", "huge"):
        with torch.no_grad():
            model[4].weight[0, 0] = float("nan")
            if fault == "huge":
                model[4].weight.copy_(torch.randn_like(model[4].weight) * 1e3)
        torch.save({"model": model.state_dict(), "step": 90}, tmp_path / "step_90.pt")
    expected = {"": set(), "dead": {"CKP002"}, "nan": {"CKP001"}, "frozen": {"CKP003"}, "huge": {"CKP008"}}
    assert set(found(tmp_path)) == expected[fault]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", ["", "dead"])
def test_models_of_keras(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    start = "zeros" if fault else "he_normal"
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((20,)), layers.Dense(32, activation="relu", kernel_initializer=start),
        layers.Dense(32, activation="relu", kernel_initializer=start), layers.Dense(6, kernel_initializer=start),
    ])  # fmt: skip
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(X, Y, epochs=6, verbose=0, validation_split=0.2).history
    model.save(tmp_path / "model.keras")
    (tmp_path / "history.json").write_text(json.dumps(history))
    assert set(found(tmp_path)) == ({"CKP002"} if fault else set())


def test_tensorflow_parts_are_told_apart(tmp_path: Path) -> None:
    data = tensorflow()
    (tmp_path / "variables.index").write_bytes(data)
    assert "CKP009" in found(tmp_path, "CKP009"), "its data file is missing"
