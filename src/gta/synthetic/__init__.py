"""The synthetic data set: procedurally rendered videos of actions whose names depend on the direction of time.

`classes` names them and computes what a model that ignores the order of frames can reach; `parameters` draws what
varies from clip to clip; `motion` and `render` make the frames; `write` encodes them; `layouts` imitates the folders
and annotations of known data sets; `build` makes a whole data set. Nothing here imports PyTorch.
"""

from gta.synthetic.build import SynthesisSummary, synthesize
from gta.synthetic.classes import CLASSES, HARD_CLASSES, REVERSALS, SAME_FRAMES, permutation_invariant_ceiling
from gta.synthetic.render import render_clip, render_mask
from gta.synthetic.write import write_clip, write_mask

__all__ = [
    "CLASSES",
    "HARD_CLASSES",
    "REVERSALS",
    "SAME_FRAMES",
    "SynthesisSummary",
    "permutation_invariant_ceiling",
    "render_clip",
    "render_mask",
    "synthesize",
    "write_clip",
    "write_mask",
]
