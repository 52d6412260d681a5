"""The part of ComfyUI's V3 interface that latentzoo uses, by its names and arguments alone.

`test_comfy.py` runs the same tests on ComfyUI itself where a checkout is at hand.
"""

from comfy_api.latest import io  # noqa: F401

PROGRESS = []


class ComfyExtension:
    pass


class ComfyAPISync:
    class execution:
        @staticmethod
        def set_progress(value, max_value, node_id=None, preview_image=None):
            PROGRESS.append((value, max_value, preview_image))
