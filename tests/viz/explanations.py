"""Made-up records with every kind of block, whose maps are known numbers."""

import numpy as np

from gta.explain import AttentionMaps, BlockExplanation, ClassMaps, Explanation, FrameImportance, Mixing

CLASSES = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "פתיחה של משהו",
    "👩\u200d🍳 \"cooking\" & 'more'",
    "$x_{2}$ costs $5",
)
FRAMES, HEIGHT, WIDTH = 4, 30, 40
GRID = (4, 5, 6)


def _softmax(rng: np.random.Generator, queries: tuple[int, ...], keys: tuple[int, ...]) -> np.ndarray:
    table = np.exp(2 * rng.standard_normal((*queries, *keys)))
    axes = tuple(range(len(queries), table.ndim))
    return (table / table.sum(axis=axes, keepdims=True)).astype(np.float32)


def attention(rng: np.random.Generator, kind: str, grid=GRID) -> AttentionMaps:
    keys = {"nl": grid, "sa": grid[1:], "ta": grid[:1], "tape": grid[:1]}[kind]
    table = _softmax(rng, grid, keys)
    return AttentionMaps(table[tuple(side // 2 for side in grid)], table)


def block(kind: str, seed: int = 0, grid=GRID, frame_numbers=(0, 1, 2, 3)) -> BlockExplanation:
    rng = np.random.default_rng(seed)
    options: dict = {}
    if kind == "gta":
        regions = _softmax(rng, (grid[0], grid[1], grid[2]), (6,)).transpose(0, 3, 1, 2)
        matrices = rng.standard_normal((2, 3, grid[0], grid[0])).astype(np.float32)
        influence = rng.random((grid[0], grid[0])).astype(np.float32)
        options = {
            "mixing": Mixing(matrices, np.abs(matrices).mean(axis=(2, 3)), influence),
            "regions": np.ascontiguousarray(regions),
        }
    else:
        options = {"attention": attention(rng, kind, grid)}
        if kind in ("sa", "ta"):
            options |= {"swapped": attention(rng, kind, grid), "partner": "layer.<b>ta</b>"}
    return BlockExplanation(
        name=f"layer.{kind}", kind=kind, grid=grid, frame_numbers=tuple(frame_numbers), query=(1, 2, 3), **options
    )


def explanation(
    *blocks: BlockExplanation, frames: int = FRAMES, size=(HEIGHT, WIDTH), model: str = "tiny <b>"
) -> Explanation:
    rng = np.random.default_rng(7)
    forward, backward = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5))
    grid = GRID
    return Explanation(
        source="videos/<img src=x onerror=alert(3)>/פתיחה \u202e$.mp4",
        model=model,
        classes=CLASSES,
        frames=rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8),
        seconds=tuple(0.1 * number for number in range(frames)),
        forward=forward.astype(np.float32),
        backward=backward.astype(np.float32),
        class_index=int(forward.argmax()),
        query=(1, 14, 22),
        blocks=blocks,
        class_maps=tuple(
            ClassMaps(index, "layer", rng.random(grid, dtype=np.float32), (0, 1, 2, 3))
            for index in (int(forward.argmax()), int(forward.argmin()))
        ),
        importance=FrameImportance(
            int(forward.argmax()),
            np.array([[0, 2], [2, 3], [3, 4]]),
            float(forward.max()),
            float(forward.max()) - np.array([0.2, -0.1, 0.05]),
            np.array([0.1, 0.2, 0.3]),
            0.1,
        ),
        swapped=rng.dirichlet(np.ones(5)).astype(np.float32),
        notes=("Nothing <b>bold</b> happened.",),
    )
