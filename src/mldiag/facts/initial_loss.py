"""The first logged train loss, where hardly anything was learned before it, against a guess among the classes."""

from __future__ import annotations

from msgspec import Struct

from mldiag.artifacts import Program, Settings, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.chance import Chance
from mldiag.facts.curves import Curve, Curves
from mldiag.facts.outputs import Outputs
from mldiag.facts.plan import Plan

MAX_STEP = 20
"""Last optimizer step at which a first value can still be near the untrained model's: new models among 870
measured runs that log first at steps 2 to 20 begin at 0.92 to 1.13 of ln C where nothing is wrong, those at step 49 at
0.7 to 0.9."""

MAX_SHARE = 0.1
"""The same as a share of the run: a log of 30 steps that begins at step 10 has learned a third of all it will."""

WARMING = 0.1
"""First learning rate / highest, up to which a first value of step 2 to `MAX_STEP` is still that of the untrained
model: language models that are warmed up so begin at 1.02 to 1.05 of ln C in the labelled runs."""

_ONE = 1.0


class InitialLoss(Struct, frozen=True):
    """The first train loss.

    Attributes:
        curve: the train loss. `value`: its first value.
        step: the optimizer step of that; 0 or 1 for the untrained model.
        chance: the classes; `chance.loss` is what is expected of a fresh model, in nats.
        trained: what says that the model was trained before, with its place; empty where nothing does.
        fresh: what says that the model is new; empty where nothing does.
        warming: the learning rate was so low until then that nothing can have been learned.
    """

    curve: Curve
    value: float
    step: float
    chance: Chance
    trained: str = ""
    fresh: str = ""
    warming: bool = False

    @property
    def ratio(self) -> float:
        """First loss / ln C."""
        return self.value / self.chance.loss

    @property
    def untrained(self) -> bool:
        """The value was computed before the updates, or before any that could show."""
        return self.step <= _ONE or self.warming

    @property
    def source(self) -> Source:
        return self.curve.at(0)


@fact
def initial_loss(
    curves: Curves, outputs: Outputs, settings: Settings | None, program: Program | None, plan: Plan | None
) -> InitialLoss:
    """From the first value of the train loss, where the step says that hardly anything was learned before it."""
    if curves.reinforcement or curves.adversarial:
        raise NotApplicable(f"a loss beside {curves.reinforcement or curves.adversarial} is no cross-entropy")
    curve = curves.require("train/loss")
    if curve.launches > 1:
        raise NotApplicable(f"the log holds {curve.launches} launches: the last may have gone on from weights")
    if curve.begun_late:
        raise NotApplicable(f"the log begins at {curve.place(0)}: what came before is not known")
    if curve.values[0] <= 0:
        raise NotApplicable(f"the train loss begins at {curve.values[0]:.3g}, which is no cross-entropy")
    step = _step(curve, plan)
    last = (curve.axis("step") or (step,))[-1]
    if step > max(_ONE, min(MAX_STEP, MAX_SHARE * last)):
        raise NotApplicable(f"the first train loss is of {curve.place(0)}, when the model had learned")
    trained = _trained(settings or Settings(), program)
    fresh = "" if trained else _fresh(settings, program)
    lr = curves.get("lr")
    warming = lr is not None and len(lr) > 1 and 0 <= lr.values[0] <= WARMING * max(lr.values)
    return InitialLoss(curve, curve.values[0], step, outputs.chance, trained, fresh, warming)


def _step(curve: Curve, plan: Plan | None) -> float:
    """The optimizer step of the first value; raises where the axis counts epochs or nothing says what it counts."""
    steps, epochs = curve.axis("step"), curve.axis("epoch")
    if steps is None:
        raise NotApplicable("the train loss has no steps: its first value is a mean over an epoch")
    planned = plan.epochs.value if plan is not None and plan.epochs is not None else 0.0
    if planned > 1 and steps[-1] <= planned:
        raise NotApplicable(f"the train loss has {steps[-1]:g} steps in {planned:g} epochs: they may be epochs")
    gap = steps[1] - steps[0] if len(steps) > 1 else 0.0
    if len(epochs or ()) > 1 and epochs is not None and epochs[1] - epochs[0] >= _ONE:
        raise NotApplicable("the train loss is logged once an epoch: its first value is a mean over one")
    if gap > _ONE or (epochs is not None and 0 < epochs[-1] - epochs[0] < steps[-1] - steps[0]):
        return steps[0]
    # Steps 0, 1, 2, … may be epochs under another name, unless the plan counts that many steps.
    total = plan.total_steps.value if plan is not None and plan.total_steps is not None else 0.0
    if total >= max(steps[-1], 2):
        return steps[0]
    raise NotApplicable("the steps of the train loss may be epochs")


_WEIGHTS = (
    "pretrained", "init_checkpoint", "resume", "resume_from", "resume_from_checkpoint", "finetune", "finetune_from",
    "fine_tune", "pretrained_model", "pretrained_path", "pretrained_weights", "checkpoint_path", "load_checkpoint",
    "base_model", "init_from", "load_from", "ckpt_path", "from_pretrained", "restore", "restore_from",
    "model_name_or_path", "peft_type", "lora_r", "load_weights", "lora_rank",
)  # fmt: skip
_BEGINNING = ("init_from", "pretrained", "from_pretrained", "model_name_or_path")
_NOTHING = frozenset({"", "0", "none", "null", "false", "no", "scratch", "random", "resume_off", "never"})
_GIVEN = frozenset({"from_pretrained", "get_peft_model", "LoraConfig", "KerasLayer"})
_LOADS = frozenset({
    "load_state_dict", "load_weights", "load_model", "load_checkpoint", "load_from_checkpoint", "restore",
})  # fmt: skip
_TRAINS = frozenset({"backward", "fit", "train_on_batch", "apply_gradients", "GradientTape"})


def _trained(settings: Settings, program: Program | None) -> str:
    """What says that the weights are not new."""
    for value in settings:
        if value.key in _WEIGHTS and str(value.value).strip().lower() not in _NOTHING:
            return f"{value.key} is {value.value} at {value.source}"
    for source in program.sources if program is not None else ():
        for call in source.calls:
            if call.last in _GIVEN and not any(other in call.name for other in ("okeniz", "onfig.", "rocessor")):
                return f"{call.last} at {call.source}"
            given = call.keywords.get("pretrained")
            weights = call.keywords.get("weights")
            if given or (isinstance(weights, str) and weights.lower() not in _NOTHING):
                return f"{call.last}({'weights' if weights else 'pretrained'}) at {call.source}"
            if "weights" in call.keywords and weights is None and "orchvision" in call.resolved:
                return f"{call.last}(weights) at {call.source}"
    return ""


def _fresh(settings: Settings | None, program: Program | None) -> str:
    """What says that the weights are new: a setting, or a source that trains a network and loads no weights."""
    for value in settings or ():
        if value.key in _BEGINNING and str(value.value).strip().lower() in _NOTHING - {""}:
            return f"{value.key} is {value.value} at {value.source}"
    calls = [call for source in (program.sources if program is not None else ()) for call in source.calls]
    # What is loaded may be a checkpoint to go on from, or the best one to be tested at the end; a second place that
    # trains may be what comes before the run.
    trains = [c for c in calls if c.last in _TRAINS]
    if len(trains) != 1 or any(c.last in _LOADS for c in calls):
        return ""
    return f"{trains[0].source.path} loads no weights"
