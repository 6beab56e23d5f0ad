"""Studies: grids of models x seeds under one budget, their statistics and reports, and the probe of temporal order."""
