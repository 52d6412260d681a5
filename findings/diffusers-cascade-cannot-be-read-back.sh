#!/usr/bin/env bash
# Expected: what StableCascadeDecoderPipeline.save_pretrained writes, from_pretrained of the same version reads, as of
# the other pipelines that diffusers exports; its decoder of pictures is declared as ["wuerstchen", "PaellaVQModel"].
# Seen (diffusers 0.42.1, transformers 5.23.0): the class of that decoder was moved to a package of retired pipelines.
# The index that is written declares it elsewhere, and reading it back is an error:
#     vqgan is declared as ['diffusers', 'PaellaVQModel'], and reading it ends in ValueError
# The pipeline itself says that it is no longer maintained, but not that it cannot be read.
# Minded in: src/latentzoo/zoo/pipelines/files.py (at_home), which lends such parts under the names that
# repositories have.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    diffusers==0.42.1 transformers==5.23.0 torch==2.13.0
"$folder/venv/bin/python" -W ignore - "$folder/saved" 2> "$folder/log" <<'END' || { tail -n 1 "$folder/log"; exit 1; }
import inspect
import json
import sys

from diffusers import DDPMWuerstchenScheduler, StableCascadeDecoderPipeline

folder, network = sys.argv[1], inspect.signature(StableCascadeDecoderPipeline).parameters["vqgan"].annotation
pipe = StableCascadeDecoderPipeline(
    decoder=None,
    tokenizer=None,
    text_encoder=None,
    scheduler=DDPMWuerstchenScheduler(),
    vqgan=network(bottleneck_blocks=1, num_vq_embeddings=12, embed_dim=8),
)
pipe.save_pretrained(folder)
with open(f"{folder}/model_index.json") as file:
    declared = json.load(file)["vqgan"]
try:
    StableCascadeDecoderPipeline.from_pretrained(folder)
    end = "equal weights"
except Exception as error:
    end = type(error).__name__
print(f"vqgan is declared as {declared}, and reading it ends in {end}")
if (declared, end) != (["diffusers", "PaellaVQModel"], "ValueError"):
    sys.exit("diffusers has changed: look whether files.at_home is still needed")
END
