"""A data set on disk to labelled paths: its layout, its listing, its index, checking and preparing it."""
