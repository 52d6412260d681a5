"""What a person reads of a run: one self-contained page."""
