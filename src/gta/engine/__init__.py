"""Training and evaluation on Lightning: module, optimiser, schedules, callbacks, metrics (side room)."""
