#!/bin/bash
mkdir -p logs
python train_custom.py --block_size 128 --batch_size 32 --learning_rate 5e-4 --epochs 10
python detect_custom.py
