"""v5: a small decoder-only Transformer for Brazilian Portuguese, on the subwords of v4."""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import sentencepiece as spm
import tensorflow as tf
from tensorflow.keras import layers


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default="data/brwac_20k.txt", help="one document per line")
    parser.add_argument("--tokenizer", default="data/brwac_4k_bf.model", help="SentencePiece model with byte fallback")
    parser.add_argument("--max_docs", type=int, default=20000, help="documents read from the corpus")
    parser.add_argument("--val_share", type=float, default=0.05, help="share of the documents kept for validation")
    parser.add_argument("--vocab_size", type=int, default=4000, help="subwords in the tokenizer")
    parser.add_argument("--seq_len", type=int, default=256, help="tokens in a window")
    parser.add_argument("--stride", type=int, default=2, help="tokens between the starts of two windows")
    parser.add_argument("--batch_size", type=int, default=192)
    parser.add_argument("--d_model", type=int, default=384, help="width of the residual stream")
    parser.add_argument("--num_layers", type=int, default=6)
    parser.add_argument("--num_heads", type=int, default=6)
    parser.add_argument("--d_ff", type=int, default=1536, help="hidden width of the feed-forward part")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps_per_epoch", type=int, default=41653)
    parser.add_argument("--learning_rate", type=float, default=3e-4, help="peak, reached after the warm-up")
    parser.add_argument("--warmup_steps", type=int, default=2000)
    parser.add_argument("--total_steps", type=int, default=0, help="of the schedule; 0: epochs x steps_per_epoch")
    parser.add_argument("--weight_decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--log_json", default="logs/train_v5.json")
    parser.add_argument("--model_out", default="models/model_v5.keras")
    return parser


def model_config():
    """The architecture, so that evaluation scripts rebuild the same model without the launch script."""
    return build_parser().parse_args([])


class WarmupCosine(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to the peak, then a cosine down to zero at the last step."""

    def __init__(self, peak, warmup_steps, total_steps):
        self.peak, self.warmup_steps, self.total_steps = peak, warmup_steps, total_steps

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warm = self.peak * (step + 1.0) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        cosine = self.peak * 0.5 * (1.0 + tf.cos(math.pi * tf.minimum(done, 1.0)))
        return tf.where(step < self.warmup_steps, warm, cosine)

    def get_config(self):
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "total_steps": self.total_steps}


class Positions(layers.Layer):
    """Adds a learned vector per position."""

    def __init__(self, embedding, **kwargs):
        super().__init__(**kwargs)
        self.embedding = embedding

    def call(self, x):
        return x + self.embedding(tf.range(tf.shape(x)[1]))


class TiedLogits(layers.Layer):
    """Scores every subword with the transpose of the token table."""

    def __init__(self, embedding, **kwargs):
        super().__init__(**kwargs)
        self.embedding = embedding

    def call(self, x):
        return tf.matmul(x, self.embedding.embeddings, transpose_b=True)


def transformer_block(x, config, index):
    h = layers.LayerNormalization(epsilon=1e-5, name=f"ln_attention_{index}")(x)
    h = layers.MultiHeadAttention(
        config.num_heads, config.d_model // config.num_heads, dropout=config.dropout, name=f"attention_{index}"
    )(h, h, use_causal_mask=True)
    x = x + layers.Dropout(config.dropout)(h)
    h = layers.LayerNormalization(epsilon=1e-5, name=f"ln_ff_{index}")(x)
    h = layers.Dense(config.d_ff, activation="gelu", name=f"ff_in_{index}")(h)
    h = layers.Dense(config.d_model, name=f"ff_out_{index}")(h)
    return x + layers.Dropout(config.dropout)(h)


def build_model(config):
    tokens = layers.Input((None,), dtype="int32", name="tokens")
    token_embedding = layers.Embedding(config.vocab_size, config.d_model, name="token_embedding")
    position_embedding = layers.Embedding(config.seq_len, config.d_model, name="position_embedding")
    x = Positions(position_embedding)(token_embedding(tokens))
    x = layers.Dropout(config.dropout)(x)
    for index in range(config.num_layers):
        x = transformer_block(x, config, index)
    x = layers.LayerNormalization(epsilon=1e-5, name="ln_out")(x)
    return tf.keras.Model(tokens, TiedLogits(token_embedding, name="logits")(x))


def read_tokens(args):
    """Token ids of the training and of the validation documents, split by document."""
    processor = spm.SentencePieceProcessor(model_file=args.tokenizer)
    with open(args.corpus, encoding="utf-8") as lines:
        documents = [processor.encode(line) for _, line in zip(range(args.max_docs), lines)]
    held_out = int(len(documents) * args.val_share)
    return np.concatenate(documents[held_out:]), np.concatenate(documents[:held_out])


def windows(ids, args, training):
    """Batches of (input, target): windows of seq_len tokens, the target one token further."""
    data = tf.data.Dataset.from_tensor_slices(ids.astype("int32"))
    data = data.window(args.seq_len + 1, shift=args.stride if training else args.seq_len, drop_remainder=True)
    data = data.flat_map(lambda window: window.batch(args.seq_len + 1))
    if training:
        data = data.shuffle(50_000, seed=args.seed).repeat()
    data = data.map(lambda window: (window[:-1], window[1:]), num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(args.batch_size, drop_remainder=training).prefetch(tf.data.AUTOTUNE)


def main():
    args = build_parser().parse_args()
    tf.keras.utils.set_random_seed(args.seed)
    train_ids, val_ids = read_tokens(args)

    model = build_model(model_config())
    total_steps = args.total_steps or args.epochs * args.steps_per_epoch
    schedule = WarmupCosine(args.learning_rate, args.warmup_steps, total_steps)
    model.compile(
        optimizer=tf.keras.optimizers.AdamW(schedule, weight_decay=args.weight_decay, beta_2=0.95),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.summary()

    started = time.time()
    history = model.fit(
        windows(train_ids, args, training=True),
        validation_data=windows(val_ids, args, training=False),
        steps_per_epoch=args.steps_per_epoch,
        epochs=args.epochs,
    )
    model.save(args.model_out)
    record = {
        "model": "llm_transformer_v5",
        "max_docs": args.max_docs,
        "elapsed_seconds": round(time.time() - started),
        "history": {"epoch": [e + 1 for e in history.epoch], **history.history},
    }
    Path(args.log_json).write_text(json.dumps(record, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
