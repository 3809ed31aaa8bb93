"""One table of settings: what frameworks' files, flags, variables, shapes and tokenizers say, by one name each."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from mldiag.artifacts import Role
from mldiag.assembly import read_run
from mldiag.engine import apply_rules
from mldiag.files import Folder
from mldiag.findings import Finding
from mldiag.plugins import Plugins, load
from mldiag.run import Run
from mldiag.testing import write_files


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load()


def read(tmp_path: Path, plugins: Plugins, files: Mapping[str, str | bytes]) -> Run:
    write_files(tmp_path, {path: text for path, text in files.items() if isinstance(text, str)})
    for path, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
    return read_run(Folder(tmp_path, tuple(files)), "run", plugins)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """A safetensors file of zeros."""
    header: dict[str, object] = {}
    at = 0
    for name, shape in shapes.items():
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def tokenizer(tokens: int, added: int = 0) -> str:
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [{"id": tokens + i, "content": f"<x{i}>", "special": True} for i in range(added)],
            "model": {"type": "BPE", "vocab": {f"t{i}": i for i in range(tokens)}, "merges": []},
        }
    )


FRAMEWORKS: dict[str, tuple[Mapping[str, str], Mapping[str, object]]] = {
    "DeepSpeed under Hugging Face's arguments, which fill in what is auto": (
        {
            "run.sh": "deepspeed --num_gpus 4 run_clm.py --deepspeed ds.json --per_device_train_batch_size 8 "
            "--gradient_accumulation_steps 2 --learning_rate 5e-5\n",
            "ds.json": '{"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto", '
            '"optimizer": {"type": "AdamW", "params": {"lr": "auto", "weight_decay": 0.1}}, '
            '"zero_optimization": {"stage": 3}, "gradient_clipping": "auto"}',
        },
        {"batch_size": 8, "grad_accum": 2, "lr": 5e-5, "weight_decay": 0.1, "devices": 4, "clip_norm": None},
    ),
    "accelerate's launcher goes before its file": (
        {
            "run.sh": "accelerate launch --config_file acc.yaml --num_processes 2 train.py --lr 1e-4\n",
            "acc.yaml": "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 8\n"
            "deepspeed_config:\n  gradient_accumulation_steps: auto\n",
        },
        {"devices": 2, "lr": 1e-4, "grad_accum": None},
    ),
    "axolotl": (
        {
            "run.sh": "axolotl train config.yml\n",
            "config.yml": "base_model: a/b\nsequence_len: 2048\nmicro_batch_size: 2\ngradient_accumulation_steps: 4\n"
            "num_epochs: 3\nlearning_rate: 0.0002\nlr_scheduler: cosine\nwarmup_steps: 10\n",
        },
        {"seq_len": 2048, "batch_size": 2, "grad_accum": 4, "epochs": 3, "lr": 0.0002, "warmup_steps": 10},
    ),
    "LLaMA-Factory": (
        {
            "run.sh": "llamafactory-cli train lora.yaml\n",
            "lora.yaml": "cutoff_len: 1024\nper_device_train_batch_size: 1\ngradient_accumulation_steps: 8\n"
            "learning_rate: 1.0e-4\nnum_train_epochs: 3.0\nwarmup_ratio: 0.1\n",
        },
        {"seq_len": 1024, "batch_size": 1, "grad_accum": 8, "lr": 1e-4, "warmup_ratio": 0.1},
    ),
    "flags of Hugging Face go before its file": (
        {
            "run.sh": "python run_clm.py config.yaml --learning_rate 3e-5\n",
            "config.yaml": "learning_rate: 1.0e-4\nmax_grad_norm: 0.5\nblock_size: 512\n",
        },
        {"lr": 3e-5, "clip_norm": 0.5, "seq_len": 512},
    ),
    "overrides of Hydra go before the file": (
        {
            "run.sh": "python train.py optimizer.lr=0.01 trainer.max_epochs=3\n",
            "conf/config.yaml": "optimizer:\n  lr: 0.1\ntrainer:\n  max_epochs: 10\nmodel:\n"
            "  max_position_embeddings: 128\n",
        },
        {"lr": 0.01, "epochs": 3, "max_positions": 128},
    ),
    "Megatron's flags under torchrun on several nodes": (
        {
            "run.sh": "torchrun --nproc_per_node 8 --nnodes 2 pretrain_gpt.py --micro-batch-size 4 --seq-length 2048 "
            "--global-batch-size 512 --train-iters 1000 --lr-warmup-iters 100 --max-position-embeddings 2048\n",
        },
        {
            "devices": 16, "batch_size": 4, "seq_len": 2048, "global_batch_size": 512, "total_steps": 1000,
            "warmup_steps": 100, "max_positions": 2048,
        },
    ),
    "variables that the script sets and the source reads, before the source's own defaults": (
        {
            "run.sh": "export SEQ_LEN=512\nLR=0.002 SECRET_PATH=/x WORLD_SIZE=4 python train.py\n",
            "train.py": "import os\nseq_len = int(os.environ['SEQ_LEN'])\nlr = float(os.getenv('LR', '1e-3'))\n"
            "epochs = int(os.environ.get('EPOCHS', 7))\nworld = int(os.environ.get('WORLD_SIZE', 1))\n",
        },
        {"seq_len": 512, "lr": 0.002, "epochs": 7, "devices": None},
    ),
    "a variable that no source reads says nothing": (
        {"run.sh": "LR=0.002 python train.py --epochs 3\n", "train.py": "print('LR')\n"},
        {"lr": None, "epochs": 3},
    ),
    "Hugging Face's own account of the batch": (
        {
            "train.log": "***** Running training *****\n  Num examples = 3,668\n  Num Epochs = 3\n"
            "  Instantaneous batch size per device = 8\n"
            "  Total train batch size (w. parallel, distributed & accumulation) = 64\n"
            "  Gradient Accumulation steps = 8\n  Total optimization steps = 171\n"
            + "".join(f"{{'loss': {3 - i / 10}, 'epoch': {i / 10}}}\n" for i in range(1, 6)),
        },
        {"batch_size": 8, "global_batch_size": 64, "grad_accum": 8},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_each_framework_says_its_settings_by_one_name(tmp_path: Path, plugins: Plugins, name: str) -> None:
    files, expected = FRAMEWORKS[name]
    settings = read(tmp_path, plugins, files).settings
    assert {n: settings.get(n) for n in expected} == dict(expected)


def test_a_variable_can_be_edited_where_it_is_exported(tmp_path: Path, plugins: Plugins) -> None:
    files = {
        "run.sh": "export LR=0.002\npython train.py\n",
        "train.py": "import os\nlr = float(os.getenv('LR', '1'))\n",
    }
    found = read(tmp_path, plugins, files).settings.effective("lr")
    assert found is not None
    assert (found.role, found.source.line, found.source.text, found.syntax) == (Role.FLAG, 1, "0.002", "shell")


GPT = {
    "transformer.wte.weight": (60, 4),
    "transformer.wpe.weight": (32, 4),
    "transformer.h.0.ln_1.weight": (4,),
    "transformer.h.0.attn.c_attn.weight": (4, 12),
    "transformer.h.1.ln_1.weight": (4,),
    "transformer.h.1.attn.c_attn.weight": (4, 12),
    "lm_head.weight": (60, 4),
}
SHAPES: dict[str, tuple[str, Mapping[str, tuple[int, ...]], dict[str, set[int]]]] = {
    "GPT-2 and nanoGPT": (
        "model.safetensors",
        GPT,
        {"vocab_size": {60}, "max_positions": {32}, "num_layers": {2}, "d_model": {4}},
    ),
    "compiled and wrapped": (
        "model.safetensors",
        {f"_orig_mod.module.{name}": shape for name, shape in GPT.items()},
        {"vocab_size": {60}, "max_positions": {32}, "num_layers": {2}, "d_model": {4}},
    ),
    "LLaMA, whose positions have no table": (
        "model.safetensors",
        {
            "model.embed_tokens.weight": (64, 8),
            "model.layers.0.self_attn.q_proj.weight": (8, 8),
            "model.layers.0.input_layernorm.weight": (8,),
            "lm_head.weight": (64, 8),
        },
        {"vocab_size": {64}, "max_positions": set(), "num_layers": {1}, "d_model": {8}},
    ),
    "ALBERT's narrow table says nothing of the width": (
        "model.safetensors",
        {
            "albert.embeddings.word_embeddings.weight": (60, 4),
            "albert.embeddings.LayerNorm.weight": (4,),
            "albert.encoder.layer.0.attention.query.weight": (16, 16),
            "albert.encoder.layer.0.attention.LayerNorm.weight": (16,),
        },
        {"vocab_size": {60}, "d_model": set(), "num_layers": {1}},
    ),
    "a classifier's head is no output of tokens": (
        "model.safetensors",
        {"bert.embeddings.word_embeddings.weight": (60, 4), "classifier.weight": (3, 4), "head.weight": (3, 4)},
        {"vocab_size": {60}},
    ),
    "a plain embedding with an output of its rows": (
        "model.safetensors",
        {"embedding.weight": (30, 8), "lstm.weight_ih_l0": (32, 8), "fc.weight": (30, 8)},
        {"vocab_size": {30}, "num_layers": set()},
    ),
    "a plain embedding alone may be of anything": (
        "model.safetensors",
        {"embedding.weight": (30, 8), "fc.weight": (5, 8)},
        {"vocab_size": set()},
    ),
    "blocks without attention are no Transformer's": (
        "model.safetensors",
        {"layers.0.weight": (8, 8), "layers.1.weight": (8, 8)},
        {"num_layers": set()},
    ),
    "an encoder and a decoder have no one depth": (
        "model.safetensors",
        {
            "shared.weight": (60, 8),
            "encoder.layers.0.self_attn.q_proj.weight": (8, 8),
            "decoder.layers.0.self_attn.q_proj.weight": (8, 8),
        },
        {"vocab_size": {60}, "num_layers": set()},
    ),
    "an adapter": (
        "adapter_model.safetensors",
        {"base_model.model.wte.lora_A.weight": (60, 4), "wte.weight": (60, 4)},
        {"vocab_size": set()},
    ),
    "a process's part of a model": ("mp_rank_00/model.safetensors", GPT, {"vocab_size": set(), "num_layers": set()}),
    "a shard without its index": ("model-00001-of-00002.safetensors", GPT, {"vocab_size": set()}),
    "a table of images and one of texts": (
        "model.safetensors",
        {"text.pos_embed": (1, 77, 8), "trunk.pos_embed": (1, 197, 8)},
        {"max_positions": set()},
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_prove_sizes_and_nothing_that_they_do_not(tmp_path: Path, plugins: Plugins, name: str) -> None:
    path, shapes, expected = SHAPES[name]
    settings = read(tmp_path, plugins, {path: weights(shapes)}).settings
    found = {n: {v.value for v in settings.all(n, Role.CHECKPOINT)} for n in expected}
    assert found == expected


def test_two_rows_for_padding_are_no_other_number_of_positions(tmp_path: Path, plugins: Plugins) -> None:
    files: dict[str, str | bytes] = {
        "config.json": '{"model_type": "bart", "max_position_embeddings": 32, "vocab_size": 60, "d_model": 4}',
        "model.safetensors": weights({"shared.weight": (60, 4), "encoder.embed_positions.weight": (34, 4)}),
        "run.sh": "python train.py --seq_len 40\n",
    }
    found = findings(read(tmp_path, plugins, files), plugins, "CFG001", "CFG002")
    assert [f.code for f in found] == ["CFG002"]
    assert "32 positions" in found[0].message


def findings(run: Run, plugins: Plugins, *codes: str) -> list[Finding]:
    report = apply_rules(run, [plugins.rules[c] for c in codes])
    assert not report.failed
    return list(report.findings)


PUBLISHED = {
    "GPT-2, padded by nanoGPT": (50257, 0, 50304),
    "BERT cased": (28996, 0, 28996),
    "T5": (32000, 100, 32128),
    "OPT": (50265, 0, 50272),
    "GPT-J": (50257, 0, 50400),
    "GPT-NeoX": (50254, 23, 50432),
    "Qwen2": (151643, 22, 151936),
    "Phi": (50257, 38, 51200),
    "DeepSeek": (100000, 15, 102400),
    "DeBERTa-v3": (128000, 1, 128100),
}
"""Tokens, added tokens, and the rows of the model's table, by the models' published configurations."""


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("stored", [True, False])
def test_published_models_are_quiet(tmp_path: Path, plugins: Plugins, name: str, stored: bool) -> None:
    tokens, added, rows = PUBLISHED[name]
    files: dict[str, str | bytes] = {
        "config.json": json.dumps({"model_type": "x", "vocab_size": rows, "hidden_size": 1}),
        "tokenizer.json": tokenizer(tokens, added),
    }
    if stored:
        files["model.safetensors"] = weights({"model.embed_tokens.weight": (rows, 1)})
    assert not findings(read(tmp_path, plugins, files), plugins, "CFG005")


@pytest.mark.parametrize("multiple", [8, 64, 128, 256])
@pytest.mark.parametrize("tokens", [100, 321, 1000])
def test_padding_is_quiet_and_one_token_too_many_is_found(
    tmp_path: Path, plugins: Plugins, multiple: int, tokens: int
) -> None:
    rows = -(-tokens // multiple) * multiple
    model = {"model.safetensors": weights({"wte.weight": (rows, 1)})}
    assert not findings(read(tmp_path, plugins, {**model, "tokenizer.json": tokenizer(tokens)}), plugins, "CFG005")
    (found,) = findings(
        read(tmp_path, plugins, {**model, "tokenizer.json": tokenizer(tokens, rows - tokens + 1)}), plugins, "CFG005"
    )
    assert {e.label: e.value for e in found.evidence}["ids without a row"] == 1
