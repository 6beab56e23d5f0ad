"""Training and evaluation (a side room: it knows floor 0 only, and is handed the model and the loaders).

module (Lightning module), optim (parameter groups, schedule), augment (mixup, cutmix), averaging (EMA), norms
(BatchNorm policies), fit and conductor (the run), evaluate and metrics, checkpoint, run_folder, stopping (signals),
progress, launch (devices and processes), prefetch.
"""
