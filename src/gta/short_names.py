"""What the command line and `gta.train` call the usual fields of a training configuration, for short (floor 0)."""

SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "data": ("data.root",),
    "epochs": ("run.max_epochs",),
    "seed": ("run.seed",),
    "output": ("run.folder",),
    "num_workers": ("data.num_workers",),
    "batch_size": ("data.batch_size",),
    "layout": ("data.layout",),
    "fold": ("data.fold",),
    "lr": ("optim.lr",),
    "precision": ("run.precision",),
    "model": ("model.name",),
    "num_frames": ("model.num_frames", "data.clip.num_frames"),  # a model reads as many frames as its clips have
}
"""The names that other commands have for what a configuration calls by section and field."""
