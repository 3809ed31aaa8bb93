"""The words that names of series and settings are made of, as found in logs, and what each stands for.

Tables only; how a name is taken apart is in `vocabulary.py`. Words are compared in lower case, without accents, with
dashes, dots, slashes and spaces as underscores.
"""

from __future__ import annotations

from collections.abc import Mapping

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "seq_len": (
        "seq_length", "sequence_length", "max_seq_len", "max_seq_length", "max_sequence_length", "block_size",
        "context_length", "context_len", "ctx_len", "seqlen", "maxlen", "max_len", "cutoff_len", "sequence_len",
        "tokens_per_sample", "bptt", "train_seq_len", "encoder_seq_length",
    ),
    "max_positions": (
        "max_position_embeddings", "n_positions", "n_ctx", "num_positions", "position_embeddings", "max_pos",
        "max_source_positions", "max_position",
    ),
    "stride": ("window_stride", "seq_stride", "sliding_stride", "step_size_tokens", "hop"),
    "batch_size": (
        "bs", "train_batch_size", "per_device_train_batch_size", "per_gpu_train_batch_size", "micro_batch_size",
        "device_batch_size", "batchsize", "minibatch_size", "mini_batch_size", "train_micro_batch_size_per_gpu",
        "batch", "ims_per_batch", "tamanho_lote", "local_batch_size", "device_train_microbatch_size", "samples_per_gpu",
        "per_device_batch_size", "batch_size_per_gpu",
    ),
    "global_batch_size": (
        "global_train_batch_size", "total_batch_size", "effective_batch_size", "total_train_batch_size",
        "effective_train_batch_size", "total_desired_batch_size",
    ),
    "tokens_per_step": ("tokens_per_iteration", "tokens_per_iter", "batch_size_tokens", "tokens_per_batch"),
    "grad_accum": (
        "gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum_steps", "accumulation_steps",
        "gradient_accumulation", "update_freq", "grad_accumulation_steps", "accum_steps",
        "gradient_accumulation_iters", "grad_accumulation", "grad_acc", "grad_acc_steps", "acc_steps", "accum",
        "accumulate_steps", "accumulation", "iters_to_accumulate", "grad_accumulate_steps", "accumulate",
    ),
    "devices": ("num_gpus", "n_gpu", "ngpu", "num_devices", "world_size", "nproc_per_node", "num_processes"),
    "lr": ("learning_rate", "base_lr", "lr0", "max_lr", "peak_lr", "init_lr", "initial_lr", "learningrate"),
    "min_lr": ("lr_min", "final_lr", "end_lr", "eta_min", "learning_rate_min", "end_learning_rate"),
    "lr_schedule": (
        "lr_scheduler_type", "scheduler", "lr_scheduler", "lr_decay_style", "schedule", "lr_scheduler_name",
    ),
    "lr_decay_steps": ("lr_decay_iters", "decay_steps", "lr_decay_steps", "max_lr_steps", "t_max", "cosine_steps",
                       "total_num_update"),
    "warmup_steps": (
        "warmup", "warmup_iters", "num_warmup_steps", "lr_warmup_steps", "warmup_updates", "lr_warmup_iters",
        "n_warmup_steps", "warmup_num_steps", "burn_in",
    ),
    "warmup_ratio": ("warmup_fraction", "lr_warmup_fraction", "warmup_proportion", "pct_start"),
    "total_steps": (
        "max_steps", "max_iters", "num_train_steps", "num_steps", "total_iters", "train_iters", "max_updates",
        "max_update", "num_training_steps", "training_steps", "train_steps", "total_iterations", "num_iterations",
        "max_iterations", "max_iter", "n_steps", "max_train_steps", "max_batches", "iteration_count",
        "total_num_steps",
    ),
    "steps_per_epoch": ("batches_per_epoch", "iters_per_epoch", "steps_epoch", "num_batches_per_epoch"),
    "epochs": (
        "num_epochs", "num_train_epochs", "max_epochs", "n_epochs", "nb_epochs", "total_epochs", "max_epoch",
        "epoch_num", "train_epochs", "max_num_epochs", "max_train_epochs", "nepochs", "nepoch", "n_epoch",
    ),
    "weight_decay": ("wd", "l2", "decay", "adamw_weight_decay"),
    "clip_norm": (
        "clip", "grad_clip", "gradient_clip", "max_grad_norm", "clipnorm", "gradient_clip_val", "clip_grad",
        "clip_grad_norm", "global_clipnorm", "gradient_clipping", "grad_clip_norm", "clipvalue", "clip_value",
        "training_max_norm",
    ),
    "label_smoothing": (
        "label_smoothing_factor", "smoothing", "label_smooth", "ls", "label_smoothing_eps", "label_smoothing_epsilon",
        "label_smooth_eps", "label_smooth_val",
    ),
    "dropout": ("dropout_rate", "drop", "resid_pdrop", "hidden_dropout_prob", "dropout_p", "hidden_dropout"),
    "d_model": (
        "n_embd", "hidden_size", "embed_dim", "embedding_dim", "model_dim", "dim", "d_embed", "n_embed", "emb_dim",
        "embed_size", "embedding_size",
    ),
    "num_layers": ("n_layer", "n_layers", "num_hidden_layers", "layers", "depth", "nlayers", "num_blocks"),
    "num_heads": ("n_head", "n_heads", "num_attention_heads", "heads", "nhead", "nheads", "attention_heads"),
    "d_ff": (
        "dff", "ffn_dim", "intermediate_size", "n_inner", "ff_dim", "dim_feedforward", "ffn_hidden_size", "d_inner",
        "mlp_dim", "hidden_ff", "feedforward_dim",
    ),
    "rotary_dim": ("rope_dim", "rotary_ndims", "n_rot"),
    "rnn_units": ("lstm_units", "gru_units", "rnn_hidden", "lstm_size", "hidden_units", "rnn_size"),
    "cell": ("rnn_type", "cell_type", "rnn_cell"),
    "vocab_size": ("vocab", "n_vocab", "vocabulary_size", "num_tokens_vocab", "padded_vocab_size", "vocab_len"),
    "tie_embeddings": (
        "tie_word_embeddings", "tied_embeddings", "weight_tying", "tie_weights", "share_embeddings", "tied",
    ),
    "position_encoding": ("pos_encoding", "positional_encoding", "position_embedding_type", "pos_emb", "pos_embedding"),
    "num_parameters": (
        "n_params", "num_params", "parameters", "params", "total_params", "parameter_count", "n_parameters",
        "trainable_params", "model_params", "total_parameters",
    ),
    "train_tokens": (
        "n_tokens", "num_tokens", "corpus_tokens", "dataset_tokens", "unique_tokens", "n_train_tokens",
        "num_train_tokens",
    ),
    "train_windows": ("n_windows", "num_windows", "train_samples", "num_train_samples", "n_samples"),
    "max_docs": ("num_docs", "n_docs", "num_documents", "max_documents", "docs", "documents", "train_docs"),
    "num_classes": ("n_classes", "num_labels", "nc", "n_class", "num_class", "classes"),
    "seed": ("random_seed", "random_state", "manual_seed", "global_seed", "rng_seed", "seed_everything"),
    "patience": ("early_stopping_patience", "es_patience", "early_stop_patience", "early_stopping_rounds"),
    "early_stopping": ("early_stop", "use_early_stopping"),
    "eval_every": ("eval_interval", "eval_steps", "evaluate_every", "eval_freq", "val_interval", "validation_steps",
                   "test_eval_period", "validation_freq"),
    "optimizer": ("optim", "opt", "optimiser"),
    "loss": ("loss_fn", "criterion", "loss_function", "objective"),
    "max_seconds": ("max_time", "time_limit", "max_train_time", "walltime"),
}  # fmt: skip
"""Canonical names of settings, each with its other spellings."""

ELSEWHERE = frozenset({
    "eval", "evaluation", "val", "valid", "validation", "test", "testing", "infer", "inference", "predict",
    "prediction", "generation", "generate", "sampling", "tokenizer", "teacher", "discriminator", "preprocessor",
})  # fmt: skip
"""Parts of a nested key below which a setting is not the training run's own."""

TRANSLATED: Mapping[str, tuple[str, ...]] = {
    "train": (
        "treino", "treinamento", "entrenamiento", "entrainement", "apprentissage", "trainings", "addestramento",
        "训练", "訓練", "学習", "обучение", "обучения", "обучающая", "обучении", "обучающей", "тренировка",
        "тренировке", "훈련", "학습", "egitim",
    ),
    "val": (
        "validacao", "avaliacao", "validacion", "validierung", "validierungs", "validazione", "验证", "驗證", "校验",
        "评估", "検証", "評価", "валидация", "валидации", "проверка", "проверки", "проверке", "검증", "dogrulama",
    ),
    "test": ("teste", "prueba", "pruebas", "测试", "測試", "テスト", "тест", "тесте", "тестовая", "тестовой", "테스트"),
    "loss": (
        "perda", "perdas", "perdida", "perdidas", "perte", "pertes", "verlust", "verluste", "perdita", "损失", "損失",
        "потеря", "потери", "потерь", "лосс", "손실", "kayip",
    ),
    "accuracy": (
        "acuracia", "exactitud", "exactitude", "genauigkeit", "accuratezza", "准确率", "準確率", "准确度", "正确率",
        "精度", "正解率", "точность", "정확도", "dogruluk",
    ),
    "precision": ("precisao", "精确率", "精準率", "適合率"),
    "recall": ("revocacao", "rappel", "召回率", "再現率"),
    "perplexity": ("perplexidade", "perplejidad", "perplexite", "perplexitat", "困惑度", "перплексия"),
    "error": ("erro", "erreur", "fehler", "errore", "误差", "誤差", "ошибка"),
    "reward": ("recompensa", "recompense", "belohnung", "奖励", "獎勵", "報酬", "награда", "보상"),
    "lr": ("taxa", "lernrate", "学习率", "學習率", "学習率", "학습률"),
    "epoch": ("epoca", "epocas", "epoque", "epoche", "epochen", "轮次", "轮数", "周期", "エポック", "эпоха", "에포크"),
    "step": (
        "passo", "passos", "paso", "pasos", "etape", "schritt", "lote", "iteracao", "iteracion", "步数", "步",
        "迭代次数", "迭代", "ステップ", "шаг", "스텝",
    ),
    "time": ("tempo", "tiempo", "temps", "zeit", "时间", "耗时", "用时", "時間", "время", "시간"),
    "seconds": ("segundos", "secondes", "sekunden", "秒"),
    "avg": (
        "media", "medio", "promedio", "moyenne", "durchschnitt", "mittlerer", "mittlere", "平均", "средняя", "средний",
        "평균",
    ),
    "total": ("gesamt", "总", "總", "общая", "총"),
    "best": ("melhor", "mejor", "meilleure", "meilleur", "beste", "bester", "最佳", "最优", "лучшая", "최고"),
    "of": ("集", "值", "値", "的", "の", "上"),
}  # fmt: skip
"""English words of the grammar, each with what other languages say in logs: Portuguese, Spanish, French, German,
Italian, Turkish, Chinese, Japanese, Russian, Korean."""

SPLITS: Mapping[str, str] = {
    "train": "train", "training": "train", "trn": "train", "tr": "train", "learn": "train",
    "val": "val", "valid": "val", "validation": "val", "eval": "val", "evaluation": "val", "dev": "val", "cv": "val",
    "vali": "val", "holdout": "val", "heldout": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

CORE_QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "loss": (
        "losses", "total_loss", "loss_total", "totalloss", "overall_loss", "logloss", "log_loss", "mlogloss",
        "binary_logloss", "multi_logloss", "lm_loss", "lm_loss_value", "multiclass", "multi_class",
        "multi_class_onevsall", "multi_class_one_vs_all", "main_loss",
    ),
    "accuracy": (
        "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy", "top1", "token_accuracy",
        "masked_accuracy", "mean_token_accuracy", "acc1", "acc@1", "top1_acc", "acc_top1", "top1_accuracy",
        "accuracies", "accs", "accuracy_top1", "top_1_accuracy", "top_1", "top_1_acc", "accuracy_score", "prec@1",
        "token_acc", "acc_score", "accuracy_top@1", "acc_top@1",
    ),
    "perplexity": ("ppl", "lm_loss_ppl", "perplex"),
}  # fmt: skip
"""Quantities that show by themselves that a table is a log."""

QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "accuracy_top5": (
        "top5", "acc5", "acc@5", "top5_acc", "acc_top5", "top5_accuracy", "top_5_accuracy", "top_5_acc", "prec@5",
        "accuracy_top@5",
    ),
    "f1": ("f1_score", "f1score", "f_1"),
    "error": ("err", "error_rate", "top1_error", "err1"),
    "mse": ("mean_squared_error",),
    "mae": ("mean_absolute_error", "mean_abs_error"),
    "rmse": ("root_mean_squared_error",),
    "mape": ("mean_absolute_percentage_error",),
    "reward": (
        "rewards", "ep_rew_mean", "eprewmean", "ep_reward_mean", "episode_reward", "episode_reward_mean",
        "episode_return", "episodic_return", "episode_return_mean", "ep_ret", "average_ep_ret", "average_return",
        "averagereturn", "return", "returns", "episode_rewards", "mean_episode_reward", "return_mean", "ep_ret_mean",
        "avg_episode_reward", "ep_return", "eprew", "cumulative_reward", "environment_cumulative_reward",
        "env_runners_episode_return_mean", "env_runners_episode_reward_mean",
    ),
    "running_reward": ("running_reward", "smoothed_reward", "moving_reward"),
    "episode_length": (
        "ep_len_mean", "eplenmean", "ep_len", "episode_len_mean", "episodic_length", "episode_lengths", "ep_length",
        "mean_ep_length", "episode_ave_length", "episode_len", "environment_episode_length", "eplen",
        "env_runners_episode_len_mean",
    ),
    "map50": ("map_0_5", "map@0_5", "map@50", "map_50", "map0_5"),
    "map50_95": ("map_0_5:0_95", "map@0_5:0_95", "map_50_95", "map@50_95", "map0_5:0_95", "map0_5_0_95"),
    "mean_iou": ("mean_io_u",),
    "bits_per_char": ("bpc", "bits_per_character"),
    "bits_per_byte": ("bpb",),
    "bits_per_dim": ("bpd", "bits_dim"),
}  # fmt: skip

BARE: Mapping[str, tuple[str, ...]] = {
    "lr": (
        "learning_rate", "taxa_aprendizado", "taxa_aprendizagem", "lr_aprendizado", "lr_aprendizagem",
        "tasa_aprendizaje", "taux_apprentissage", "taux_d'apprentissage", "tasso_apprendimento", "скорость_обучения",
        "lrs", "learning_rates", "x_lr0", "lr_pg0", "lr_group0", "lr_group_0", "lr_0", "learnrate", "learn_rate",
        "learningrate", "current_lr", "last_lr", "cur_lr", "curr_lr", "opt_lr", "optim_lr", "optimizer_lr",
        "lr_default", "learning_rate_0", "optim_learning_rate", "opt_learning_rate", "lrate", "optimizer_learning_rate",
        "train_learning_rate", "current_learning_rate", "lr_value",
    ),
    "grad_norm": (
        "gradient_norm", "gnorm", "norma_gradiente", "gradnorm", "grad_2_0_norm_total", "total_grad_norm", "norm",
        "grad_norm_total", "gradients_norm", "grad_l2_norm", "gradient_global_norm", "global_gradient_norm",
        "grads_norm", "l2_norm_grad_global", "optim_grad_norm",
    ),
    "tokens_per_s": (
        "tok_per_s", "tokens_per_sec", "tokens_per_second", "tok_s", "tps", "tokens_por_segundo", "wps", "tokens_s",
        "tok_sec", "tokens_sec", "throughput_tokens_per_sec", "toks_per_sec", "tok_per_sec", "token_s",
    ),
    "tokens": (
        "tokens_seen", "num_input_tokens_seen", "total_tokens", "consumed_tokens", "tokens_total", "tokens_so_far",
        "tokens_processed", "processed_tokens", "cumulative_tokens", "tokens_in_total", "n_tokens_seen",
        "tokens_no_total", "total_de_tokens", "tokens_totais", "tokens_vistos", "tokens_processados",
        "tokens_en_total", "tokens_totales", "tokens_procesados", "tokens_insgesamt", "tokens_au_total",
    ),
}  # fmt: skip
"""Quantities of the run itself, which have no split."""

UNSPLIT = frozenset({
    "time", "data_time", "rank_data_time", "iter_time", "step_time", "batch_time", "epoch_time", "epoch_seconds",
    "memory", "mem", "gpu_mem", "gpu_memory", "max_mem", "cuda_max_mem", "mfu", "tflops", "fps", "time_fps",
    "episode", "episodes", "num_episodes", "progress", "eta", "n_parameters", "loss_scaling", "ups", "wpb", "bsz",
    "num_tokens", "ms", "ms_per_step", "dt", "samples_per_second", "steps_per_second", "samples_per_sec", "it_s",
    "bad_epochs", "eta_seconds", "last_time", "last_data_time", "time_cost", "time_taken", "timer", "speed",
    "samples_sec", "ips", "batch_cost", "reader_cost", "episode_time", "n_updates", "iteration_time", "base_lr",
    "total_flos", "gpu_util", "peak_memory",
})  # fmt: skip
"""Names of the run itself that are no evidence of a log: an example's record can have a time."""

OPTIMIZERS = frozenset({
    "adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "adafactor", "adamax", "nadam", "radam", "lion", "lamb",
    "lars", "muon",
})  # fmt: skip
"""`lr-AdamW` is how Lightning's LearningRateMonitor names the first parameter group's rate."""

AGGREGATES = frozenset({
    "epoch", "step", "avg", "average", "mean", "running", "smoothed", "smooth", "global", "batch", "iter", "iteration",
    "cur", "curr", "current", "ema", "vs", "iterations",
})  # fmt: skip
"""Words that say how a quantity was averaged and leave its meaning."""

ABOUT_LOSS = frozenset({
    "scale", "scaler", "scaling", "best", "min", "max", "std", "var", "weight", "weights", "ratio", "gap", "diff",
    "delta", "evaluated", "lowest", "final",
})  # fmt: skip
"""Numbers about a loss, which are no part of its sum: AMP's loss scale, the best value so far, a spread."""

FILLERS = frozenset({"de", "do", "da", "of", "set", "the"})
FOREIGN_FILLERS = frozenset({
    "la", "le", "el", "des", "du", "del", "di", "den", "der", "en", "por", "pour", "sur", "auf", "bei", "na", "no",
    "на", "для", "в", "по",
})  # fmt: skip
"""Left out of a name that has a word of another language; elsewhere they may be abbreviations."""

CONTAINERS = frozenset({
    "metrics", "metric", "losses", "charts", "scalars", "scalar", "rollout", "stats", "perf", "custom", "log", "logs",
})  # fmt: skip
"""First words of a name that only say where it was filed: TensorBoard's groups, CleanRL's charts, SB3's rollout."""

YOLO_METRICS = frozenset({"precision", "recall", "map50", "map50_95", "map", "accuracy", "accuracy_top5", "fitness"})
"""What Ultralytics and YOLOv5 write as `metrics/...`; they measure it on the validation set."""

EVALUATORS = frozenset({"bbox", "segm", "keypoints", "panoptic", "coco", "sem", "lvis", "pascal", "proposal"})
"""First words of what detectron2's and OpenMMLab's evaluators report; they run on held-out data only."""

COUNTED = frozenset({
    "id", "ids", "idx", "index", "indices", "files", "file", "size", "sizes", "samples", "count", "counts", "n", "num",
    "set", "split", "data", "path", "paths", "labels", "images", "examples",
})  # fmt: skip
"""Words of names that count or point at data: no quantity that training logs."""

COUNTING = frozenset({
    "per", "time", "times", "num", "n", "each", "total", "last", "max", "first", "current", "this", "in", "seconds",
    "s", "duration", "count", "number", "id", "idx", "best", "start", "end", "length", "len", "train", "val", "batch",
    "sec", "ms", "next", "by",
})  # fmt: skip
"""Words beside `epoch` and `step` with which the name counts or times them."""

STEP_NAMES = frozenset({
    "step", "steps", "global_step", "iter", "iteration", "iterations", "it", "num_updates", "_step", "batch",
    "trainer/global_step", "update", "updates", "current_steps", "iters", "global_steps", "train_step",
    "global_iter", "global_iteration", "total_timesteps", "timesteps", "num_timesteps", "train_steps",
    "iter_num", "optimizer_step", "n_updates", "nupdates", "steps_done", "time/total_timesteps", "time/iterations",
    "timesteps_total", "timesteps_so_far", "total_steps_done", "step_num", "global_batch", "train_iter", "cur_iter",
    "current_step", "current_iter", "nimg", "kimg", "misc/nupdates", "misc/total_timesteps", "num_env_steps_sampled",
    "global_update", "num_batches", "batch_idx", "batch_num", "iteration_count", "numero_passo", "itr",
    "training_iteration", "total_env_steps", "totalenvinteracts", "timesteps_elapsed", "boosting_round", "generation",
})  # fmt: skip
EPOCH_NAMES = frozenset({
    "epoch", "epochs", "ep", "epoch_num", "_epoch", "train/epoch", "epoch_id", "current_epoch", "epoch_idx", "epoch_no",
    "epoch_number", "cur_epoch", "nepoch", "epoch_index", "curr_epoch",
})  # fmt: skip
TIME_NAMES = frozenset({
    "wall_time", "timestamp", "time", "elapsed", "elapsed_time", "seconds", "_timestamp", "_runtime", "wall_seconds",
    "elapsed_seconds", "runtime", "time_elapsed", "total_time", "passed_time", "passed", "walltime", "time/elapsed",
    "time/time_elapsed", "time_s", "elapsed_s", "time_total_s", "datetime", "date_time", "time_sec", "time_seconds",
    "time_since_start", "misc/time_elapsed", "elapsed_sec", "wallclock", "wall_clock", "wall_clock_time",
    "total_seconds", "time_since_restore", "time_this_run", "relative_time",
})  # fmt: skip
