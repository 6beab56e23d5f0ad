"""`gta convert`: weights of other code bases to ours."""

from dataclasses import dataclass
from typing import Any, Literal

from gta.commands.arguments import DestinationPath, SourcePath, parse_arguments
from gta.terminal import print_line


@dataclass(frozen=True)
class ConvertArguments:
    """Convert weights of timm, torchvision, TSM, PySlowFast (.pyth, Caffe2 .pkl) or pytorchvideo to safetensors.

    The architecture is read from the weights; what they do not determine can be given as options.
    """

    source: SourcePath
    """File of weights to read; no code in it is executed."""
    dest: DestinationPath
    """File to write, .safetensors; it can then be given as `pretrained`."""
    model: str | None = None
    """Model to convert to, e.g. r2d50; recognised from the weights if not given."""
    num_frames: int | None = None
    """Frames per clip that the model reads; the model's own if not given."""
    num_classes: int | None = None
    """Number of classes; the source's if not given. With a different number, the classifier is left out."""
    temporal_pool: bool | None = None
    """C2D: whether the source halves the number of frames after res2."""
    stride_1x1: bool | None = None
    """C2D: whether the spatial stride is in the first convolution of the residual blocks."""
    alpha: int | None = None
    """SlowFast: how many times as many frames the fast pathway reads."""
    shift_div: int | None = None
    """TSM: 1 / SHIFT_DIV of the channels are shifted in each direction."""
    instantiation: Literal["softmax", "dot_product"] | None = None
    """Non-local blocks: softmax of the similarities, or division by their number."""
    pool: Literal["after", "before", "none"] | None = None
    """Non-local blocks: where the keys and values are pooled, if at all."""
    head_window: int | None = None
    """3D: side of the windows that are classified and averaged (training crop / 32); 0: all positions at once."""
    head_average: Literal["probabilities", "logits"] | None = None
    """3D: what is averaged over these windows."""
    overwrite: bool = False
    """Replace DEST if it exists."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta convert`."""
    options = parse_arguments(ConvertArguments, arguments, command="gta convert")
    from gta.models.converting import convert

    written = convert(options.source, options.dest, model=options.model, overwrite=options.overwrite, **_given(options))
    for line in written.summary.splitlines():
        print_line(line)
    print_line(f"{written.path}: {written.model}, {written.num_classes} classes")


def _given(options: ConvertArguments) -> dict[str, Any]:
    """The arguments of `create_model` that the user has given."""
    asked = {
        name: getattr(options, name)
        for name in (
            "num_frames",
            "num_classes",
            "temporal_pool",
            "stride_1x1",
            "alpha",
            "shift_div",
            "instantiation",
            "pool",
            "head_window",
            "head_average",
        )
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return given if given.get("head_window") != 0 else {**given, "head_window": None}
