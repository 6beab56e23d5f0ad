"""Moved: `gta.video` reads files, `gta.datasets` finds and checks them, `gta.clips` makes clips.

The old names work for one release.
"""

from gta._moved import install

install()
