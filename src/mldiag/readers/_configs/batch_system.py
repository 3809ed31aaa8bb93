"""What a job script asks its batch system for: SLURM, PBS, Grid Engine, LSF."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mldiag.artifacts import Role, Scalar, SettingValue
from mldiag.patterns import lazily
from mldiag.readers._configs.literals import literal
from mldiag.spans import Spans

_DIRECTIVE = lazily(rb"^#(SBATCH|PBS|\$|BSUB|COBALT|OAR)[ \t]+(\S[^\r\n]*)", re.MULTILINE)
_SYSTEMS = {"SBATCH": "slurm", "PBS": "pbs", "$": "sge", "BSUB": "lsf", "COBALT": "cobalt", "OAR": "oar"}
_WORD = lazily(rb"(?P<flag>--?[A-Za-z][\w-]*)(?:=|[ \t]+(?!-))?(?P<value>[^\s#-][^\s#]*)?")
_RESOURCE = lazily(rb"(\w+)=([^,:\s]+(?::\d\d){0,2})|(?<=[:+])(gpus?|ngpus)=(\d+)")
# SLURM's one-letter flags that say something of the training.
_SHORT = {"-N": "nodes", "-n": "ntasks", "-t": "time", "-c": "cpus_per_task", "-G": "gpus", "-p": "partition"}
_GPUS = lazily(r"(?:gpu(?::[\w.-]+)?:)?(?:[\w.-]+:)?(\d+)")
_DAYS = lazily(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


class _Asked(Struct, frozen=True):
    system: str
    key: str
    text: str
    start: int
    end: int


def directives(spans: Spans, *, distributed: bool) -> Iterator[SettingValue]:
    """The settings that directives state, under the system's name; a limit of time in seconds.

    Args:
        distributed: the script starts its program on several devices, so that those it asks for are those it uses.
    """
    asked = list(_asked(spans.data))
    for one in asked:
        name = f"{one.system}.{one.key}"
        seconds = _seconds(one)
        place = spans.source(one.start, one.end, key=name)
        if seconds is None:
            yield SettingValue(name, _value(one), Role.FILE, place)
        else:
            yield SettingValue("max_seconds", seconds, Role.FILE, place)
    if distributed and (devices := _devices(asked)):
        count, one = devices
        place = spans.source(one.start, one.end, key=f"{one.system}.{one.key}")
        yield SettingValue("devices", count, Role.FILE, place)


def _asked(data: bytes) -> Iterator[_Asked]:
    for line in _DIRECTIVE.finditer(data):
        system = _SYSTEMS[line[1].decode()]
        at = line.start(2)
        for word in _WORD.finditer(line[2]):
            flag, value = word["flag"].decode(), word["value"]
            if value is None:
                continue
            start = at + word.start("value")
            if flag in ("-l", "-W") and b"=" in value and system != "slurm":
                for part in _RESOURCE.finditer(line[2], word.start("value"), word.end("value")):
                    which = 1 if part[1] else 3
                    yield _Asked(
                        system, part[which].decode().lower(), part[which + 1].decode(errors="replace"),
                        at + part.start(which + 1), at + part.end(which + 1),
                    )  # fmt: skip
                continue
            key = _SHORT.get(flag, flag.lstrip("-").replace("-", "_")) if system == "slurm" else flag.lstrip("-")
            if len(key) > 1 or (system, key) == ("lsf", "W"):
                text = value.decode(errors="replace").strip("\"'")
                shift = value.find(text.encode())
                if text and shift >= 0:
                    yield _Asked(system, key, text, start + shift, start + shift + len(text.encode()))


def _value(one: _Asked) -> Scalar:
    value = one.text if ":" in one.text else literal(one.text)
    return one.text if isinstance(value, tuple) else value


def _seconds(one: _Asked) -> float | None:
    """A limit of time. SLURM's plain number is minutes, LSF's `-W` is `[hours:]minutes`, the others' is seconds."""
    if one.key not in ("time", "walltime", "h_rt", "W"):
        return None
    parts = _DAYS.fullmatch(one.text)
    if parts is None:
        return None
    days, *rest = (None if p is None else int(p) for p in parts.groups())
    found = [p for p in rest if p is not None]
    if one.system == "lsf":
        return float(found[0] * 60 if len(found) == 1 else found[0] * 3600 + found[1] * 60)
    if days is not None:
        found += [0] * (3 - len(found))
    elif len(found) == 1:
        return float(found[0] * (60 if one.system == "slurm" else 1))
    elif len(found) == 2:
        return float(found[0] * 60 + found[1])
    return float((days or 0) * 86_400 + found[0] * 3600 + found[1] * 60 + found[2])


def _devices(asked: Sequence[_Asked]) -> tuple[int, _Asked] | None:
    """GPUs of the whole job: those of a node times the nodes."""
    by_key = {one.key: one for one in asked}
    if "gpus" in by_key and (count := _GPUS.fullmatch(by_key["gpus"].text)):
        return int(count[1]), by_key["gpus"]
    for key in ("gpus_per_node", "gres", "ngpus"):
        if key in by_key and (count := _GPUS.fullmatch(by_key[key].text)):
            nodes = by_key.get("nodes") or by_key.get("select")
            several = int(nodes.text) if nodes and nodes.text.isdecimal() else 1
            return int(count[1]) * several, by_key[key]
    return None
