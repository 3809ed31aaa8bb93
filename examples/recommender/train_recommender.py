"""Recommends films for a conversation: a sentence encoder, optionally a GRU over mentioned films and a second task."""

import argparse
import json
import random

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.utils.data import DataLoader


class Recommender(nn.Module):
    """Scores every film for a dialogue; with `multi_task` also guesses the film that a user's tag belongs to."""

    def __init__(self, config):
        super().__init__()
        self.encoder = SentenceTransformer(config["encoder"])
        width = self.encoder.get_sentence_embedding_dimension()
        self.rnn = nn.GRU(256, 128, bidirectional=True, batch_first=True) if config["use_rnn"] else None
        self.films = nn.Embedding(config["num_classes"], 256)
        self.dropout = nn.Dropout(config["dropout"])
        self.scores = nn.Linear(width + (256 if config["use_rnn"] else 0), config["num_classes"])
        self.tags = nn.Linear(width, config["num_classes"]) if config["multi_task"] else None

    def forward(self, text, mentioned):
        hidden = self.encoder(text)["sentence_embedding"]
        features = hidden
        if self.rnn is not None:
            _, last = self.rnn(self.films(mentioned))
            features = torch.cat([hidden, last.transpose(0, 1).flatten(1)], dim=1)
        return self.scores(self.dropout(features)), hidden


class Trainer:
    """Trains the model and evaluates it after each epoch."""

    def __init__(self, model, config, device):
        self.model, self.config, self.device = model, config, device
        self.bce_loss = nn.BCEWithLogitsLoss()
        self.ce_loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"])

    def train_epoch(self, batches, tag_batches):
        self.model.train()
        sums = {"loss": 0.0, "bce_loss": 0.0, "ce_loss": 0.0}
        for step, batch in enumerate(batches):
            self.optimizer.zero_grad()
            scores, _ = self.model(batch["text"], batch["mentioned"])
            bce_loss = self.bce_loss(scores, batch["films"])
            loss = bce_loss
            if self.config["multi_task"]:
                tags = tag_batches[step % len(tag_batches)]
                _, hidden = self.model(tags["text"], tags["mentioned"])
                ce_loss = self.ce_loss(self.model.tags(hidden), tags["film"])
                loss = bce_loss + ce_loss
                sums["ce_loss"] += ce_loss.item()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config["clip_norm"])
            self.optimizer.step()
            sums["loss"] += loss.item()
            sums["bce_loss"] += bce_loss.item()
        return {name: value / len(batches) for name, value in sums.items()}

    @torch.no_grad()
    def evaluate(self, batches):
        self.model.eval()
        total, gains, recalls = 0.0, [], []
        for batch in batches:
            scores, _ = self.model(batch["text"], batch["mentioned"])
            total += self.bce_loss(scores, batch["films"]).item()
            top = scores.topk(10, dim=1).indices.cpu().numpy()
            for ranked, wanted in zip(top, batch["films"].cpu().numpy()):
                hits = wanted[ranked] > 0
                ideal = sum(1 / np.log2(r + 2) for r in range(min(10, int(wanted.sum()))))
                gains.append(sum(1 / np.log2(r + 2) for r in np.flatnonzero(hits)) / ideal)
                recalls.append(hits.sum() / wanted.sum())
        return {"loss": total / len(batches), "ndcg@10": np.mean(gains), "recall@10": np.mean(recalls)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--log", default="log.jsonl")
    parser.add_argument("--data", default="data/redial.pt")
    args = parser.parse_args()
    with open(args.config) as file:
        config = json.load(file)
    random.seed(config["seed"])
    np.random.seed(config["seed"])
    torch.manual_seed(config["seed"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = torch.load(args.data, weights_only=True)
    train = DataLoader(data["train"], batch_size=config["batch_size"], shuffle=True)
    test = DataLoader(data["test"], batch_size=config["batch_size"])
    tags = list(DataLoader(data["tags"], batch_size=config["batch_size"], shuffle=True))
    trainer = Trainer(Recommender(config).to(device), config, device)
    with open(args.log, "w") as log:
        for epoch in range(1, config["epochs"] + 1):
            row = {"epoch": epoch}
            row |= {f"train_{name}": value for name, value in trainer.train_epoch(train, tags).items()}
            row |= {f"eval_{name}": float(value) for name, value in trainer.evaluate(test).items()}
            log.write(json.dumps(row | {"learning_rate": config["learning_rate"]}) + "\n")


if __name__ == "__main__":
    main()
