"""2D and 3D video backbones with stages res2..res5, and the insertion of attention blocks (floor 3)."""
