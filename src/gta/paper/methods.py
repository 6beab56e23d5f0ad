"""The methods of the paper's Tables 5 to 7, with the costs that their own papers, or tables comparing them, print."""

from gta.paper.costs import PAPER_ROWS, PaperRow

_KINETICS, _SOMETHING = 400, 174
_ZOO = "pytorchvideo's model zoo"
_TSM = "Table 2 of TSM (Lin et al. 2019)"
_MSNET = "Table 1 of MSNet (Kwon et al. 2020)"
_FOUR_HUNDRED = "the printed parameters include a classifier for the 400 classes of Kinetics"
_BLOCK = (
    "ours adds separate blocks with their own projections after five blocks of res3 and res4; in the method's paper, "
    "the module replaces a convolution in every block"
)
_TRN = "the printed number exceeds TSN's by 7.5 M; the public code's head (two layers, 256 features) accounts for 2.8 M"
_MS = "the printed number exceeds TSM's by 0.3 M; the layers that the paper describes account for 0.08 M"
_I3D = "the printed count lies between ours with (113.6) and without (179.6) temporal pooling after res2"
_NL = (
    f"{_I3D}; the 15 GFLOPs printed for five NL blocks cover only their projections, and the similarities add the rest"
)
_GCN = (
    "the printed numbers include NL and the region proposal network that detects boxes; ours predicts regions instead"
)
_STREAM = (
    "the printed second stream reads optical flow, and the cost of computing it is not counted; ours reads differences"
)
_CORR = (
    "blocks after res2, res3 and res4, as in CorrNet; its backbone is R(2+1)D-50, ours is R2D-50, which alone has "
    "130.8 GFLOPs with 32 frames, since it keeps all of them to the end"
)
_S3DG = (
    "the printed S3D-G exceeds S3D by 2.79 M; gates on every branch, as in the authors' code, make 1.22 M; "
    "torchvision's S3D, which is used here, has 0.45 M fewer than the printed S3D"
)
_R2PLUS1D = (
    "in torchvision's blocks, the two convolutions of a stage's first block have the same middle width; computing it "
    "separately for the second one would add 1.9 M parameters"
)

METHOD_ROWS: tuple[PaperRow, ...] = (
    PaperRow(5, "R(2+1)D-34", "r2plus1d34", _KINETICS, (32, 112, 112), 152.0, 63.6, year=2018, note=_R2PLUS1D,
             source="R(2+1)D (Tran et al. 2018), as cited in Table 2 of SlowFast"),
    PaperRow(5, "S3D-G", "s3dg", _KINETICS, (64, 224, 224), 71.38, 11.56, year=2018, note=_S3DG,
             source="S3D (Xie et al. 2018)"),
    PaperRow(5, "C2D-R50", "c2d50", _KINETICS, (8, 256, 256), 25.89, 24.33, year=2018,
             options={"temporal_pool": True}, source=_ZOO),
    PaperRow(5, "I3D-R50", "i3d50", _KINETICS, (8, 256, 256), 37.53, 28.04, year=2017, source=_ZOO),
    PaperRow(5, "Slow-R50 4x16", "slow50", _KINETICS, (4, 256, 256), 27.55, 32.45, year=2019, source=_ZOO),
    PaperRow(5, "Slow-R50 8x8", "slow50", _KINETICS, (8, 256, 256), 54.52, 32.45, year=2019, source=_ZOO),
    PaperRow(5, "SlowFast-R50 4x16", "slowfast50_4x16", _KINETICS, (32, 256, 256), 36.1, 34.48, year=2019,
             source="SlowFast (Feichtenhofer et al. 2019), with the parameters of " + _ZOO),
    PaperRow(5, "SlowFast-R50 8x8", "slowfast50_8x8", _KINETICS, (32, 256, 256), 65.7, 34.57, year=2019,
             source="SlowFast (Feichtenhofer et al. 2019), with the parameters of " + _ZOO),
    PaperRow(5, "TSM-R50", "tsm50", _KINETICS, (8, 224, 224), 33.0, 24.3, year=2019, source=_TSM),
    PaperRow(5, "CorrNet-50", "r2d50_corr", _KINETICS, (32, 224, 224), 115.0, year=2020, note=_CORR,
             options={"at": {"res2": [2], "res3": [3], "res4": [5]}}, source="CorrNet (Wang et al. 2020)"),
    PaperRow(6, "TSN-R50", "r2d50", _SOMETHING, (8, 224, 224), 33.0, 24.3, year=2016, note=_FOUR_HUNDRED, source=_TSM),
    PaperRow(6, "TRN-R50 multi-scale", "trn50", _SOMETHING, (8, 224, 224), 33.0, 31.8, year=2018, note=_TRN,
             source=_TSM),
    PaperRow(6, "TSM-R50", "tsm50", _SOMETHING, (8, 224, 224), 33.0, 24.3, year=2019, note=_FOUR_HUNDRED, source=_TSM),
    PaperRow(6, "TSM-R50", "tsm50", _SOMETHING, (16, 224, 224), 65.0, 24.3, year=2019, note=_FOUR_HUNDRED,
             source=_TSM),
    PaperRow(6, "TSM-R50 8+16 frames", "tsm50", _SOMETHING, (8, 224, 224), 98.0, 48.6, year=2019,
             note=_FOUR_HUNDRED, also=("tsm50", 16), source=_TSM),
    PaperRow(6, "STM-R50", "r2d50_stm", _SOMETHING, (8, 224, 224), 33.0, 24.0, year=2019, note=_BLOCK, source=_MSNET),
    PaperRow(6, "bLVNet-TAM-50", "blvnet_tam50", _SOMETHING, (16, 224, 224), 23.8, 25.0, year=2019,
             source="bLVNet-TAM (Fan et al. 2019), with 8 x 2 frames"),
    PaperRow(6, "TEA-R50", "r2d50_tea", _SOMETHING, (8, 224, 224), 35.0, year=2020, note=_BLOCK,
             source="TEA (Li et al. 2020)"),
    PaperRow(6, "MSNet-R50", "tsm50_ms", _SOMETHING, (8, 224, 224), 34.0, 24.6, year=2020,
             options={"at": {"res3": [3]}}, note=_MS, source=_MSNET),
    PaperRow(6, "MSNet-R50", "tsm50_ms", _SOMETHING, (16, 224, 224), 67.0, 24.6, year=2020,
             options={"at": {"res3": [3]}}, note=_MS, source=_MSNET),
    PaperRow(6, "TSM-R50 + GTA", "tsm50_gta", _SOMETHING, (8, 224, 224), None, year=2021),
    PaperRow(6, "TSM-R50 + GTA", "tsm50_gta", _SOMETHING, (16, 224, 224), None, year=2021),
    PaperRow(6, "TSM-R50 + GTA 8+16 frames", "tsm50_gta", _SOMETHING, (8, 224, 224), None, year=2021,
             also=("tsm50_gta", 16)),
    PaperRow(7, "ECO", "eco", _SOMETHING, (8, 224, 224), 32.0, 47.5, year=2018, source=_TSM),
    PaperRow(7, "ECO", "eco", _SOMETHING, (16, 224, 224), 64.0, 47.5, year=2018, source=_TSM),
    PaperRow(7, "ECO Lite", "eco_lite", _SOMETHING, (16, 224, 224), None, year=2018),
    PaperRow(7, "I3D-R50", "i3d50", _SOMETHING, (32, 224, 224), 153.0, 28.0, year=2017, note=_I3D, source=_TSM),
    PaperRow(7, "I3D-R50 + NL", "i3d50_nl", _SOMETHING, (32, 224, 224), 168.0, 35.3, year=2018, note=_NL, source=_TSM),
    PaperRow(7, "I3D-R50 + NL + GCN", "i3d50_gcn", _SOMETHING, (32, 224, 224), 303.0, 62.2, year=2018, note=_GCN,
             source=_TSM),
    PaperRow(7, "S3D-G", "s3dg", _SOMETHING, (64, 224, 224), 71.38, 11.56, year=2018, note=_S3DG,
             source="S3D (Xie et al. 2018)"),
    PaperRow(7, "Two streams of TSM-R50", "tsm50", _SOMETHING, (16, 224, 224), None, 48.6, year=2019, note=_STREAM,
             also=("difference50", 16), source=_TSM),
)  # fmt: skip
"""The tables here group the methods: 5 is Kinetics-400; on Something-Something, 6 is 2D networks with temporal modules,
and 7 is 3D networks, graphs and two streams."""


TITLES = {
    1: "Table 1: Something-Something",
    5: "Table 5: Kinetics-400",
    6: "Table 6: Something-Something, 2D networks",
    7: "Table 7: Something-Something, 3D networks, graphs, two streams",
}
"""Headings of the tables."""


def list_rows(table: int | None = None) -> tuple[PaperRow, ...]:
    """List the rows of a table: the paper's own experiments, then the methods that it compares with.

    Args:
        table: 1, 5, 6 or 7; None lists the paper's own experiments of all tables.
    """
    if table is None:
        return PAPER_ROWS
    return tuple(row for row in (*PAPER_ROWS, *METHOD_ROWS) if row.table == table)
