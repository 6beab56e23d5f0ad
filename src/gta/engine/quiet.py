"""Silences exactly those messages of Lightning that say nothing to a user of this package."""

import logging
import warnings

# Start of each message and why it is noise here.
_WARNINGS = (
    ".*does not have many workers.*",  # the number of workers is the user's choice
    ".*smaller than the logging interval.*",  # Lightning's loggers are not used
    ".*in eval mode at the start of training.*",  # frozen BatchNorm layers are meant to be
    ".*ended before the epoch ended and your dataloader is.*",  # the sampler continues inside the epoch
    ".*Trying to infer the `batch_size`.*",  # nothing is logged through Lightning
    ".*Detected call of `lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*",  # a skipped step of fp16
    ".*GPU available but not used.*",  # the accelerator is the user's choice
    ".*srun.*command is available on your system but is not used.*",  # not every run on a cluster is a SLURM job
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",  # Lightning's use of PyTorch's tree utilities
)
_LOGGERS = ("lightning.pytorch", "lightning.fabric")


class _Noise(logging.Filter):
    """Drops Lightning's information lines (devices found, tips); warnings and errors pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


def quieten_lightning() -> None:
    """Install the filters (harmless to call again)."""
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:  # a logger's own filter would not see its children's records
            if not any(isinstance(entry, _Noise) for entry in handler.filters):
                handler.addFilter(_Noise())
