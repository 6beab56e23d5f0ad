"""Makes the README's pictures from the models that `make demo` trained: python docs/pictures/make.py [runs/demo]."""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from gta.cli import run

HERE = Path(__file__).parent
PICTURES = {"figure_attention.png": "attention.png", "mixing.png": "mixing.png"}
WIDTH = 1100
COLOURS = 160
MOST_BYTES = 200_000


def main(demo: Path) -> None:
    """Explain the demo's first fresh video, and keep two of the pictures, small."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["explain", demo / "tiny_gta" / "best.ckpt", demo / "fresh" / "0.mp4", "--output", folder]
        if run([str(word) for word in words]) != 0:
            sys.exit(1)
        for name, kept in PICTURES.items():
            with Image.open(Path(folder) / name) as picture:
                size = (WIDTH, round(picture.height * WIDTH / picture.width))
                small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(COLOURS)
            small.save(HERE / kept, optimize=True)
            assert (HERE / kept).stat().st_size < MOST_BYTES


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/demo"))
