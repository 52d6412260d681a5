"""Every tiny pipeline, by its class or label."""

from importlib import import_module

import pictured
import rare
import tiny

for _module in ("seen_flux", "seen_kandinsky", "seen_more", "seen_sd"):
    import_module(_module)
ALL = tiny.MADE | rare.RARE | pictured.PICTURED
