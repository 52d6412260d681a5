"""Nodes, schemas, sockets and outputs."""

from dataclasses import dataclass, field


class ComfyNode:
    @classmethod
    def GET_SCHEMA(cls):
        return cls.define_schema()


@dataclass
class Schema:
    node_id: str
    display_name: str = None
    category: str = "sd"
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    description: str = ""


class Socket:
    def __init__(self, id=None, display_name=None, tooltip=None, **settings):
        self.id, self.display_name, self.tooltip = id, display_name, tooltip
        vars(self).update(settings)


class String:
    io_type = "STRING"
    Output = type("Output", (Socket,), {})

    class Input(Socket):
        def __init__(self, id, display_name=None, *, tooltip=None, multiline=False, default=None):
            super().__init__(id, display_name, tooltip, multiline=multiline, default=default)


class Int:
    io_type = "INT"

    class Input(Socket):
        def __init__(
            self, id, display_name=None, *, tooltip=None, default=None, min=None, max=None
        ):
            super().__init__(id, display_name, tooltip, default=default, min=min, max=max)


class Image:
    io_type = "IMAGE"
    Output = type("Output", (Socket,), {})


class NodeOutput:
    def __init__(self, *args):
        self.args = args

    @property
    def result(self):
        return self.args or None
