"""int8 by post-training quantisation (NNCF), calibrated on real clips."""

import logging
from collections.abc import Sequence
from typing import Any

from gta.export.extras import quietly
from gta.extras import require


def quantise(model: Any, samples: Sequence[Any]) -> Any:
    """Weights and activations of an OpenVINO or ONNX model in int8, with ranges that the samples show.

    NNCF's setting for transformers is used: its default quantises the product with the matrices M of global temporal
    attention per channel, which OpenVINO's CPU plugin cannot read.

    Args:
        model: `openvino.Model` or `onnx.ModelProto`.
        samples: inputs of the model, all of which are used.
    """
    with quietly():
        nncf = require("nncf", "`precision` int8", extra="export")
        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            model, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples)
        )
