"""Parts of networks that two families or more share; each module lists its users."""
