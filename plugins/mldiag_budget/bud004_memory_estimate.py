"""BUD004: the model, its optimizer and one batch need more memory than the stated device has."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from mldiag.api import (
    Batching,
    Evidence,
    Finding,
    Fix,
    LoggedFailures,
    Metrics,
    NotApplicable,
    Parameters,
    Settings,
    Source,
    Windows,
    as_number,
    lazily,
    rule,
)

GIB = 2.0**30
DEVICES: tuple[tuple[str, float], ...] = (
    (r"b200", 192), (r"h200", 141), (r"h100|h800", 80), (r"a100|a800", 80), (r"gh200", 96), (r"mi300", 192),
    (r"mi250", 128), (r"l40s?", 48), (r"a40\b", 48), (r"a6000", 48), (r"rtx 6000 ada", 48), (r"a10g?\b", 24),
    (r"a30\b", 24), (r"l4\b", 24), (r"p100", 16), (r"p40\b", 24), (r"p4\b", 8), (r"k80", 12), (r"t4\b", 16),
    (r"v100", 32), (r"titan rtx", 24), (r"titan x|titan v", 12), (r"rtx ?5090", 32), (r"rtx ?4090", 24),
    (r"rtx ?3090", 24), (r"rtx ?5080|rtx ?4080", 16), (r"rtx ?5070 ?ti|rtx ?4070 ?ti super", 16),
    (r"rtx ?5070|rtx ?4070", 12), (r"rtx ?4060 ?ti", 16), (r"rtx ?5060 ?ti", 16), (r"rtx ?5060|rtx ?4060", 8),
    (r"rtx ?3080", 12), (r"rtx ?3070", 8), (r"rtx ?3060 ?ti", 8), (r"rtx ?3060", 12), (r"rtx ?3050", 8),
    (r"rtx ?2080 ?ti", 11), (r"rtx ?20[678]0", 8), (r"gtx ?1080 ?ti", 11), (r"gtx ?10[78]0", 8),
)  # fmt: skip
"""Memory of a device by its name, in GiB; of one that is sold with several amounts the largest."""

_ABOUT_DEVICE = lazily(
    r"(?i)(^|_)(gpus?|device|accelerator|gres|hardware|(gpu|device|accelerator)_?(name|type|model)|gpu_devices|constraint)$"
)
_MEMORY_KEYS = lazily(r"(?i)((gpu|device|cuda)_?(memory|mem|ram|vram)(_?(gb|gib|limit|size))?|vram(_?gb|_gib)?)")
_AMOUNT = lazily(r"(?i)\b(\d+(?:\.\d+)?)\s*g(?:i?b)?\b")
_CAPACITY = lazily(r"(?i)total capacity of (\d+(?:\.\d+)?) (G|M)iB|(\d+(?:\.\d+)?) (G|M)iB total capacity")

_BYTES = {"sgd": 8.0, "momentum": 12.0, "adafactor": 8.0, "8bit": 10.0, "lion": 12.0, "rmsprop": 12.0, "adagrad": 12.0}
ADAM_BYTES = 16.0
"""Weights, gradients and two moments in 32 bits; under mixed precision as much (Rajbhandari et al. 2020)."""
PURE_BYTES = 8.0
"""The same four in 16 bits, where the model itself is kept in them."""
LAYER_BYTES = 34.0
"""Activations of a layer for each token and unit of width in 16 bits, without the matrices of attention, which fused
kernels do not keep (Korthikanti et al. 2022, equation 1: `s·b·h·(34 + 5·a·s/h)`)."""
CHECKPOINTED_BYTES = 2.0
"""The same where activations are computed again: the input of each layer alone."""
LOGIT_BYTES = 8.0
"""Logits and their gradients, for each token and vocabulary entry in 32 bits."""


class _Device(Struct, frozen=True):
    name: str
    gib: float
    source: Source | None


@rule("BUD004", severity="warning", pre=True, explains=("RUN006",))
def memory_estimate(
    parameters: Parameters,
    settings: Settings,
    batching: Batching | None,
    windows: Windows | None,
    failures: LoggedFailures | None,
    metrics: Metrics | None,
    *,
    max_share: float = 1.0,
    least_trained: int = 2,
) -> Iterator[Finding]:
    """Weights, gradients, optimizer and activations need more memory than the stated device has.

    ## What it checks
    A lower estimate against the device's memory:

    - parameters (output tied to the token table) × 16 bytes for Adam, in mixed precision too (8 for SGD, 12 with
      momentum, 10 for 8-bit Adam, 8 where the model itself is in 16 bits), over the devices where they are sharded;
    - layers × width × tokens of a micro-batch × 34 bytes of activations in 16 bits, twice that in 32 bits, 2 bytes with
      gradient checkpointing; the matrices of attention are left out, as fused kernels do;
    - tokens × vocabulary × 8 bytes of logits and their gradients.

    ## Why it matters
    It is known before the job waits two days in a queue.

    ## Inputs
    The dimensions of a language model, `batch_size`, `seq_len`, `optimizer`, `precision`, `gradient_checkpointing`; the
    device: a name in the settings (`gpu: NVIDIA A100-SXM4-40GB`), a resource of the batch system
    (`--gres=gpu:v100:4`), a stated memory (`gpu_memory_gb`), or the capacity that an out-of-memory error names.
    Skipped where no device is stated, and where the log shows that it trained, so that it fitted.

    ## Options
    - `max_share` (1.0): estimate / memory. The estimate is a lower one; fragmentation, buffers and the context take
      10 % and more besides.
    - `least_trained` (2): logged values of the train loss from which on the run is taken to have fitted.

    ## Fix
    Only shown: the largest micro-batch that fits, with accumulation in its place.

    ## When to ignore
    Offloading to the host, tensor or pipeline parallelism, and adapters on a frozen model.

    ## Source
    Rajbhandari et al. 2020, "ZeRO" (16 bytes a parameter); Korthikanti et al. 2022, "Reducing Activation Recomputation
    in Large Transformer Models" (activations).
    """
    device = _device(settings, failures)
    if device is None:
        raise NotApplicable("no setting names the device or its memory")
    trained = metrics.get("train/loss") if metrics is not None else None
    if trained is not None and len(trained) >= least_trained:
        raise NotApplicable("the run trained, so that it fitted")
    if parameters.kind != "Transformer":
        raise NotApplicable(f"no formula for the activations of a model of kind {parameters.kind}")
    for name in ("lora_r", "lora_rank", "load_in_4bit", "load_in_8bit", "peft_type", "cpu_offload", "offload_optimizer",
                 "tensor_parallel_size", "tensor_model_parallel_size", "pipeline_parallel_size"):  # fmt: skip
        if any(v.key == name and v.value not in (None, False, 0, 1, "", "none", "null") for v in settings):
            raise NotApplicable(f"no estimate for a run with {name}")
    each, how = _bytes_of_a_parameter(settings)
    shards = batching.devices if batching is not None and _sharded(settings) else 1.0
    model = parameters.count_tied * each / shards
    length = windows.seq_len.value if windows is not None else 0.0
    rows = batching.batch_size.value if batching is not None else 0.0
    tokens = rows if batching is not None and batching.unit == "tokens" else rows * length
    sizes = parameters.sizes
    wide = 1.0 if _halved(settings) else 2.0
    layer = CHECKPOINTED_BYTES if _checkpointed(settings) else LAYER_BYTES
    a_token = sizes["num_layers"] * sizes["d_model"] * layer * wide + LOGIT_BYTES * sizes["vocab_size"]
    total, memory = model + tokens * a_token, device.gib * GIB
    if total <= max_share * memory:
        return
    fits = int((max_share * memory - model) // (a_token * length)) if length and a_token else 0
    yield Finding(
        f"at least {total / GIB:,.1f} GiB are needed, {model / GIB:,.1f} for {parameters.count_tied / 1e6:,.4g} M "
        f"parameters with {how} and {tokens * a_token / GIB:,.1f} for a micro-batch of {tokens:,.0f} tokens, but "
        f"{device.name} has {device.gib:,.4g} GiB",
        at=device.source,
        evidence=(
            Evidence("memory needed", total / GIB, max_share * device.gib, unit="GiB"),
            Evidence("memory of the device", device.gib, at=device.source, unit="GiB"),
            Evidence("weights, gradients and optimizer", model / GIB, at=parameters.source, unit="GiB"),
            Evidence("activations and logits", tokens * a_token / GIB, unit="GiB"),
            Evidence("parameters, tied", parameters.count_tied, at=parameters.source),
            Evidence("bytes a parameter", each, unit="byte"),
            Evidence("devices that share them", shards),
            Evidence("tokens of a micro-batch", tokens, at=batching.batch_size.source if batching else None),
            Evidence("bytes a token", a_token, unit="byte"),
        ),
        fix=Fix.show(
            f"a micro-batch of {fits:,} sequences fits; accumulate gradients over the rest"
            if fits >= 1
            else "not one sequence fits: shard the optimizer, take a smaller model or a larger device"
        ),
    )


def _device(settings: Settings, failures: LoggedFailures | None) -> _Device | None:
    """The device: a stated memory goes before a name, and of several the largest counts."""
    found = []
    for value in settings:
        if _MEMORY_KEYS.fullmatch(value.key):
            amount = as_number(value.value)
            written = _AMOUNT.search(value.value) if isinstance(value.value, str) else None
            gib = float(written[1]) if written else amount
            # A number above that is in MB or bytes, or a share of the memory if it is below one.
            if gib is not None and 2 <= gib <= 1024:
                found.append(_Device(f"the device ({value.key})", gib, value.source))
        elif isinstance(value.value, str) and _ABOUT_DEVICE.search(value.key):
            gib = _by_name(value.value)
            if gib is not None:
                found.append(_Device(value.value, gib, value.source))
    for failure in failures or ():
        capacity = _CAPACITY.search(failure.message)
        if capacity is not None:
            amount, unit = float(capacity[1] or capacity[3]), capacity[2] or capacity[4]
            gib = amount if unit in "Gg" else amount / 1024
            found.append(_Device("the device", gib, failure.source))
    return max(found, key=lambda d: d.gib, default=None)


def _by_name(text: str) -> float | None:
    plain = text.lower().replace("-", " ").replace("_", " ")
    for pattern, gib in DEVICES:
        if lazily(rf"(?<![a-z0-9]){pattern}").search(plain):
            stated = _AMOUNT.search(plain)
            return float(stated[1]) if stated else gib
    return None


def _bytes_of_a_parameter(settings: Settings) -> tuple[float, str]:
    named = str(settings.get("optimizer") or "adamw").lower()
    if any(str(v.value).lower() in _PURE for v in settings if v.key in ("precision", "torch_dtype", "param_dtype")):
        return PURE_BYTES, "everything in 16 bits"
    for part, each in _BYTES.items():
        if part in named.replace("-", "").replace("_", ""):
            momentum = settings.get("momentum", float)
            return (12.0 if part == "sgd" and momentum else each), named
    return ADAM_BYTES, "Adam" if "adam" in named else named


_PURE = frozenset({"bf16-true", "16-true", "bfloat16", "float16", "half", "bf16", "pure_bf16", "torch.bfloat16"})


def _halved(settings: Settings) -> bool:
    """Whether activations are in 16 bits, as mixed precision keeps them; taken so where nothing says the reverse."""
    for value in settings:
        if value.key in ("precision", "mixed_precision", "dtype", "torch_dtype") and value.value is not None:
            return str(value.value).lower() not in ("32", "fp32", "float32", "32-true", "no", "full", "torch.float32")
    off = [v.value is False for v in settings if v.key in ("fp16", "bf16", "amp", "use_amp")]
    return not off or not all(off)


def _sharded(settings: Settings) -> bool:
    stage = next((v.value for v in settings if v.key in ("stage", "zero_stage", "zero_optimization")), None)
    return bool(as_number(stage)) or any(
        v.value not in (None, False, "", ()) for v in settings if v.key in ("fsdp", "use_fsdp", "fsdp_config")
    )


def _checkpointed(settings: Settings) -> bool:
    keys = ("gradient_checkpointing", "activation_checkpointing", "use_checkpoint", "grad_checkpointing", "recompute")
    return any(v.key in keys and v.value not in (None, False, 0, "false", "none") for v in settings)
