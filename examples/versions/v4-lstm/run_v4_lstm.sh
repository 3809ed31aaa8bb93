#!/usr/bin/env bash
# v4: stacked LSTM on BrWaC, the first version on subwords (4k with byte fallback).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p logs models samples

python train_lstm_v4.py \
  --corpus ../../data/brwac_20k.txt \
  --tokenizer ../../data/brwac_4k_bf.model \
  --max_docs 20000 \
  --vocab_size 4000 \
  --seq_len 192 \
  --stride 2 \
  --batch_size 192 \
  --embedding_dim 512 \
  --units 512 \
  --num_layers 2 \
  --dropout 0.1 \
  --epochs 2 \
  --steps_per_epoch 31523 \
  --total_steps 63046 \
  --clipnorm 1.0 \
  --patience 1 \
  --seed 42 \
  --log_json logs/train_v4.json \
  --model_out models/model_v4.keras
