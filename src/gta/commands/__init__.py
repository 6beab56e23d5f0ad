"""One module per subcommand of `gta` (the roof): arguments as a dataclass, `main(arguments)`, and the composition."""
