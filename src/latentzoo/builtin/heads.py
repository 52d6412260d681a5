r"""Heads of balls and boxes: a world in three dimensions whose truth is known.

A head is seventeen balls (ellipsoids) and four boxes. It is a function of the numbers in
:data:`NUMBERS`, each uniform in [0, 1], so that a batch of them is any number of heads. A ray
:math:`o + t d` meets a ball of centre :math:`c` and half axes :math:`h` at

.. math:: t = \frac{-b - \sqrt{b^2 - a e}}{a}, \qquad a = \Big|\frac{d}{h}\Big|^2, \quad
    b = \frac{d}{h} \cdot \frac{o - c}{h}, \quad e = \Big|\frac{o - c}{h}\Big|^2 - 1

and a box where it has entered between the last of its three pairs of planes. The nearest surface is seen, in the
light :math:`0.6 + 0.4 \max(0, n \cdot l)` of a lamp at the upper left that does not move with the camera.

The world is that of `latentzoo.views.camera`: y upwards, the face looks along z, the head at the origin.

References:
    | An Introduction to Ray Tracing (Glassner, 1989)
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from latentzoo.nn.volume import pixels, rays
from latentzoo.views.camera import Camera

CAMERA = Camera(fov=30.0, radius=4.0, pivot=(0.0, 0.0, 0.0))
"""From where the heads are looked at."""

EXTENT = 1.2
"""Half the side of a cube around the origin that holds what the camera sees of a head."""

LAMP = (-0.4, 0.7, 0.6)
NUMBERS = {
    "skin": 2,
    "hair": 2,
    "hat_color": 3,
    "cloth": 3,
    "background": 3,
    "iris": 1,
    "shape": 3,
    "bald": 1,
    "length": 1,
    "eyes": 2,
    "nose": 2,
    "mouth": 2,
    "shoulders": 1,
    "box_body": 1,
    "hat": 1,
    "glasses": 1,
}
"""What a head is made of: how many numbers decide each property."""


class Heads(NamedTuple):
    """Solids and their colours; what a head does not have is a speck inside it.

    Attributes:
        balls: Centres and half axes, with shape (B, 17, 2, 3).
        boxes: Centres and half sides, with shape (B, 4, 2, 3).
        colour: The colours of both in [0, 1], with shape (B, 21, 3).
        background: The colour behind the head, with shape (B, 3).
    """

    balls: Tensor
    boxes: Tensor
    colour: Tensor
    background: Tensor


def numbers(u: Float[Tensor, "B K"]) -> dict[str, Tensor]:
    """The properties by name, each (B, n), of uniform numbers (B, K = 29)."""
    return dict(zip(NUMBERS, u.split(list(NUMBERS.values()), dim=1), strict=True))


def assemble(u: Float[Tensor, "B K"]) -> Heads:
    """The heads of uniform numbers (B, K = 29), those of :data:`NUMBERS` in their order."""
    n = numbers(u)

    def solid(*centre: Tensor | float, half: tuple[Tensor | float, ...]) -> Tensor:
        parts = [torch.as_tensor(x).to(u).expand(len(u)) for x in (*centre, *half)]
        return torch.stack(parts, dim=1).unflatten(1, (2, 3))

    def only(where: Tensor, solid: Tensor) -> Tensor:
        speck = solid.new_tensor([[0.0, 0.0, 0.0], [0.01, 0.01, 0.01]])
        return torch.where(where[:, None, None], solid, speck)

    def between(name: str, low: float, high: float, i: int = 0) -> Tensor:
        return low + (high - low) * n[name][:, i]

    def mix(a: tuple[float, ...], b: tuple[float, ...], share: Tensor) -> Tensor:
        return torch.lerp(u.new_tensor(a), u.new_tensor(b), share[:, None])

    w, h = between("shape", 0.40, 0.54), between("shape", 0.50, 0.62, 1)
    d = between("shape", 0.46, 0.56, 2)
    eye, size = between("eyes", 0.15, 0.23), between("eyes", 0.08, 0.12, 1)

    def depth(x: Tensor | float, y: float) -> Tensor:
        return d * (1 - (x / w) ** 2 - (y / h) ** 2).clamp(min=0.05).sqrt()

    front, thick, long = depth(eye, 0.08), between("bald", -0.10, 0.10), n["length"][:, 0]
    mouth, lips = between("mouth", 0.08, 0.21), between("mouth", 0.03, 0.09, 1)
    wide, boxy = between("shoulders", 0.55, 0.90), n["box_body"][:, 0] < 0.4
    nose = between("nose", 0.05, 0.09), between("nose", 0.07, 0.17, 1)
    hat, glasses = n["hat"][:, 0], n["glasses"][:, 0] < 0.35
    cap, top = (hat > 0.4) & (hat < 0.7), hat > 0.7
    pairs = [
        solid(side * x, y, z, half=half)
        for x, y, z, half in (
            (w, -0.02, 0.0, (0.06, 0.12, 0.08)),
            (eye, 0.08, front - 0.03, (size, size, size)),
            (eye, 0.08, front + size - 0.06, (0.6 * size, 0.6 * size, 0.5 * size)),
            (eye, 0.25, depth(eye, 0.25), (0.11, 0.025, 0.05)),
        )
        for side in (-1, 1)
    ]
    balls = [
        solid(0, 0, 0, half=(w, h, d)),
        solid(0, -0.65, -0.05, half=(0.19, 0.30, 0.19)),
        only(~boxy, solid(0, -1.25, -0.05, half=(wide, 0.50, 0.42))),
        solid(0, 0.13, -0.15, half=(w + thick, h + thick, d + thick)),
        only(
            thick > -0.03,
            solid(0, -0.1 - 0.4 * long, -0.26, half=(w + 0.07, 0.35 + 0.4 * long, 0.30)),
        ),
        *pairs,
        solid(0, -0.09, d + 0.01, half=(nose[0], 0.10, nose[1])),
        solid(0, -0.29, depth(0.0, -0.29), half=(mouth, lips, 0.06)),
        only(cap, solid(0, 0.50, -0.04, half=(w + 0.10, 0.36, d + 0.10))),
        only(cap, solid(0, 0.88, -0.04, half=(0.12, 0.12, 0.12))),
    ]
    boxes = [
        only(boxy, solid(0, -1.22, -0.05, half=(0.9 * wide, 0.42, 0.32))),
        only(top, solid(0, 0.70, -0.02, half=(0.36, 0.26, 0.36))),
        only(top, solid(0, 0.43, -0.02, half=(w + 0.16, 0.04, d + 0.14))),
        only(glasses, solid(0, 0.08, front + 0.10, half=(eye + 0.13, 0.085, 0.05))),
    ]
    skin = mix((0.36, 0.22, 0.15), (1.0, 0.85, 0.72), n["skin"][:, 0])
    skin = skin * mix((1.0, 0.95, 0.82), (1.0, 1.0, 1.0), n["skin"][:, 1])
    hair = mix((0.10, 0.07, 0.06), (0.90, 0.75, 0.45), n["hair"][:, 0] ** 1.5)
    hair = hair * mix((1.0, 0.65, 0.55), (1.0, 1.0, 1.0), n["hair"][:, 1])
    iris = mix((0.15, 0.08, 0.05), (0.15, 0.45, 0.70), n["iris"][:, 0])
    fabric, cloth = 0.05 + 0.9 * n["hat_color"], 0.05 + 0.9 * n["cloth"]
    white, dark, red = (
        u.new_tensor(c).expand(len(u), 3)
        for c in ((0.95, 0.95, 0.95), (0.08, 0.08, 0.10), (0.75, 0.22, 0.25))
    )
    colours = [skin, 0.9 * skin, cloth, hair, hair]
    colours += [skin, skin, white, white, iris, iris, 0.7 * hair, 0.7 * hair]
    colours += [0.93 * skin, red, fabric, 1 - fabric, cloth, fabric, fabric, dark]
    return Heads(
        torch.stack(balls, dim=1),
        torch.stack(boxes, dim=1),
        torch.stack(colours, dim=1),
        0.55 + 0.4 * n["background"],
    )


def draw(count: int, stream: torch.Generator) -> Heads:
    """The next heads of a stream of random numbers."""
    return assemble(torch.rand(count, sum(NUMBERS.values()), generator=stream))


def cast(
    heads: Heads, origin: Float[Tensor, "B N 3"], direction: Float[Tensor, "B N 3"]
) -> Float[Tensor, "B N 3"]:
    """The colours (B, N, 3) that rays see."""
    centre, half = heads.balls.unbind(2)
    inverse = half**-2
    a = direction.square() @ inverse.mT
    b = (origin * direction) @ inverse.mT - direction @ (centre * inverse).mT
    e = origin.square() @ inverse.mT - 2 * origin @ (centre * inverse).mT
    e = e + (centre.square() * inverse).sum(dim=2)[:, None] - 1
    inside = b.square() - a * e
    balls = torch.where(inside > 0, (-b - inside.clamp(min=0).sqrt()) / a, torch.inf)
    middle, side = (x[:, None] for x in heads.boxes.unbind(2))
    ahead = direction[:, :, None]
    ahead = torch.where(ahead.abs() < 1e-6, 1e-6, ahead)
    gap, width = (middle - origin[:, :, None]) / ahead, side / ahead.abs()
    enter, leave = (gap - width).amax(dim=3), (gap + width).amin(dim=3)
    boxes = torch.where(enter < leave, enter, torch.inf)
    t, which = torch.cat([balls, boxes], dim=2).min(dim=2)
    hit = t.isfinite()
    solids = torch.cat([heads.balls, heads.boxes], dim=1)
    met = solids.flatten(2).gather(1, which[..., None].expand(-1, -1, 6))
    local = (origin + t.nan_to_num(posinf=0.0)[..., None] * direction - met[..., :3]) / met[
        ..., 3:
    ]
    flat = local.sign() * (local.abs() == local.abs().amax(dim=2, keepdim=True))
    on_ball = (which < balls.shape[2])[..., None]
    normal = F.normalize(torch.where(on_ball, local / met[..., 3:], flat), dim=2)
    lamp = F.normalize(origin.new_tensor(LAMP), dim=0)
    light = 0.6 + 0.4 * (normal @ lamp).clamp(min=0)
    colour = heads.colour.gather(1, which[..., None].expand(-1, -1, 3)) * light[..., None]
    return torch.where(hit[..., None], colour, heads.background[:, None])


def picture(heads: Heads, camera: Camera, size: int = 64) -> Float[Tensor, "B 3 H W"]:
    """The pictures (B, 3, size, size) of heads, from one camera or one each."""
    camera, like = camera.over(CAMERA), heads.background
    pose = camera.pose(like).expand(len(like), -1, -1)
    half = math.tan(math.radians(camera.fov or 0.0) / 2)
    origin, direction = rays(pose, half * pixels(size, like=like)[None])
    seen = cast(heads, origin[:, None].expand_as(direction), direction)
    return seen.mT.unflatten(2, (size, size))
