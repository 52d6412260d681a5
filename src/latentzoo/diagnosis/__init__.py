"""What a sample, or a map, is worth: measured numbers, and what they say in words."""
