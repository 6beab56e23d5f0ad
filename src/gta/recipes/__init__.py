"""Complete run configurations, as Python functions that return a TrainConfig (roof)."""
