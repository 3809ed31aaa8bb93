"""Calls a session anomalous when one of its log lines is less likely than a threshold allows."""

import csv
import json

import torch
from sklearn.metrics import f1_score, precision_score, recall_score
from transformers import AutoTokenizer, GPT2LMHeadModel

from dataset import sessions

THRESHOLD = 5.0  # Determined from findings

tokenizer = AutoTokenizer.from_pretrained("model_weights")
tokenizer.pad_token = tokenizer.eos_token
tokenizer.padding_side = "right"
model = GPT2LMHeadModel.from_pretrained("model_weights").eval()
test = sessions("data/openstack_test.csv")


@torch.no_grad()
def max_loss(text):
    """The loss of the least likely line, each predicted from those before it."""
    lines = text.split("\n")
    worst = 0.0
    for number in range(1, len(lines)):
        context = tokenizer("\n".join(lines[:number]), truncation=True, max_length=128, padding="max_length", return_tensors="pt")
        target = tokenizer(lines[number], return_tensors="pt")["input_ids"][0]
        logits = model(context["input_ids"]).logits
        last = logits[:, -1, :]
        worst = max(worst, torch.nn.functional.cross_entropy(last, target[:1]).item())
    return worst


with open("detections.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["session_id", "anomalous", "max_loss"])
    scores = {key: max_loss(text) for key, (text, _) in test.items()}
    for key, score in scores.items():
        table.writerow([key, test[key][1], f"{score:.2f}"])

truth = [label for _, label in test.values()]
found = [int(score > THRESHOLD) for score in scores.values()]
with open("results.json", "w") as file:
    json.dump(
        {
            "precision": precision_score(truth, found),
            "recall": recall_score(truth, found),
            "f1": f1_score(truth, found),
        },
        file,
        indent=2,
    )
