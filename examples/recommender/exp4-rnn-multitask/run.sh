#!/bin/bash
# 20 epochs on one GPU, about an hour
python ../train_recommender.py --config config.json --log log.jsonl
