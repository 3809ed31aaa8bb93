#!/bin/bash
mkdir -p logs checkpoints
python train.py --config config.toml
