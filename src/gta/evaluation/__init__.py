"""From a trained model and a loader to numbers: scores over all views, metrics, the probe of order, statistics."""
