"""The command line: parses, prints, nothing else. Heavy libraries are imported inside commands."""

from angioshare.cli.main import main

__all__ = ["main"]
