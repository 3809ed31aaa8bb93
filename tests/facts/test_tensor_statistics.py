"""The statistics of a run's checkpoints: each tensor read when it is asked for, and once."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from mldiag.artifacts import Source
from mldiag.checkpoints import Checkpoint, Checkpoints, Tensor
from mldiag.errors import NotApplicable
from mldiag.facts import tensor_statistics as module
from mldiag.facts.tensor_statistics import TensorStatistics, tensor_statistics
from mldiag.run import Run
from mldiag.values import Values

CELLS = struct.pack("<6f", 1, 1, 0, -3, math.nan, 2)
TENSORS = (
    Tensor("w", (3, 2), "float32", 0, 24),
    Tensor("tied", (3, 2), "float32", 0, 24),
    Tensor("turned", (2, 3), "float32", 0, 24, None, (1, 2)),
    Tensor("q", (32,), "q8_0", 0, 24),
    Tensor("cut", (9,), "float32", 0, 36),
)


@pytest.fixture
def facts(tmp_path: Path) -> TensorStatistics:
    (tmp_path / "m.bin").write_bytes(CELLS)
    held = Checkpoint("safetensors", TENSORS, Source("m.bin"))
    found: TensorStatistics = tensor_statistics(Run(tmp_path, "."), Checkpoints((held,)))
    return found


def test_a_tensor_is_read_when_it_is_asked_for_and_once(
    facts: TensorStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    genuine = Values.blocks

    def noted(self: Values, tensor: Tensor, step: int | None = None):  # type: ignore[no-untyped-def]
        read.append(tensor.name)
        return genuine(self, tensor, step)

    monkeypatch.setattr(Values, "blocks", noted)
    (held,) = facts.checkpoints
    found = facts.of(held, "w")
    assert (found.count, found.nan, found.zeros, found.min, found.max) == (6, 1, 1, -3, 2)
    assert (found.rows, found.constant_rows) == (3, 1)
    assert facts.of(held, "tied") is found
    assert facts.of(held, TENSORS[0]) is found
    assert read == ["w"]
    assert facts.of(held, "turned").constant_rows == 0
    assert read == ["w", "turned"]


def test_what_cannot_be_read_has_a_reason(facts: TensorStatistics) -> None:
    (held,) = facts.checkpoints
    assert [t.name for t, _ in facts.each(held)] == ["w", "tied", "turned"]
    reasons = {t.name: reason for t, reason in facts.refused(held)}
    assert "q8_0 is blocks of quantised numbers" in reasons["q"]
    assert "there are only 24 (cut file)" in reasons["cut"]
    with pytest.raises(NotApplicable, match=r"m\.bin, cut: "):
        facts.of(held, "cut")
    with pytest.raises(NotApplicable, match="has no tensor x"):
        facts.of(held, "x")


def test_no_more_is_read_than_the_limit(facts: TensorStatistics) -> None:
    (held,) = facts.checkpoints
    limited = TensorStatistics(facts.checkpoints, facts.root, 30)
    assert limited.of(held, "w").count == 6
    with pytest.raises(NotApplicable, match="GiB of values that are read of one run"):
        limited.of(held, "turned")
    assert limited.of(held, "tied").count == 6


def test_large_tensors_in_another_order_are_read_as_they_lie(
    facts: TensorStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    (held,) = facts.checkpoints
    rows = facts.of(held, "turned")
    monkeypatch.setattr(module, "TURNED", 4)
    found = TensorStatistics(facts.checkpoints, facts.root).of(held, "turned")
    assert (found.rows, rows.rows) == (0, 2)
    assert (found.count, found.nan, found.min, found.max, found.std) == (6, 1, rows.min, rows.max, rows.std)
    gaps = Tensor("gaps", (2, 2), "float32", 0, 20, None, (1, 3))
    assert TensorStatistics(facts.checkpoints, facts.root).of(held, gaps).rows == 2
