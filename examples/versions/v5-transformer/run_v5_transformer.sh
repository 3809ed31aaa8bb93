#!/usr/bin/env bash
# v5: decoder-only Transformer on BrWaC, with the cleaning and the 4k subword tokenizer of v4.
# Run from anywhere; logs, model and samples land beside this script.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p logs models samples

# one GPU, a little over three hours
python llm_transformer_v5.py \
  --corpus ../../data/brwac_20k.txt \
  --tokenizer ../../data/brwac_4k_bf.model \
  --seq_len 320 \
  --stride 2 \
  --batch_size 192 \
  --max_docs 20000 \
  --vocab_size 4000 \
  --d_model 384 \
  --num_layers 6 \
  --num_heads 6 \
  --d_ff 1536 \
  --dropout 0.1 \
  --learning_rate 3e-4 \
  --warmup_steps 2000 \
  --total_steps 10000 \
  --steps_per_epoch 41653 \
  --epochs 2 \
  --weight_decay 0.1 \
  --seed 42 \
  --log_json logs/train_v5.json \
  --model_out models/model_v5.keras
