"""Studies: grids of models x seeds under one budget, and their reports."""

from gta._moved import install

install()
