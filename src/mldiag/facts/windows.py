"""How the training text is cut into windows: length, stride, and how often each token is seen in one epoch."""

from __future__ import annotations

from msgspec import Struct

from mldiag.artifacts import Metrics, Program, Settings
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.plan import Amount, stated

_TOKEN_SETTINGS = ("vocab_size", "train_tokens", "max_docs", "tokenizer", "tokenizer_path", "tokenizer_name", "bpe",
                   "sp_model", "vocab_file", "tie_embeddings")  # fmt: skip
_PATCH_SETTINGS = ("patch_len", "patch_size", "kernel_size", "pred_len", "forecast_horizon")


class Windows(Struct, frozen=True):
    """Windows over a text of tokens.

    Attributes:
        seq_len: tokens in a window, as the data pipeline cuts them.
        stride: tokens from one window's start to the next; equal to `seq_len` where nothing states it.
        stated: whether the stride was stated.
        text: what shows that the windows hold tokens of a text; empty where nothing does.
    """

    seq_len: Amount
    stride: Amount
    stated: bool
    text: str = ""

    @property
    def repetition(self) -> float:
        """How often each token is seen in one epoch: window length / stride (away from the ends of the text)."""
        return self.seq_len.value / self.stride.value

    @property
    def overlapping(self) -> bool:
        return self.stride.value < self.seq_len.value

    @property
    def advance(self) -> float:
        """New tokens that a window adds to the one before it."""
        return self.stride.value


@fact
def windows(settings: Settings, metrics: Metrics | None, program: Program | None) -> Windows:
    """Reads window length and stride from the settings."""
    length = stated(settings, "seq_len", program)
    if length is None:
        raise NotApplicable("no setting seq_len")
    step = stated(settings, "stride", program)
    # The stride of a patch embedding or of a convolution is another thing than that of the windows.
    if step is not None and any(n in settings for n in _PATCH_SETTINGS):
        step = None
    return Windows(length, step or length, step is not None, text_evidence(settings, metrics, program))


def text_evidence(settings: Settings, metrics: Metrics | None, program: Program | None) -> str:
    """What shows that a run trains on tokens of a text; an empty string where nothing does."""
    for name in _TOKEN_SETTINGS:
        if settings.get(name) not in (None, False, ""):
            return f"setting {name}"
    for value in settings:  # below a section: `data.tokenizer`
        if value.key in _TOKEN_SETTINGS and value.value not in (None, False, ""):
            return f"setting {value.name}"
    if metrics is not None:
        for series in ("train/perplexity", "val/perplexity", "tokens", "train/tokens", "tokens_per_s"):
            if series in metrics:
                return f"series {series}"
    if program is not None:
        built = next((b for b in program.builds if b.name == "vocab_size"), None)
        if built is not None:
            return f"vocabulary of the model at {built.at}"
    return ""
