"""What a model attends to: arrays and records, no pictures (floor 5)."""

from gta.explain.records import (
    AttentionMaps,
    BlockExplanation,
    ClassMaps,
    Explanation,
    FrameImportance,
    Mixing,
)

__all__ = [
    "AttentionMaps",
    "BlockExplanation",
    "ClassMaps",
    "Explanation",
    "FrameImportance",
    "Mixing",
]
