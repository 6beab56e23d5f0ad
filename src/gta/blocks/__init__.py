"""The paper's attention modules, (B, C, T, H, W) to the same shape (floor 2)."""
