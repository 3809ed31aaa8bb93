"""v4: a stacked LSTM for Brazilian Portuguese on subwords, the baseline that v5 is held against."""

import argparse
import json
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
    parser.add_argument("--seq_len", type=int, default=192, help="tokens in a window")
    parser.add_argument("--stride", type=int, default=2, help="tokens between the starts of two windows")
    parser.add_argument("--batch_size", type=int, default=192)
    parser.add_argument("--embedding_dim", type=int, default=512)
    parser.add_argument("--units", type=int, default=512, help="width of each LSTM layer")
    parser.add_argument("--num_layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps_per_epoch", type=int, default=31523)
    parser.add_argument("--total_steps", type=int, default=0, help="steps of the run; 0: epochs x steps_per_epoch")
    parser.add_argument("--clipnorm", type=float, default=1.0, help="limit of each gradient's norm")
    parser.add_argument("--patience", type=int, default=1, help="epochs without a better validation loss")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--log_json", default="logs/train_v4.json")
    parser.add_argument("--model_out", default="models/model_v4.keras")
    return parser


def build_model(args):
    tokens = layers.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(args.vocab_size, args.embedding_dim, name="token_embedding")(tokens)
    for index in range(args.num_layers):
        x = layers.LSTM(args.units, return_sequences=True, name=f"lstm_{index}")(x)
        x = layers.Dropout(args.dropout)(x)
    return tf.keras.Model(tokens, layers.Dense(args.vocab_size, name="logits")(x))


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
    total_steps = args.total_steps or args.epochs * args.steps_per_epoch

    model = build_model(args)
    model.compile(
        optimizer=tf.keras.optimizers.AdamW(clipnorm=args.clipnorm),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.summary()

    started = time.time()
    history = model.fit(
        windows(train_ids, args, training=True),
        validation_data=windows(val_ids, args, training=False),
        steps_per_epoch=total_steps // args.epochs,
        epochs=args.epochs,
        callbacks=[
            tf.keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=args.patience, restore_best_weights=True
            ),
            tf.keras.callbacks.ModelCheckpoint(args.model_out, monitor="val_loss", save_best_only=True),
        ],
    )
    record = {
        "model": "train_lstm_v4",
        "max_docs": args.max_docs,
        "elapsed_seconds": round(time.time() - started),
        "history": {"epoch": [e + 1 for e in history.epoch], **history.history},
    }
    Path(args.log_json).write_text(json.dumps(record, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
