"""From a name to tensors: cards, downloads, and a reader for every container that executes nothing."""
