"""CFG015: a training step, or an evaluation, that does something else than was meant."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, Idiom, NotApplicable, Program, Run, Settings, Severity, rule

_FRAMEWORKS = frozenset({"torch", "tensorflow", "keras", "tf_keras", "lightning", "pytorch_lightning", "transformers"})
_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

# Kind → severity, message, what the other places are, what to do, the rules whose findings it causes.
_KINDS: dict[str, tuple[Severity, str, tuple[str, ...], str, tuple[str, ...]]] = {
    "gradients_kept": (
        _ERROR,
        "the loop at line {loop} runs backward() and {optimizer}.step() (line {0}) and sets the gradients to zero "
        "{zeroed}: they add up from step to step",
        ("line of the optimizer's step", "line of the loop that zeroes"),
        "call {optimizer}.zero_grad() once before each backward pass, or once for each group of accumulated batches",
        ("CUR004", "CUR005", "CUR008", "CUR003", "CUR017"),
    ),
    "accumulation_discarded": (
        _ERROR,
        "{optimizer}.step() (line {0}) runs once in {factor} batches, but the gradients are set to zero in every one: "
        "all but the last batch's are thrown away",
        ("line of the optimizer's step",),
        "set the gradients to zero beside {optimizer}.step(), under the same condition",
        (),
    ),
    "no_eval_mode": (
        _WARNING,
        "{model} (line {0}) is evaluated with {layer} (line {1}) in the mode of training: no line switches it to "
        "eval()",
        ("line that evaluates", "line of the layer"),
        "call {model}.eval() before the evaluation and {model}.train() after it",
        ("EVA011", "CUR009", "CUR010"),
    ),
    "left_in_eval_mode": (
        _WARNING,
        "{model}.eval() is called in the loop at line {loop} and no line switches back to train(): from the "
        "second pass "
        "on "
        "{layer} (line {1}) does nothing in training",
        ("line in the loop", "line of the layer"),
        "call {model}.train() at the beginning of each epoch",
        ("CUR001", "CUR002"),
    ),
    "softmax_before_loss": (
        _ERROR,
        "{loss} applies softmax itself, and its input went through softmax at line {0} before",
        ("line of the softmax",),
        "give {loss} the logits, and apply softmax only where probabilities are wanted",
        ("LOS004", "CUR003", "CUR007", "CUR014"),
    ),
    "sigmoid_before_loss": (
        _ERROR,
        "{loss} applies the sigmoid itself, and its input went through one at line {0} before",
        ("line of the sigmoid",),
        "give {loss} the logits, and apply the sigmoid only where probabilities are wanted",
        ("CUR003", "CUR007", "CUR014"),
    ),
    "activation_as_logits": (
        _WARNING,
        "{loss} is told from_logits=True, but the last layer (line {0}) ends with {activation}: unless the backend "
        "undoes "
        "it, as TensorFlow does in graph mode, it is applied twice",
        ("line of the last layer",),
        "take the activation from the last layer, or from_logits=True from the loss",
        ("CUR003", "CUR007", "LOS004"),
    ),
    "logits_as_probabilities": (
        _ERROR,
        "{loss} expects probabilities, but the last layer (line {0}) has no activation",
        ("line of the last layer",),
        "write {loss} with from_logits=True, or give the last layer its {activation}",
        ("CUR003", "CUR004", "CUR005", "CUR014"),
    ),
    "scheduler_before_optimizer": (
        _WARNING,
        "{scheduler}.step() comes before the optimizer's (line {0}): the first rate of {schedule} is skipped",
        ("line of the optimizer's step", "line of the schedule"),
        "call {scheduler}.step() after the optimizer's step",
        (),
    ),
    "scheduler_per_epoch": (
        _WARNING,
        "{scheduler}.step() runs once per epoch, but {schedule} (line {1}) is planned in optimizer steps, which run in "
        "the "
        "inner loop (line {0})",
        ("line of the optimizer's step", "line of the schedule"),
        "call {scheduler}.step() after each optimizer step",
        ("SCH003", "SCH004", "SCH005", "SCH006"),
    ),
    "scheduler_per_micro_batch": (
        _WARNING,
        "{scheduler}.step() runs for every micro-batch, but {schedule} (line {1}) is planned in optimizer steps, of "
        "which "
        "there is one for several (line {0})",
        ("line of the optimizer's step", "line of the schedule"),
        "call {scheduler}.step() beside the optimizer's step, under the same condition",
        ("SCH005", "SCH006", "SCH001"),
    ),
    "undivided_loss": (
        _WARNING,
        "the gradients of {factor} batches are added up before each step (line {0}), and the loss is not divided by it",
        ("line of the optimizer's step",),
        "divide the loss by {factor} before backward()",
        ("LOS005", "LOS007"),
    ),
    "unshifted_targets": (
        _ERROR,
        "the targets of the causal model are its own input, {target} (line {0}): it learns to copy and not to predict",
        ("line of the model's call",),
        "predict the next token: logits[:, :-1] against {target}[:, 1:]",
        ("CUR009", "SMP001", "SMP002"),
    ),
    "targets_shifted_twice": (
        _ERROR,
        "the labels are shifted by one token, and the causal model shifts them again: it learns the token after the "
        "next",
        ("line of the labels",),
        "give the same tokens as input_ids and as labels",
        ("SMP001", "SMP002"),
    ),
    "read_at_padding": (
        _WARNING,
        "{tensor}[:, -1] is read from batches that are padded on the right (line {0}): of shorter texts it is a "
        "padding token's",
        ("line of the padding side", "line of the padding"),
        "pad on the left, or read at the last token of the attention mask",
        ("EVA001",),
    ),
    "detached_loss": (
        _ERROR,
        "backward() starts from {how} (line {0}), which has no graph of the model: no parameter gets a gradient",
        ("line that cuts the graph",),
        "call backward() on the loss itself, and detach only what is logged",
        ("CUR003", "CUR013", "CUR014", "CUR018"),
    ),
    "graph_kept": (
        _WARNING,
        "{total} adds up the tensor {loss} of every batch (line {0} runs its backward pass), and so keeps "
        "the graphs in "
        ""
        "memory until the sum is dropped",
        ("line of the backward pass",),
        "add {loss}.item() or {loss}.detach()",
        ("RUN004", "RUN001"),
    ),
    "replaced_model": (
        _ERROR,
        "{model} is made anew after {optimizer} (line {0}) took the parameters of the old one: the new one is never "
        "trained",
        ("line of the optimizer",),
        "make {optimizer} after the last {model}",
        ("CUR003", "CUR013", "CUR014", "CUR018"),
    ),
}
_FACTORS = ("undivided_loss", "accumulation_discarded", "scheduler_per_micro_batch")


@rule("CFG015", severity="error", pre=True)
def training_step_bug(run: Run, program: Program, settings: Settings | None) -> Iterator[Finding]:
    """The source shows a training step or an evaluation that does not do what was meant.

    ## What it checks
    The syntax of the sources, which are never run. Of PyTorch and Lightning's manual optimisation: gradients that
    nothing zeroes, or that are zeroed between the batches that are to be added up; a loss without its graph that is
    given to `backward()`; a loss that is not divided under gradient accumulation; a sum of losses that keeps every
    graph; softmax or sigmoid before a loss that applies it; a scheduler that steps before the optimizer, once per epoch
    though planned in steps, or for every micro-batch; a model made anew behind its optimizer; evaluation in the mode
    of training, and training left in that of evaluation; language model targets that are the inputs, are shifted
    twice, or logits read at right padding. Of Keras: an activation that does not fit `from_logits`, and
    `training=True` in an evaluation. Each kind is reported once. It is certain or quiet: where a helper that is not
    seen, a base class or a wrapper could make it right, and for what Lightning, the Hugging Face Trainer, Accelerate
    or DeepSpeed do themselves, nothing is said.

    ## Why it matters
    All of these run without an error, and most of them train something: only worse, or not what is measured.

    ## Inputs
    The source of the program; settings `gradient_accumulation` and `dropout`, which can make two kinds harmless.

    ## Fix
    Only shown: the lines belong to the program.

    ## When to ignore
    A deliberate trick: dropout kept on to sample predictions, gradients carried over on purpose.

    ## Source
    PyTorch documentation: "Autograd mechanics" (evaluation mode, accumulation), "How to adjust learning rate" (order
    of the two steps), `CrossEntropyLoss`, FAQ "My model reports cuda runtime error(2): out of memory" (kept graphs).
    transformers: `ForCausalLMLoss` shifts labels. Keras: `backend.tensorflow.nn._get_logits` (undone softmax).
    """
    sources = [s for s in program.sources if _FRAMEWORKS & {i.partition(".")[0] for i in s.imports}]
    if not sources:
        raise NotApplicable("no source that uses PyTorch, Keras, Lightning or transformers was found")
    told: set[str] = set()
    for source in sources:
        for idiom in source.idioms:
            if idiom.name not in _KINDS or idiom.name in told or _is_harmless(idiom, settings or Settings()):
                continue
            if idiom.name == "softmax_before_loss" and not run.pre:
                continue  # LOS004 says it, with what it did to the loss
            told.add(idiom.name)
            yield _finding(idiom)


def _is_harmless(idiom: Idiom, settings: Settings) -> bool:
    if idiom.name in _FACTORS:
        return settings.get("grad_accum", int) == 1
    if idiom.name in ("no_eval_mode", "left_in_eval_mode") and "Drop" in str(idiom.detail("layer")):
        return settings.get("dropout", float) == 0
    return False


def _finding(idiom: Idiom) -> Finding:
    severity, message, labels, advice, explains = _KINDS[idiom.name]
    details = dict(idiom.details)
    lines = [a.line for a in idiom.also]
    return Finding(
        message.format(*lines, **details),
        at=idiom.source,
        evidence=(
            Evidence("line", idiom.source.line, at=idiom.source),
            *(Evidence(label, at.line, at=at) for label, at in zip(labels, idiom.also, strict=False)),
            *([Evidence("line of the loop", details["loop"])] if "loop" in details else []),
        ),
        severity=severity,
        fix=Fix.show(advice.format(**details)),
        explains=explains,
    )
