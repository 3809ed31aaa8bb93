"""How much text there is to learn from, against the size of the model."""

from __future__ import annotations

from msgspec import Struct

from mldiag.artifacts import Program, Settings
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.batching import Batching
from mldiag.facts.parameters import Parameters
from mldiag.facts.plan import Amount, stated
from mldiag.facts.windows import Windows

_PRETRAINED = (
    "model_name_or_path", "_name_or_path", "pretrained", "pretrained_model", "pretrained_model_name_or_path", "lora_r",
    "lora_rank", "lora_alpha", "base_model", "init_checkpoint", "finetune", "from_pretrained",
)  # fmt: skip


class Budget(Struct, frozen=True):
    """Tokens against parameters.

    Attributes:
        unique_tokens: distinct training tokens; `how` has the arithmetic.
        parameters: of the model; None where they cannot be computed.
        passes: how often each token is seen in the whole run (epochs × repetition); None without epochs.
        pretrained: the setting that says the model was trained before; empty for a run from scratch.
    """

    unique_tokens: Amount
    parameters: Parameters | None = None
    passes: float | None = None
    pretrained: str = ""

    @property
    def per_parameter_tied(self) -> float | None:
        """Unique tokens / parameters with the output matrix tied to the token table."""
        return None if self.parameters is None else self.unique_tokens.value / self.parameters.count_tied

    @property
    def per_parameter_untied(self) -> float | None:
        """Unique tokens / parameters with an output matrix of its own."""
        return None if self.parameters is None else self.unique_tokens.value / self.parameters.count_untied

    @property
    def per_parameter(self) -> float | None:
        """Unique tokens / parameters as proven; with tied matrices, the milder reading, where nothing says."""
        return None if self.parameters is None else self.unique_tokens.value / self.parameters.count


@fact
def budget(
    settings: Settings,
    program: Program | None,
    windows: Windows | None,
    batching: Batching | None,
    parameters: Parameters | None,
) -> Budget:
    """Counts the distinct tokens: as stated, else from the windows of one epoch."""
    unique = stated(settings, "train_tokens", program) or _from_epoch(windows, batching)
    if unique is None:
        raise NotApplicable("nothing states the training tokens, nor steps_per_epoch with batch_size and seq_len")
    epochs = stated(settings, "epochs", program)
    repetition = windows.repetition if windows else 1.0
    return Budget(unique, parameters, epochs.value * repetition if epochs else None, pretrained_by(settings))


def pretrained_by(settings: Settings) -> str:
    """The setting that says training starts from a trained model; an empty string for a run from scratch."""
    for name in _PRETRAINED:
        if settings.get(name) not in (None, False, "", 0, "None", "none"):
            return name
    start = str(settings.get("init_from") or "scratch").lower()
    return "" if start in ("scratch", "resume") else "init_from"


def _from_epoch(windows: Windows | None, batching: Batching | None) -> Amount | None:
    """Steps × sequences × new tokens of each window: the text that one epoch passes over."""
    if windows is None or batching is None or not windows.text or batching.steps_per_epoch is None:
        return None
    reading = batching.tokens if batching.unit == "tokens" else batching.sequences
    if reading is None or reading.corpus_tokens is None:
        return None
    per_epoch = batching.steps_per_epoch
    how = f"{per_epoch.value:,.0f} steps × {reading.sequences_per_step:,g} sequences × {windows.advance:,.0f} tokens"
    how += " of stride" if windows.overlapping else ""
    return Amount(reading.corpus_tokens, how, per_epoch.setting, per_epoch.source, per_epoch.certain, per_epoch.by_user)
