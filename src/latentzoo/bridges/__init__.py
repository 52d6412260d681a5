"""Ways to other people's tools: trackers, tables and datasets, physics of deepinv, diffusers, ComfyUI."""
