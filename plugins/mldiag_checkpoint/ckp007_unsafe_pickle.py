"""CKP007: files that would import or call something when they are loaded."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Checkpoints, Evidence, Finding, Fix, Severity, rule
from mldiag_checkpoint.words import listed

_HARMFUL = frozenset({
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "ctypes", "importlib", "runpy", "pty", "code",
    "webbrowser", "urllib", "requests", "http", "commands", "multiprocessing", "asyncio", "pip", "pickle", "_pickle",
    "marshal", "codeop", "timeit", "cProfile", "pdb", "bdb", "platform", "tempfile", "io", "_io",
})  # fmt: skip
"""Modules whose functions run commands, open files or connections, or load further code."""
_HARMFUL_BUILTINS = frozenset({
    "eval", "exec", "execfile", "compile", "__import__", "getattr", "open", "apply", "breakpoint", "input", "globals",
    "setattr", "vars", "map",
})  # fmt: skip


@rule("CKP007", severity="warning")
def unsafe_pickle(checkpoints: Checkpoints, *, max_listed: int = 5) -> Iterator[Finding]:
    """Loading a checkpoint would import or call more than what rebuilds tensors.

    ## What it checks
    What the pickle of a checkpoint names: the classes and functions that loading it imports and calls. What rebuilds
    tensors, containers, numbers and arrays is left out. The file is never loaded: its opcodes are followed by a machine
    that builds descriptions. An error where a name runs commands, opens files or connections, or reaches other
    functions (`os.system`, `builtins.eval`, `builtins.getattr`).

    ## Why it matters
    `torch.load` without `weights_only=True` calls whatever the file names. A whole pickled module needs the very source
    that it was saved from; `weights_only` refuses it, which is the default since PyTorch 2.6.

    ## Inputs
    Checkpoints that are pickles (`.pt`, `.pth`, `.ckpt`, `.bin`); others name nothing.

    ## Options
    - `max_listed` (5 names): names that are listed in the evidence; all are counted.

    ## Fix
    Shown: save a state dictionary (`model.state_dict()`), or safetensors. Do not load a file that names what it should
    not: take the tensors out with a tool that does not call anything.

    ## When to ignore
    Files of your own, of whole modules, that are loaded where they were made.

    ## Source
    PyTorch documentation, "Serialization semantics", `weights_only`; the list of harmful modules follows picklescan and
    fickling.
    """
    for found in checkpoints:
        if not found.calls:
            continue
        harmful = [c for c in found.calls if _is_harmful(c)]
        names = [*harmful, *(c for c in found.calls if c not in harmful)]
        yield Finding(
            f"loading {found.path} would import {listed(names)}",
            at=found.source,
            severity=Severity.ERROR if harmful else Severity.WARNING,
            evidence=(
                Evidence("names beyond what rebuilds tensors", len(names), 0, found.source),
                *(
                    [Evidence("names that run commands or reach other functions", len(harmful), 0, found.source)]
                    if harmful
                    else []
                ),
                *(Evidence(f"name {i + 1}", name, None, found.source) for i, name in enumerate(names[:max_listed])),
            ),
            fix=Fix.show(
                "do not load this file; have it checked where it comes from"
                if harmful
                else "save the state dictionary alone (model.state_dict()), or safetensors"
            ),
        )


def _is_harmful(name: str) -> bool:
    module, _, rest = name.partition(".")
    if module in ("builtins", "__builtin__", "__builtins__"):
        return rest.partition(".")[0] in _HARMFUL_BUILTINS
    return module in _HARMFUL or name.startswith(
        ("torch.hub", "numpy.testing", "torch._inductor", "torch.jit.unsupported")
    )
