"""What a node asks of ComfyUI's memory manager: whether the user has cancelled the workflow."""


def throw_exception_if_processing_interrupted():
    pass
