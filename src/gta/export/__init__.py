"""From a trained network to files that run elsewhere, and back from such files to predictions.

`graph` puts normalisation and network into one module, `writers` write it for each runtime, `quantise` makes int8 of
it, `parity` compares the result with the original, `speed` times both, and `run` does all of this for a checkpoint.
`card` describes an exported folder; `runtimes` runs one, for which neither timm nor Lightning is needed.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gta.export.run import export_network

__all__ = ["export_network"]


def __getattr__(name: str) -> object:
    """Import what writes only for those who write (PEP 562): running an exported folder needs none of it."""
    if name == "export_network":
        from gta.export.run import export_network

        return export_network
    raise AttributeError(f"module 'gta.export' has no attribute {name!r}")
