"""From a data set on disk to clip tensors: decoding, sampling, transforms, data sets (side room)."""
