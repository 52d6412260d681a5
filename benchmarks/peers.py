"""What this build costs beside another: the build of a commit, or the plainest code that does the same.

    python benchmarks/peers.py [PAIR...] [--commit=62df9fc] [--turns=7]

The two sides of a pair work in processes of their own, with one thread each, and in turns; their
processor seconds (or MB) are compared turn by turn. The other build is a git worktree in a temporary
folder. Prints both medians, and the median, least and largest of the ratios; without names, all pairs.
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = "this build"
PAIRS: dict[str, tuple[str, str, str | None]] = {
    "U-Net with attention, forward": ("unet(forward)", "unet(forward)", None),
    "U-Net with attention, gradient": ("unet(gradient)", "unet(gradient)", None),
    "U-Net with attention, MB kept": ("unet(kept)", "unet(kept)", None),
    "avatar-ldm, 4 chains": ("avatar('avatar-ldm', 4)", "avatar('avatar-ldm', 4)", None),
    "avatar-ddpm, 1 chain": ("avatar('avatar-ddpm', 1)", "avatar('avatar-ddpm', 1)", None),
    "8 copies, 256 px": ("copies(256, 8)", "copies(256, 8)", None),
    "4 copies, 1024 px": ("copies(1024, 4)", "copies(1024, 4)", None),
    "8 copies, four together": ("copies(256, 8, together=4)", "copies(256, 8)", HERE),
    "8 copies, eight together": ("copies(256, 8, together=8)", "copies(256, 8)", HERE),
    "a step with 50 copies, one batch": ("guided(50)", "guided_at_once(50)", HERE),
    "the same, copies together": ("guided(50, 50)", "guided_at_once(50)", HERE),
    "avatar-ldm, 10 steps again": (
        "steps.steps('avatar-ldm', True)",
        "steps.steps('avatar-ldm', False)",
        HERE,
    ),
    "avatar-ldm, 10 steps lean": (
        "steps.steps('avatar-ldm', 'lean')",
        "steps.steps('avatar-ldm', False)",
        HERE,
    ),
    "avatar-ldm, 4 chains, lean": (
        "steps.steps('avatar-ldm', 'lean', 4)",
        "steps.steps('avatar-ldm', False, 4)",
        HERE,
    ),
    "the U-Net, MB kept lean": ("steps.kept(lean=True)", "steps.kept(lean=False)", HERE),
    "3 steps of the U-Net lean": ("steps.wide('lean')", "steps.wide(False)", HERE),
    "the same, MB at the peak": (
        "steps.at_peak(steps.wide('lean'))",
        "steps.at_peak(steps.wide(False))",
        HERE,
    ),
    "3 steps of the U-Net again": ("steps.wide(True)", "steps.wide(False)", HERE),
    "again, MB at the peak": (
        "steps.at_peak(steps.wide(True))",
        "steps.at_peak(steps.wide(False))",
        HERE,
    ),
    "torch's selective": (
        "steps.selective(steps.network(), steps.START)",
        "steps.wide(False)",
        HERE,
    ),
    "torch's selective, MB": (
        "steps.at_peak(steps.selective(steps.network(), steps.START))",
        "steps.at_peak(steps.wide(False))",
        HERE,
    ),
    "torch's selective, avatar-ldm": (
        "steps.selective(*steps.avatars())",
        "steps.narrow(False)",
        HERE,
    ),
    "lean, avatar-ldm's U-Net": ("steps.narrow('lean')", "steps.narrow(False)", HERE),
    "again, avatar-ldm's U-Net": ("steps.narrow(True)", "steps.narrow(False)", HERE),
    "resize, 1024 px, interpolate": ("resize(1024)", "interpolate(1024)", HERE),
    "StyleGAN2, 1 chain": ("stylegan2(1)", "stylegan2(1)", None),
    "StyleGAN2, 4 chains": ("stylegan2(4)", "stylegan2(4)", None),
    "anneal, latents a chain": ("latents(anneal)", "latents(anneal)", None),
    "anneal, latents, ten lines": ("latents(anneal)", "ten_line_latents()", HERE),
    "the same of 50 x 49152, 16 chains": (
        "latents(anneal, 50 * 49_152, 16, steps=8)",
        "ten_line_latents(50 * 49_152, 16)",
        HERE,
    ),
    "preconditioned, latents": (
        "latents(lambda: anneal(precondition='auto'), dim=20_000, chains=16, steps=100)",
        "latents(lambda: anneal(precondition='auto'), dim=20_000, chains=16, steps=100)",
        None,
    ),
    "anneal 1 x 512": ("walk('anneal', 1, 512)", "walk('anneal', 1, 512)", None),
    "anneal 1 x 512, ten lines": ("walk('anneal', 1, 512)", "ten_lines(1, 512)", HERE),
    "anneal 256 x 512": ("walk('anneal', 256, 512)", "walk('anneal', 256, 512)", None),
    "anneal 256 x 512, ten lines": ("walk('anneal', 256, 512)", "ten_lines(256, 512)", HERE),
    "anneal 1 x 512, operations": (
        "operations(walk('anneal', 1, 512))",
        "operations(ten_lines(1, 512))",
        HERE,
    ),
    "needed 1 x 512, ten lines": ("needed(1, 512)", "ten_lines(1, 512)", HERE),
    "needed 256 x 512, ten lines": ("needed(256, 512)", "ten_lines(256, 512)", HERE),
    "a file of torch.save": (
        "checkpoint('torch', 'seconds')",
        "checkpoint('torch', 'seconds')",
        None,
    ),
    "its checksum alone": (
        "checkpoint('torch', 'checksum')",
        "checkpoint('torch', 'seconds')",
        None,
    ),
    "a file of safetensors": (
        "checkpoint('safetensors', 'seconds')",
        "checkpoint('safetensors', 'seconds')",
        None,
    ),
    "the same, peak / size": (
        "checkpoint('safetensors', 'peak')",
        "checkpoint('safetensors', 'peak')",
        None,
    ),
    "noise 16 x 49152, randn": ("noise(16, 49152)", "randn(16, 49152)", HERE),
    "latentzoo --help": ("command('--help')", "command('--help')", None),
    "latentzoo list": ("command('list')", "command('list')", None),
    "latentzoo list, import torch": ("command('list')", "python('-c', 'import torch')", HERE),
}
"""What is measured of this build, and of what it is compared with: another commit, unless it says where."""


def serve(load: str) -> None:
    """Sets a load up and measures a turn of it for each line that comes in."""
    import torch

    import loads
    import walks

    torch.set_num_threads(1)
    torch.manual_seed(0)
    names = {"steps": import_module("steps")} if "steps." in load else {}  # of this build alone
    turn = eval(load, vars(loads) | vars(walks) | names)
    gc.collect()
    gc.freeze()  # a look through all that was imported is no part of a turn
    for _ in sys.stdin:
        began = time.process_time()
        found = turn()
        print(time.process_time() - began if found is None else found, flush=True)


@contextmanager
def worker(load: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--serve", load]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield process  # it ends with its input


def ask(process: subprocess.Popen[str]) -> float:
    assert process.stdin and process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def compare(name: str, other: Path, turns: int) -> None:
    ours, theirs, where = PAIRS[name]
    with worker(ours, ROOT) as a, worker(theirs, ROOT if where else other) as b:
        [ask(side) for side in (a, b)]  # the first turn warms up
        rows = [(ask(a), ask(b)) for _ in range(turns)]
    one, two = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = [x / y for x, y in rows]
    spread = f"{statistics.median(ratios):6.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
    print(f"{name:32s} {one:10.4f} {two:10.4f} {spread}", flush=True)


def main(options: argparse.Namespace) -> None:
    for name in options.pairs:
        if name not in PAIRS:
            raise SystemExit(f"unknown pair '{name}'; choose of: {'; '.join(PAIRS)}")
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "build"
        add = [*git, "add", "--quiet", "--detach", str(other), options.commit]
        subprocess.run(add, check=True)
        try:
            print(f"{'pair':32s} {'ours':>10s} {'theirs':>10s}  ratio (least-largest)")
            for name in options.pairs or PAIRS:
                compare(name, other, options.turns)
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pairs", nargs="*")
    parser.add_argument("--commit", default="62df9fc")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--serve")
    options = parser.parse_args()
    serve(options.serve) if options.serve else main(options)
