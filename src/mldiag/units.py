"""What names of series say their values are in."""

from __future__ import annotations

from mldiag.patterns import lazily

_BRACKETED = lazily(r"[(\[]([^()\[\]]*)[)\]]\s*$")
_WORD = lazily(r"[^\s./\-_]+")

_UNITS = {
    "%": "percent", "percent": "percent", "pct": "percent", "percentage": "percent", "perc": "percent",
    "nats": "nats", "nat": "nats",
    "bits": "bits", "bpc": "bits", "bpb": "bits", "bpd": "bits",
    "s": "s", "sec": "s", "secs": "s", "seconds": "s", "ms": "ms", "msec": "ms", "milliseconds": "ms", "us": "us",
    "gb": "GB", "gib": "GiB", "mb": "MB", "mib": "MiB",
}  # fmt: skip
# Units that are told by brackets only: as words of a name they mean something else.
_BRACKET_UNITS = {"min": "min", "h": "h", "hours": "h", "db": "dB", "°c": "°C"}
_PER_SECOND = frozenset({"s", "sec", "second", "seconds"})
_THINGS = {
    "tok": "tokens", "toks": "tokens", "token": "tokens", "tokens": "tokens", "it": "steps", "its": "steps",
    "iter": "steps", "iters": "steps", "step": "steps", "steps": "steps", "sample": "samples", "samples": "samples",
    "ex": "samples", "example": "samples", "examples": "samples", "img": "samples", "imgs": "samples",
    "image": "samples", "images": "samples", "words": "words", "frames": "frames", "batch": "steps",
    "batches": "steps", "updates": "steps", "seq": "samples", "sequences": "samples",
}  # fmt: skip


def is_unit(text: str) -> bool:
    """Whether what stands in brackets behind a name is a unit."""
    return text in _UNITS or text in _BRACKET_UNITS


def unit_of(raw: str) -> str | None:
    """What a series name says its values are in; None where it says nothing.

    `percent`, `bits`, `nats`, `s`, `ms`, `GB` and the like, and rates as `tokens/s`.
    """
    name = raw.strip().lower()
    if bracket := _BRACKETED.search(name):
        inside = bracket[1].strip()
        found = _UNITS.get(inside) or _BRACKET_UNITS.get(inside) or _rate(_WORD.findall(inside))
        if found:
            return found
    if "%" in name:
        return "percent"
    words = _WORD.findall(name) or [""]
    if "time" in words[:-1] and words[-1] in _PER_SECOND and "per" not in words:
        return "s"  # `time_this_iter_s` of Ray is no rate
    if rate := _rate(words[-3:]):
        return rate
    if "bits" in words[:-1] and "per" in words:
        return "bits"
    if words[-1] in ("bpc", "bpb", "bpd", "nats", "bits") or len(words) > 1:
        return _UNITS.get(words[-1])
    return None


def _rate(words: list[str]) -> str | None:
    """`tok/s`, `samples_per_second`."""
    if len(words) > 2 and words[-2] == "per" and words[-1] in _PER_SECOND and words[-3] in _THINGS:
        return f"{_THINGS[words[-3]]}/s"
    if len(words) > 1 and words[-1] in _PER_SECOND and words[-2] in _THINGS and words[-2] != "step":
        return f"{_THINGS[words[-2]]}/s"
    return {"tps": "tokens/s", "wps": "tokens/s", "fps": "frames/s"}.get(words[-1])
