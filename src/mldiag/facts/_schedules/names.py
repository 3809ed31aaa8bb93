"""The kind of schedule that a name means, over the spellings of the frameworks."""

from __future__ import annotations

from mldiag.patterns import lazily

_WORDS = (
    ("one-cycle", lazily(r"one_?cycle|1cycle|superconv")),
    ("restarts", lazily(r"restart|sgdr|cyclic|cycle_?lr\b")),
    ("plateau", lazily(r"plateau|newbob")),
    ("inverse-sqrt", lazily(r"inv(?:erse)?_?(?:sqrt|square)|noam|rsqrt")),
    ("stable-decay", lazily(r"wsd|stable|trapez|tri_?stage")),
    ("cosine", lazily(r"cos")),
    ("polynomial", lazily(r"poly")),
    ("exponential", lazily(r"exp")),
    ("step", lazily(r"multi_?step|step_?lr|^steps?$|piecewise|milestone|step_?decay|\bstep\b")),
    ("linear", lazily(r"linear")),
    ("constant", lazily(r"const|none|fixed|flat|^no$|^off$")),
)


def kind_of(name: str) -> str:
    """`cosine` for `CosineAnnealingLR`, `warmup_cosine`, `get_cosine_schedule_with_warmup`; empty where unknown."""
    low = name.strip().lower().replace("-", "_")
    if low.endswith("linearlr") and "warmup" not in low:
        return ""  # PyTorch's rises from a third to the full rate in five steps by default, or goes anywhere else
    return next((kind for kind, words in _WORDS if words.search(low)), "")
