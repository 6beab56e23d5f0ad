"""Pictures and reports (floor 5)."""
