"""What the names in checkpoints say: which tensors are weights, when each was saved, which call themselves best."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from mldiag.artifacts import Source, as_number
from mldiag.checkpoints import Checkpoint, Checkpoints, Tensor
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.patterns import lazily

_STATE = lazily(
    r"(?:^|[/.])(?:[a-z_]*optim[a-z]*(?:_states?|_vars|_weights)?|opt_states?|adam|exp_avg(?:_sq)?|momentum(?:_buffer|s)?"
    r"|callbacks|lr_schedulers?|schedulers?|sched|rng(?:_states?)?|[a-z_]*rng_state[a-z_]*|scaler|loops|loss_scaler"
    r"|best_[a-z_]+|metrics|queue|train_function|iterations|training_config)(?:[/.:]|$)|\.optimizer_slot|save_counter"
    r"|^[mv]t?/|/(?:adam|rmsprop|momentum|adagrad)(?:_\d+)?$"
)
_BUFFER = lazily(
    r"running_(?:mean|var|std)|moving_(?:mean|variance|var)|num_batches_tracked|(?:^|[._/])(?:[a-z_]*mask|masked_bias"
    r"|position_ids|inv_freq|freqs(?:_[a-z]+)?|rope[a-z_]*|sin|cos|(?:sin|cos)_cached|relative_position_index|tril|triu"
    r"|causal|window|filters?_?bank|mel[a-z_]*|dft[a-z_]*|[a-z_]*basis[a-z_]*|seed_generator|anchors?|batch_stats"
    r"|ema_[a-z_]+|cluster_size|[a-z_]*buffer|zero_points?|scales?|shift|stride|proj_matrix|code_?book_usage)(?:[._/]|$)"
    r"|attn\.(?:masked_)?bias$|normalization[^/]*/vars/\d$"
)
_ADAPTER = lazily(r"lora_?[ab]?(?![a-z])|lora_|adapter|prefix_encoder|ia3_|hada_w|lokr_|vera_|prompt_encoder|boft_")
_OF_ANOTHER = frozenset({
    "teacher", "ref", "ref_model", "reference", "target", "target_net", "target_network", "ema", "shadow", "frozen",
    "momentum_encoder", "lpips", "perceptual", "discriminator", "netd", "initial", "init_model", "swa",
})  # fmt: skip
_BEST = lazily(r"(?:^|[^a-z])(?:best|beste|melhor|mejor|meilleur|miglior|lowest|optimal)(?:[^a-z]|$)|最佳")
_IN_NAME = lazily(
    r"(?:^|[^a-z])(?P<kind>global_?step|step|iteration|iter|checkpoint|ckpt|epoch|ep|e)[-_=]?0*(?P<at>\d+)(?=[^\d]|$)"
)
_NOT_A_MODEL = ("training_args", "optimizer.", "scheduler.", "rng_state", "scaler.", "optim.", "lr_scheduler.")
_STEPS = ("global_step", "step", "steps", "iter_num", "iter", "iteration", "iterations", "num_updates", "n_iter",
          "train_step", "trained_steps", "current_step", "total_steps_done", "global_steps")  # fmt: skip
_EPOCHS = ("epoch", "epochs_run", "current_epoch", "epoch_num", "last_epoch")
_HOLDERS = ("", "meta.", "state.", "trainer.", "training_state.", "trainer_state.", "train_state.", "extra_state.")


class Part(StrEnum):
    """What a stored tensor is to the model."""

    WEIGHT = "weight"
    """A matrix, filter or table."""
    VECTOR = "vector"
    """A bias, the scale of a norm, and whatever else has one dimension."""
    BUFFER = "buffer"
    """What is computed or counted, not trained: running moments, masks, rotary tables, whole numbers."""
    STATE = "state"
    """Of the optimizer, the schedule, callbacks."""


class SavedModel(Struct, frozen=True, dict=True):
    """One checkpoint with what its header says of itself.

    Attributes:
        step, epoch: when it was saved, from the metadata, else from the path; None where neither says. `step_at` and
            `epoch_at` are the places.
        best: its path or metadata call it the best one, or the one that a monitored score chose.
    """

    checkpoint: Checkpoint
    step: float | None = None
    step_at: Source | None = None
    epoch: float | None = None
    epoch_at: Source | None = None
    best: bool = False

    @property
    def path(self) -> str:
        return self.checkpoint.path

    def parts(self, *wanted: Part) -> Iterator[Tensor]:
        """Its tensors of some parts, in their order in the file."""
        known: dict[Part, list[Tensor]] = self.__dict__.setdefault("_parts", {})
        if not known:
            for tensor in self.checkpoint.tensors:
                known.setdefault(part_of(tensor), []).append(tensor)
        for part in wanted:
            yield from known.get(part, ())

    @property
    def adapter(self) -> bool:
        """Some of its tensors are a small model's that is trained in place of the large one (LoRA)."""
        return any(is_adapter(t.name) for t in self.checkpoint.tensors)

    @property
    def resumable(self) -> bool:
        """It holds the state of an optimizer."""
        if any(key.startswith(("optimizer", "optim", "opt_state")) for key in self.checkpoint.metadata):
            return True
        return any(t.count > 1 for t in self.parts(Part.STATE) if "callbacks" not in t.name)

    @property
    def signature(self) -> frozenset[tuple[str, tuple[int, ...]]]:
        """Names and shapes of its weights: equal for checkpoints of one model."""
        return frozenset((t.name, t.shape) for t in self.parts(Part.WEIGHT))


class SavedModels(Struct, frozen=True):
    """The checkpoints of a run that hold weights, in the order in which they were saved as far as that is known.

    Attributes:
        states: files of their own for the state of an optimizer.
    """

    items: tuple[SavedModel, ...]
    states: tuple[Checkpoint, ...] = ()

    def __iter__(self) -> Iterator[SavedModel]:
        return iter(self.items)

    @property
    def judged(self) -> tuple[SavedModel, ...]:
        """Of each model the first, the last and the best: values of those between tell nothing more."""
        by_kind: dict[object, list[SavedModel]] = {}
        for model in self.items:
            by_kind.setdefault(model.signature, []).append(model)
        chosen = [m for found in by_kind.values() for m in found if m is found[0] or m is found[-1] or m.best]
        return tuple(chosen)


@fact
def saved_models(checkpoints: Checkpoints) -> SavedModels:
    """Reads names and metadata only. Checkpoints of an optimizer alone are no models."""
    found = [_saved(c) for c in checkpoints if not _is_beside(c)]
    models = [m for m in found if any(True for _ in m.parts(Part.WEIGHT, Part.VECTOR))]
    if not models:
        raise NotApplicable("no checkpoint holds weights")
    models.sort(
        key=lambda m: (m.step if m.step is not None else m.epoch if m.epoch is not None else float("inf"), m.path)
    )
    beside = tuple(c for c in checkpoints if _is_beside(c) and "optim" in c.path.rsplit("/", 1)[-1].lower())
    return SavedModels(tuple(models), beside)


def _is_beside(checkpoint: Checkpoint) -> bool:
    return checkpoint.path.rsplit("/", 1)[-1].lower().startswith(_NOT_A_MODEL)


def part_of(tensor: Tensor) -> Part:
    """By its name, type and dimensions."""
    name = tensor.name.lower()
    if _STATE.search(name):
        return Part.STATE
    floating = tensor.dtype.lstrip("><").startswith(("float", "bfloat", "f2", "f4", "f8", "c"))
    if not floating or not tensor.shape or _BUFFER.search(name):
        return Part.BUFFER
    bias = re.search(r"(?:^|[._/])bias(?:[_.:]?(?:[ih]h_l)?\d+)?(?:_reverse)?$", name) is not None
    return Part.WEIGHT if sum(n > 1 for n in tensor.shape) >= 2 and not bias else Part.VECTOR


def is_adapter(name: str) -> bool:
    """Whether a tensor belongs to what is trained beside a frozen model (LoRA, prefixes, IA3)."""
    return _ADAPTER.search(name.lower()) is not None


def is_of_another(name: str) -> bool:
    """Whether a tensor belongs to a second model that follows or teaches the one that is trained."""
    return not _OF_ANOTHER.isdisjoint(re.split(r"[./:]", name.lower()))


def _saved(checkpoint: Checkpoint) -> SavedModel:
    step, step_at = _stated(checkpoint, _STEPS)
    epoch, epoch_at = _stated(checkpoint, _EPOCHS)
    if step is None and epoch is None:
        for found in _IN_NAME.finditer(checkpoint.path.lower()):
            at = Source(checkpoint.path)
            if found["kind"] in ("epoch", "ep", "e"):
                epoch, epoch_at = float(found["at"]), at
            else:
                step, step_at = float(found["at"]), at
    name = checkpoint.path.lower().rsplit("/", 1)[-1]
    best = _BEST.search(name) is not None or any(_chosen(key, value) for key, value in checkpoint.metadata.items())
    return SavedModel(checkpoint, step, step_at, epoch, epoch_at, best)


def _stated(checkpoint: Checkpoint, names: tuple[str, ...]) -> tuple[float | None, Source | None]:
    for holder in _HOLDERS:
        for name in names:
            number = as_number(checkpoint.metadata.get(holder + name))
            if number is not None and number >= 0:
                return number, Source(checkpoint.path, key=holder + name)
    return None, None


def _chosen(key: str, value: object) -> bool:
    """Whether a callback's record says that a monitored score chooses what is kept."""
    return (
        key.startswith("callbacks.ModelCheckpoint")
        and ".best_model_path" in key
        and bool(value)
        and "'monitor': None" not in key
    )
