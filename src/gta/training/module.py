"""For users of Lightning: the same objective, optimiser and schedule as a `LightningModule` for their own Trainer.

`gta train` does not use it (its loop is `gta.training.loop`).
"""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from gta.config import OptimConfig
from gta.training.norms import freeze, frozen_norms
from gta.training.optim import create_optimizer, learning_rate_factor
from gta.training.step import Objective


class ClassifierModule(pl.LightningModule):
    """Trains a video classifier with Lightning's Trainer; its checkpoints work with `gta evaluate` and `gta predict`.

    Gradient clipping (`gradient_clip_val`), accumulation and precision are options of the Trainer, and averaged weights
    are its callback `EMAWeightAveraging`. The Trainer does not resume bit for bit, nor skip steps that are not finite.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K).
        prepare: uint8 clips -> normalised float32 clips, applied on the device (`gta.clips.transforms.Normalize`).
        optim: loss, optimiser and schedule.
        description: the "gta" entry of checkpoints (`gta.model_card.describe`).
        global_batch: clips per optimiser step over all processes, for the linear scaling of the learning rate.
        class_weights: (K,) weight of each class in the loss; by default, all are 1.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        prepare: nn.Module,
        optim: OptimConfig,
        description: dict[str, Any],
        global_batch: int,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = Objective(prepare, optim, num_classes=len(description["classes"]), class_weights=class_weights)
        self.description = description
        self.global_batch = global_batch
        self._frozen = frozen_norms(model, optim.batch_norm)
        self.train()

    def forward(self, clip: Tensor) -> Tensor:
        """Logits (B, K) of uint8 clips (B, 3, T, H, W)."""
        return self.model(self.objective.prepare(clip).contiguous(memory_format=torch.channels_last_3d))

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Mean loss of a batch of `gta.clips.loader.build_loader`; logs train_loss and train_top1."""
        size = len(batch["label"])
        loss, correct = self.objective(self.model, batch)
        self.log_dict({"train_loss": loss / size, "train_top1": correct / size}, batch_size=size, on_epoch=True)
        return loss / size

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Logs val_loss and val_top1, for one view of each video."""
        logits, label = self(batch["clip"]).float(), batch["label"]
        loss = nn.functional.cross_entropy(logits, label)
        top1 = (logits.argmax(dim=1) == label).float().mean()
        self.log_dict({"val_loss": loss, "val_top1": top1}, batch_size=len(label), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """The optimiser, and its schedule for the Trainer's length, changed at every step."""
        optim, epochs = self.objective.optim, self.trainer.max_epochs or 1
        steps = max(int(self.trainer.estimated_stepping_batches) // epochs, 1)
        optimizer = create_optimizer(self.model, optim, global_batch=self.global_batch)
        factor = learning_rate_factor(optim, steps_per_epoch=steps, total_epochs=float(epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def train(self, mode: bool = True) -> "ClassifierModule":
        """Set the mode; frozen BatchNorm layers stay frozen."""
        super().train(mode)
        freeze(self._frozen)
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description, so that `gta evaluate` and `gta predict` need nothing but the file."""
        checkpoint["gta"] = self.description
