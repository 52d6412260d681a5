"""The recipes of the built-in models: `latentzoo-train NAME` makes the weight file of one of them again."""

from latentzoo.builtin.train.command import main

__all__ = ["main"]
