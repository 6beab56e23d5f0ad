"""Training and evaluation (a side room: it knows floor 0 only, and is handed the model and the loaders).

fit (a whole run) -> loop (epochs, validations, checkpoints, signals) -> step (one training step) -> optim (parameter
groups, schedule), augment, averaging (EMA), norms (BatchNorm policies). launch (devices and processes), memory,
evaluate and metrics, checkpoint, run_folder, stopping (signals), progress and curves; module is for users of Lightning.
"""
