"""The `inc` command."""
