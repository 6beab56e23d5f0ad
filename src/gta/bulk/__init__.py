"""Predicting many videos: worker processes, results by shard, one table at the end.

`manifest` says which videos, `rows` makes the row of one, `workers` does it in processes that a crashing or hanging
decoder cannot bring down, `shards` keeps what is done, `tables` writes the file, `progress` tells how far it is, and
`run` puts these together.
"""
