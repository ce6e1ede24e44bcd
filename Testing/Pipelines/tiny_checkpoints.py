"""Tiny random checkpoints of large models, in the layout of the real ones: the real classes load and run them."""

import json
from pathlib import Path

#: The tracker takes memories of 64 channels and nothing else, and features of more than that.
SIZE, PATCH, WIDTH, MEMORY = 56, 14, 128, 64


def write_sam3(folder: Path) -> Path:
    """A folder like ``facebook/sam3``: detector and tracker in one file, with a tokenizer. About 7 MB."""
    import torch
    from transformers import CLIPTokenizer, Sam3VideoConfig, Sam3VideoModel

    edge = SIZE // PATCH
    vision = {
        "model_type": "sam3_vision_model", "fpn_hidden_size": WIDTH, "scale_factors": [4.0, 2.0, 1.0, 0.5],
        "backbone_feature_sizes": [[4 * edge] * 2, [2 * edge] * 2, [edge] * 2],
        "backbone_config": {
            "model_type": "sam3_vit_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": SIZE, "patch_size": PATCH, "window_size": 2,
            "global_attn_indexes": [1], "pretrain_image_size": 28,
        },
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24,
        "projection_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
        "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1,
    }  # fmt: skip
    small = {"hidden_size": WIDTH, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    detector = {
        "model_type": "sam3", "vision_config": vision, "text_config": text, "geometry_encoder_config": small,
        "detr_encoder_config": small, "detr_decoder_config": {**small, "num_queries": 5},
        "mask_decoder_config": {"hidden_size": WIDTH, "num_attention_heads": 2},
    }  # fmt: skip
    tracker = {
        "model_type": "sam3_tracker_video", "vision_config": vision, "image_size": SIZE,
        "prompt_encoder_config": {"hidden_size": WIDTH, "image_size": SIZE, "patch_size": PATCH,
                                  "mask_input_channels": 4},
        "mask_decoder_config": {"hidden_size": WIDTH, "mlp_dim": 24, "num_attention_heads": 2,
                                "iou_head_hidden_dim": WIDTH, "iou_head_depth": 2},
        "memory_attention_hidden_size": WIDTH, "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 24, "memory_encoder_hidden_size": WIDTH,
        "memory_encoder_output_channels": MEMORY, "mask_downsampler_embed_dim": WIDTH, "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": WIDTH, "memory_fuser_intermediate_dim": 24,
        "memory_attention_rope_feat_sizes": [edge, edge],
    }  # fmt: skip
    torch.manual_seed(0)
    Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=tracker)).save_pretrained(folder)
    tokens = ["<|startoftext|>", "<|endoftext|>", *"tumorbain", "r</w>", "n</w>", "tu", "tum", "tumo", "tumor</w>"]
    words = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\nt u\ntu m\ntum o\ntumo r</w>\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    return folder


def write_medgemma(folder: Path) -> Path:
    """A folder like ``google/medgemma-1.5-4b-it``: Gemma 3 with its processor, tokenizer and chat template."""
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor, GemmaTokenizer
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
               "<end_of_image>", "<image_soft_token>"]
    vocab = {token: n for n, token in enumerate([*special, "\u2581", "\n", *map(chr, range(33, 127))])}
    named = {"boi_token": special[7], "eoi_token": special[8], "image_token": special[9]}
    tokenizer = GemmaTokenizer(vocab=vocab, merges=[], extra_special_tokens=named, **named)
    template = (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<start_of_image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    )
    pictures = Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    Gemma3Processor(image_processor=pictures, tokenizer=tokenizer, chat_template=template,
                    image_seq_length=4).save_pretrained(folder)  # fmt: skip
    text = {
        "vocab_size": len(vocab), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 16,
        "max_position_embeddings": 1024,
    }  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 7}
    torch.manual_seed(0)
    Gemma3ForConditionalGeneration(Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, boi_token_index=7, eoi_token_index=8,
        image_token_index=9, eos_token_id=[1, 6], bos_token_id=2, pad_token_id=0)).save_pretrained(folder)  # fmt: skip
    return folder
