"""Classifiers: backbone, consensus, head; the named models; weights (floor 4)."""
