"""latentzoo: every pre-trained image generator as one map from a Gaussian, guided by its posterior.

The public names are in `__init__.pyi`, and nowhere else. They are imported when they are first used, so that
`import latentzoo` stays quick and torch is loaded only when something needs it.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
