"""Trains RWKV on a token file: accumulation, warm-up and cosine, checkpoints with their step and rate."""

import argparse
import json
import math
import random
import tomllib

import numpy as np
import torch
from torch.nn import functional as F

from dataset import MmapDataset
from model import RWKV


def learning_rate(step, config):
    """Linear to the peak, then a cosine down to `min_lr`."""
    if step < config["warmup_steps"]:
        return config["learning_rate"] * (step + 1) / config["warmup_steps"]
    share = (step - config["warmup_steps"]) / max(1, config["max_steps"] - config["warmup_steps"])
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
    return config["min_lr"] + (config["learning_rate"] - config["min_lr"]) * cosine


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="config.toml")
    parser.add_argument("--log", default="logs/train.jsonl")
    args = parser.parse_args()
    with open(args.config, "rb") as file:
        settings = tomllib.load(file)
    config = settings["train"]
    random.seed(config["seed"])
    np.random.seed(config["seed"])
    torch.manual_seed(config["seed"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = RWKV(**settings["model"]).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"], weight_decay=config["weight_decay"])
    data = MmapDataset(config["data"], settings["model"]["seq_len"])
    accumulation = config["gradient_accumulation_steps"]
    batch = 0
    with open(args.log, "w") as log:
        for step in range(config["max_steps"]):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            optimizer.zero_grad()
            total = 0.0
            for _ in range(accumulation):
                inputs, targets = (torch.from_numpy(x).to(device) for x in data.get_batch(batch, config["batch_size"]))
                batch += 1
                logits = model(inputs)
                loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / accumulation
                if not torch.isfinite(loss):
                    raise SystemExit(f"the loss is {loss.item()} at step {step}")
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config["grad_clip"])
            optimizer.step()
            if (step + 1) % 100 == 0:
                row = {"step": step + 1, "loss": round(total, 4), "lr": learning_rate(step, config)}
                log.write(json.dumps(row) + "\n")
            if (step + 1) % 1000 == 0:
                torch.save(model.state_dict(), f"checkpoints/step_{step + 1}.pt")
                with open(f"checkpoints/step_{step + 1}.meta", "w") as meta:
                    json.dump({"step": step + 1, "learning_rate": learning_rate(step, config)}, meta)


if __name__ == "__main__":
    main()
