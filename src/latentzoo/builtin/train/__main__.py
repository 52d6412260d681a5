"""`python -m latentzoo.builtin.train NAME`."""

from latentzoo.builtin.train import main

main()
