"""Live video: predictions along a stream of frames that has no end.

`Stream` in stream is the offline prediction of windows, frame by frame; sharing splits a network into the layers that
see one frame at a time, which are computed once per frame, and the rest. causal runs causal networks one frame at a
time. reader reads a source in a thread; watching brings a reader and a stream together.
"""
