"""Pure tensor functions without parameters (floor 1)."""
