"""A run of chains: seeds go in, a result comes out."""
