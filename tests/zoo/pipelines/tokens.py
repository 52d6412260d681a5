"""Tokenizers of every kind that pipelines use, of one token a character, and tiny random text encoders."""

import pytest
import torch

T = pytest.importorskip("transformers")
TemplateProcessing = pytest.importorskip("tokenizers.processors").TemplateProcessing

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?:;'\"()[]{}<>-_/\\|\n\t@#$%&*+=~"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 300}


def bytes_as_letters():
    """The alphabet of byte-level tokenizers."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def clip_tokens():
    letters = bytes_as_letters()
    words = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    return T.CLIPTokenizer(
        vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=77
    )


def clip(*, projection=False, width=32, out=32):
    kind = T.CLIPTextModelWithProjection if projection else T.CLIPTextModel
    ends = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513, "vocab_size": 514}
    return kind(T.CLIPTextConfig(**{**SIZES, "hidden_size": width}, **ends, projection_dim=out))


def t5_tokens(length=512):
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T.T5Tokenizer(
        vocab=words + [(c, -3.0) for c in LETTERS], model_max_length=length, extra_ids=0
    )


def t5(kind="T5", width=32):
    config = getattr(T, f"{kind}Config")(
        vocab_size=128, d_model=width, d_kv=8, d_ff=40, num_layers=2, num_heads=4
    )
    return getattr(T, f"{kind}EncoderModel")(config)


def qwen_tokens():
    tokens = T.Qwen2Tokenizer(
        vocab={c: i for i, c in enumerate(bytes_as_letters())}, merges=[], model_max_length=2048
    )
    marks = ["im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad"]
    tokens.add_special_tokens({"additional_special_tokens": [f"<|{m}|>" for m in marks]})
    tokens.chat_template = CHAT
    return tokens


def qwen3(causal=True, **sizes):
    kind = T.Qwen3ForCausalLM if causal else T.Qwen3Model
    return kind(T.Qwen3Config(**{**GROUPED, **sizes}, pad_token_id=255))


def qwen25_vl():
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2]}
    text = {**GROUPED, "rope_scaling": rope, "rope_parameters": {**rope, "rope_theta": 1e6}}
    del text["head_dim"]
    seen = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2}
    marks = {"image_token_id": 260, "video_token_id": 261, "vision_start_token_id": 258}
    config = T.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={**seen, "out_hidden_size": 32},
        **marks,
        vision_end_token_id=259,
    )
    return T.Qwen2_5_VLForConditionalGeneration(config)


def qwen3_vl(**sizes):
    seen = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2}
    config = T.Qwen3VLConfig(
        text_config={**GROUPED, **sizes},
        vision_config={**seen, "out_hidden_size": 32, "deepstack_visual_indexes": [0]},
    )
    return T.Qwen3VLModel(config)


def glm_tokens():
    tokens = qwen_tokens()
    tokens._tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 256)]
    )
    return tokens


def gemma_tokens():
    words = {w: i for i, w in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS])}
    tokens = T.GemmaTokenizer(vocab=words, merges=[])
    tokens._tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 2)]
    )
    tokens.chat_template = CHAT
    return tokens


def gemma2(kind="Gemma2", **sizes):
    return getattr(T, f"{kind}Model")(getattr(T, f"{kind}Config")(**{**GROUPED, **sizes}))


def bert_tokens():
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters)]
    return T.BertTokenizer(vocab={w: i for i, w in enumerate(words)}, model_max_length=77)


def bert():
    return T.BertModel(T.BertConfig(**SIZES, vocab_size=128))


def glm():
    return T.GlmModel(T.GlmConfig(**GROUPED, pad_token_id=255))


class Processor:
    """What a pipeline needs of a processor where there are no pictures."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, text=None, images=None, **settings):
        return self.tokenizer(text, **settings)

    def apply_chat_template(self, *args, **settings):
        said = self.tokenizer.apply_chat_template(*args, **settings)
        return (
            [said] if settings.get("tokenize") and not settings.get("return_dict", True) else said
        )


class ChatTokens(Processor):
    """ChatGLM's, which also counts positions."""

    def __call__(self, text=None, **settings):
        found = self.tokenizer(text, **settings)
        found["position_ids"] = torch.arange(found["input_ids"].shape[1])[None]
        found["position_ids"] = found["position_ids"].expand_as(found["input_ids"])
        return found


def chat_glm():
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

    model = ChatGLMModel(
        ChatGLMConfig(
            num_layers=2,
            padded_vocab_size=300,
            hidden_size=8,
            ffn_hidden_size=16,
            kv_channels=4,
            num_attention_heads=2,
            seq_length=256,
            multi_query_attention=True,
            multi_query_group_num=1,
            rmsnorm=True,
            add_qkv_bias=True,
            post_layer_norm=True,
            original_rope=True,
        )
    )
    rng = torch.Generator().manual_seed(0)
    for value in model.parameters():  # it leaves them as the memory was
        value.data = (
            torch.ones(value.shape)
            if value.ndim == 1
            else 0.2 * torch.randn(value.shape, generator=rng)
        )
    return model


def mistral():
    text = {**GROUPED, "model_type": "mistral", "num_hidden_layers": 3, "pad_token_id": 255}
    seen = {**SIZES, "model_type": "pixtral", "image_size": 16, "patch_size": 8, "head_dim": 8}
    config = T.Mistral3Config(text_config=text, vision_config=seen, image_token_index=262)
    return T.Mistral3ForConditionalGeneration(config)


def randomise(module, seed=0):
    """Random where a fresh network has zeros or nothing, so that no branch is dead."""
    rng = torch.Generator().manual_seed(seed)
    for value in module.parameters():
        if (value.ndim >= 2 and not value.any()) or not value.isfinite().all():
            value.data = 0.05 * torch.randn(value.shape, generator=rng)
    return module.eval().requires_grad_(False)


class Seeing(Processor):
    """A processor of texts and pictures: each picture is one token, where `image_pad` stands; it may tell which."""

    def __init__(self, tokenizer, patch=14, *, kinds=False):
        super().__init__(tokenizer)
        self.kinds = kinds
        self.look = self.image_processor = (
            T.models.qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil(
                patch_size=patch,
                size=dict.fromkeys(("shortest_edge", "longest_edge"), 4 * patch**2),
            )
        )

    def __call__(self, text=None, images=None, **settings):
        found = self.tokenizer(text, **settings)
        if self.kinds:
            found["mm_token_type_ids"] = (found["input_ids"] == 260).int()
        return T.BatchFeature(
            {**found, **({} if images is None else self.look(images, return_tensors="pt"))}
        )

    def batch_decode(self, *args, **settings):
        return self.tokenizer.batch_decode(*args, **settings)
