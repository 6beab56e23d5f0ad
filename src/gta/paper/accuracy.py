"""Top-1 in percent, as the paper prints it: Tables 1 to 4 and 6 on Something-Something, Table 5 on Kinetics-400.

Models have the names that `gta.create_model` takes.
"""

TABLE_1: dict[str, tuple[float, float]] = {
    "r2d50": (17.0, 26.8),
    "r2d50_nl": (31.2, 50.7),
    "r2d50_dnl": (38.8, 55.5),
    "r2d50_gta": (50.6, 63.5),
    "slowfast50_16x8": (50.9, 63.4),
    "slowfast50_16x8_nl": (51.7, 63.9),
    "slowfast50_16x8_dnl": (52.0, 64.1),
    "slowfast50_16x8_gta": (53.4, 64.9),
}
"""Model -> V1, V2; 2D models with 8 frames."""

TABLE_2: tuple[tuple[dict[str, int], float], ...] = (
    ({}, 17.0),
    ({"res3": 1}, 46.2),
    ({"res4": 1}, 46.4),
    ({"res5": 1}, 37.4),
    ({"res3": 1, "res4": 1}, 49.5),
    ({"res3": 2, "res4": 3}, 50.6),
)
"""GTA blocks per stage, V1; the last line is the default, the model of Table 1."""

TABLE_3: dict[str, float] = {
    "sa": 17.9,
    "ta": 37.6,
    "pixel_gta": 48.5,
    "region_gta": 47.1,
    "sa_ta": 38.8,
    "sa_tape": 48.4,
    "sa_pixel_gta": 49.2,
    "sa_region_gta": 47.9,
    "gta": 50.6,
}
"""Parts of the block, as `gta.create_block` names them, V1."""

TABLE_4: dict[int, float] = {1: 47.5, 2: 49.8, 4: 50.4, 8: 50.6, 16: 50.0}
"""Groups G, V1; 8 is the default."""

TABLE_5: dict[str, float] = {
    "c2d50_nl": 74.8,
    "c2d50_gta": 75.9,
    "slowfast101_8x8_nl": 78.9,
    "slowfast101_8x8_gta": 79.8,
}
"""Model -> Kinetics-400; there is no row for the backbones alone."""

TABLE_6: dict[int, tuple[float, float]] = {8: (51.6, 63.7), 16: (53.7, 65.3)}
"""Frames of TSM-R50 + GTA -> V1, V2."""
