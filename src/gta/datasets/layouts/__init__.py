"""One module per way of organising a data set on disk; each turns a folder and a split into labelled videos."""
