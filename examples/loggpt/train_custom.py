"""LogGPT-small: a language model of normal log sessions."""

import argparse
import json
import os

import torch
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from dataset import sessions, windows

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", default="data/openstack.csv")
parser.add_argument("--output_dir", default="model_weights")
parser.add_argument("--block_size", type=int, default=128)
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--learning_rate", type=float, default=5e-4)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--n_layer", type=int, default=4)
parser.add_argument("--n_embd", type=int, default=256)
parser.add_argument("--n_head", type=int, default=4)
args = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained("gpt2")
tokenizer.pad_token = tokenizer.eos_token
device = "cuda" if torch.cuda.is_available() else "cpu"

blocks = []
for text, label in sessions(args.data).values():
    if label == 0:
        blocks += windows(tokenizer(text)["input_ids"], args.block_size)


def collate(batch):
    padded = tokenizer.pad({"input_ids": batch}, return_tensors="pt")
    return padded["input_ids"], padded["attention_mask"]


loader = DataLoader(blocks, batch_size=args.batch_size, shuffle=True, collate_fn=collate)
config = GPT2Config(
    vocab_size=len(tokenizer),
    n_positions=args.block_size,
    n_layer=args.n_layer,
    n_embd=args.n_embd,
    n_head=args.n_head,
)
model = GPT2LMHeadModel(config).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)

with open("logs/train.jsonl", "w") as log:
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for ids, mask in loader:
            ids, mask = ids.to(device), mask.to(device)
            labels = ids.masked_fill(mask == 0, -100)
            loss = model(ids, attention_mask=mask, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        log.write(json.dumps({"epoch": epoch + 1, "train_loss": round(total / len(loader), 4)}) + "\n")

os.makedirs(args.output_dir, exist_ok=True)
model.save_pretrained(args.output_dir)
tokenizer.save_pretrained(args.output_dir)
