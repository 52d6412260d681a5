"""The small networks of the avatar world."""
