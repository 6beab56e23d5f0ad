"""One video file, or folder of pictures, to frames.

`read_video` and `probe_video` in reading -> file (media files: planned from the packets, or sequentially) or folder
(numbered pictures). packets and scan say what a file's packets tell about its frames, container opens it, decoding and
conversion make frames, pictures and still read single pictures; formats and limits are the boundary: what is opened at
all, what one request may cost, and that no foreign error passes.
"""
