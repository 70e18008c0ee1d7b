"""The command `lucid`."""

from lucid.cli.command import main as main
