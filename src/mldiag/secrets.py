"""Passwords, keys and tokens, which lie beside settings in configurations and scripts: no report repeats them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache

from mldiag.patterns import lazily
from mldiag.vocabulary import normalized

# How services write tokens: OpenAI and Anthropic, GitHub, GitLab, Hugging Face, AWS, Google, Slack, JSON web tokens.
_WRITTEN = (
    r"(?<![\w-])(?:sk-[\w-]{20,}|gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|xox[abeoprs]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
)
_FLAG = lazily(r"""["']--?([A-Za-z][\w.-]*+)["']""")
_NEAR = 200
_SEVERAL = (tuple, list)  # a union would be made anew at each of many calls
_IN_ADDRESS = r"(?<!\w)\w++://[^\s/:@]*+:([^\s/@]++)@"


# What is called a secret: anywhere, even as a number, in the environment; then what only looks like one.
_ANYWHERE = lazily(
    r"(^|_)((api|access|secret|private|auth|account|storage|wandb|ssh|encryption|signing|service)_?keys?|"
    r"(hf|hub|auth|access|api|github|gitlab|bearer|refresh|id|session|bot|slack|huggingface)_tokens?|token|"
    r"secrets?|credentials?|cookie|dsn|connection_string|webhook(_url)?)($|_)",
    words=("key", "token", "secret", "credential", "cookie", "dsn", "connection_string", "webhook"),
)
_EVEN_NUMBERS = lazily(r"(^|_)(passw(or)?d|passphrase|pwd)($|_)", words=("pass", "pwd"))
_IN_ENVIRONMENT = lazily(
    r"(^|_)(keys?|tokens?|pass|auth|secrets?)($|_)", words=("key", "token", "pass", "auth", "secret")
)
_ORDINARY = lazily(
    r"(^|_)(pad|eos|bos|unk|sep|cls|mask|image|video|audio|special|start|end|stop|begin|first|last|additional|"
    r"per|by|each|next|prev|decoder_start)_token|(^|_)(num|n|max|min|total|train)_tokens?",
    words=("token",),
)


@cache
def _values() -> re.Pattern[str]:
    return re.compile(f"{_WRITTEN}|{_IN_ADDRESS}")


@cache
def _assigned() -> re.Pattern[str]:
    """`NAME=value`, `"name": "value"`, `--name value`, `Bearer value`; a value that is cut has no quote at its end."""
    value = r"""(?:"(?P<double>[^"\n]*+)|'(?P<single>[^'\n]*+)|(?P<bare>(?![Bb]earer\s)[^\s"',;&|)}\]=]++))"""
    return re.compile(
        rf"""(?<![\w.-])(?:(?P<bearer>[Bb]earer)\s+|(?P<flag>--?[A-Za-z][\w.-]*+)(?:\s+|=)"""
        rf"""|["']?(?P<name>[A-Za-z_][\w.-]*+)["']?\s*+[:=]\s*+){value}"""
    )


def is_secret(key: str, value: object, *, environment: bool = False) -> bool:
    """Whether a value is a password, key or token of a person or service: such a value is never kept.

    Args:
        environment: the key is that of an environment variable, where every `KEY` and `TOKEN` is one.
    """
    if isinstance(value, _SEVERAL):
        return any(is_secret(key, inner, environment=environment) for inner in value)
    as_text, always, in_environment = _named(key)
    if always or (environment and in_environment):
        return True
    if not isinstance(value, str):
        return False
    return bool(as_text and value) or (len(value) > 5 and _values().search(value) is not None)


def _is_harmless(key: str, kind: type) -> bool:
    return not (issubclass(kind, (str, *_SEVERAL)) or _named(key)[1])


is_harmless: Callable[[str, type], bool] = lru_cache(4096)(_is_harmless)
"""Whether no value of this name and type is a secret, as of most settings: thousands of runs have the same."""


@lru_cache(4096)
def _named(key: str) -> tuple[bool, bool, bool]:
    """Whether what has this name is a secret if it is a text, whatever it is, and in the environment."""
    plain = normalized(re.split(r"[./]", key)[-1])
    if _EVEN_NUMBERS.search(plain):
        return True, True, True
    if _ORDINARY.search(plain):
        return False, False, False
    return _ANYWHERE.search(plain) is not None, False, _IN_ENVIRONMENT.search(plain) is not None


def masked(text: str) -> str:
    """A line with asterisks in place of the secrets in it: as long as before, so that columns still hold."""
    spans = [m.span(m.lastindex or 0) for m in _values().finditer(text)]
    at = 0
    while found := _assigned().search(text, at):
        kind = found.lastgroup or "bare"
        name = (found["flag"] or found["name"] or "").lstrip("-")
        if name == "default":  # of the option that is declared before it
            name = next((m[1] for m in _FLAG.finditer(text, max(0, found.start() - _NEAR), found.start())), name)
        secret = found["bearer"] or is_secret(name, _meant(found[kind]), environment=name.isupper())
        if secret:
            spans.append(found.span(kind))
        # What is quoted and no secret may be a command line or a document with some in it.
        at = found.end() if secret or kind == "bare" else found.start(kind)
    told, at = [], 0
    for start, end in sorted(spans):
        if end > at:
            told += [text[at:start], "*" * (end - max(start, at))]
            at = end
    return "".join((*told, text[at:]))


def _meant(text: str) -> object:
    """A number as such: `token: 5` counts something."""
    try:
        return float(text)
    except ValueError:
        return text
