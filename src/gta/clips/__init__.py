"""Labelled paths to batches of clips.

presets (the field's protocols) -> sampling (which frames) -> transforms (resizing, cropping, normalising) -> dataset ->
loader (batches from worker processes). labels says what class names tell about direction; show draws all of it.
"""
