"""A page to play with, in a browser: `latentzoo app` (extra `app`)."""
