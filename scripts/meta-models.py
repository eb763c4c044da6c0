"""Builds text-generation architectures that vLLM registers on PyTorch's meta device, from transformers' own
default configurations, and writes what is true of each: parameters, KV elements a token, elements of state.

No weights are downloaded and nothing is computed: modules on the meta device have shapes and no storage.

    meta-models.py build  OUT     one folder an architecture: config.json and truth.json
    meta-models.py report OUT DYNO FILE   what `dyno model --json` says of each, beside the truth, as a table
    meta-models.py classes FILE   the class defaults and synonyms that dyno's reader of config.json uses
"""

import dataclasses
import json
import os
import re
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402
from transformers.models.auto import modeling_auto as auto  # noqa: E402

TOWER = re.compile(
    r"(^|\.)(vision|visual|audio|image|multi_modal|multimodal|mm_|vit|tower|connector|aligner|projector|embed_vision|"
    r"embed_audio|qformer|query_tokens|language_projection|resampler|speech|video|vqmodel|vpm|merger|mlp1|adapter_|"
    r"image_newline|img_|encoder\.|talker|token2wav|code2wav|text_moe\.vision|mlp\.vision_moe)"
)
MTP = re.compile(r"(^|\.)(mtp|nextn|eh_proj|model\.mtp_layers)")


# Defaults with which a class cannot be built, or that leave out what its models are made of; sizes as published models
# of the family have them.
TYPICAL = {
    "DeepseekV2ForCausalLM": {"num_experts_per_tok": 6, "first_k_dense_replace": 1, "topk_method": "greedy"},
    "NemotronForCausalLM": {"num_key_value_heads": 8, "head_dim": 128},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "Lfm2ForCausalLM": {"num_hidden_layers": 16, "layer_types": ["conv", "conv", "full_attention", "conv"] * 4},
    "GraniteMoeHybridForCausalLM": {
        "layer_types": (["mamba"] * 7 + ["attention"]) * 4, "num_local_experts": 62, "num_experts_per_tok": 6,
        "intermediate_size": 512, "shared_intermediate_size": 1024, "num_key_value_heads": 8,
    },
    "BloomForCausalLM": {"hidden_size": 1024, "n_layer": 24, "n_head": 16},
    "Qwen4ExpForCausalLM": {
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    },
    "ExaoneMoeForCausalLM": {"sliding_window": 4096, "sliding_window_pattern": 4},
    "JambaForCausalLM": {"num_hidden_layers": 24},
    "Qwen3MoeForCausalLM": {"mlp_only_layers": [0, 3], "decoder_sparse_step": 2},
}

# Where the modules that transformers builds differ from what an engine loads.
MARKED = {
    "LongcatFlashForCausalLM": "transformers allocates gate and up projections for the 256 experts that compute nothing; "
    "checkpoints hold none (560 G parameters published)",
}


def registered():
    """(architecture, section) of vLLM's registry, read from its source so that no GPU library is imported."""
    import importlib.util

    spec = importlib.util.find_spec("vllm")
    path = os.path.join(os.path.dirname(spec.origin), "model_executor/models/registry.py")
    text = open(path).read()
    out = []
    for section in ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS"):
        start = text.index(section)
        out += [(a, section) for a in re.findall(r'"(\w+)":\s*\(', text[start : text.index("\n}", start)])]
    return out


def model_types():
    """architecture -> model types whose classes transformers has."""
    names = [n for n in dir(auto) if n.endswith("_MAPPING_NAMES")]
    wanted = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "SEQ_TO_SEQ", "MULTIMODAL", "CONDITIONAL")
    out = {}
    for name in names:
        if not any(w in name for w in wanted):
            continue
        for kind, classes in getattr(auto, name).items():
            for c in [classes] if isinstance(classes, str) else classes:
                out.setdefault(c, []).append(kind)
    return out


def kind_of(arch, kinds):
    """The model type that an architecture's class itself names."""
    cls = getattr(transformers, arch)
    own = getattr(getattr(cls, "config_class", None), "model_type", None)
    return cls, own if own in CONFIG_MAPPING else kinds[0]


def plain(x):
    return x if isinstance(x, (int, float, str, bool, type(None), list, dict)) else str(x)


def kv_elements(model, text_config):
    """Elements that one token adds to a KV cache, by layer path, read off the built modules."""
    out = {}
    for name, m in model.named_modules():
        if TOWER.search(name):
            continue
        children = dict(m.named_children())
        rows = lambda c: children[c].weight.shape[0]  # noqa: E731
        if "kv_a_proj_with_mqa" in children:
            out[name] = rows("kv_a_proj_with_mqa")
        elif "k_proj" in children and "q_proj" in children and hasattr(children["k_proj"], "weight"):
            if re.search(r"(indexer|linear_attn|compressor|lightning)", name) or "conv1d" in children:
                continue
            v = rows("v_proj") if "v_proj" in children and children["v_proj"] is not None else rows("k_proj")
            out[name] = rows("k_proj") + v
        else:
            fused = next((c for c in ("qkv_proj", "query_key_value", "Wqkv", "c_attn", "att_proj") if c in children), None)
            if fused and not re.search(r"(linear_attn|mamba)", name) and hasattr(children[fused], "weight"):
                w = children[fused].weight
                total = w.shape[0] if w.shape[1] == text_config.hidden_size else w.shape[1]
                if fused == "c_attn" and type(children[fused]).__name__ == "Conv1D":
                    total = w.shape[1]
                o = next(children[c] for c in ("o_proj", "dense", "out_proj", "c_proj", "attn_out") if c in children)
                q = o.weight.shape[1] if type(o).__name__ != "Conv1D" else o.weight.shape[0]
                out[name] = total - q
    return out


def index_bytes(model, config):
    """Bytes a token of the index caches of sparse attention: an FP8 key and a float32 scale for 128 of it."""
    total = 0.0
    for name, m in model.named_modules():
        if name.endswith("indexer") and hasattr(m, "wk"):
            width = m.wk.weight.shape[0]
            total += (width + 4 * -(-width // 128)) / (getattr(config, "index_kpool", None) or 1)
    return total


def compressed_kv(model, config):
    """DeepSeek-V4: bytes a token of compressed caches and their indexes, in the layout that vLLM keeps: an entry is FP8
    but for 64 rotary elements in 16 bits, with 8 bytes of scales."""
    rates = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
    total = 0.0
    for kind in config.layer_types:
        if kind in rates:
            total += (config.head_dim + 64 + 8) / rates[kind]
            if rates[kind] == 4:
                total += (config.index_head_dim + 4) / 4
    return total


def by_layer(model):
    """Distinct layers: {parameter name with the index cut: shape} -> indices; and what is outside layers."""
    layers, outside = {}, {}
    for name, p in model.named_parameters():
        m = re.match(r"(.*?(?:layers|h|blocks|block))\.(\d+)\.(.*)", name)
        if m and not TOWER.search(name):
            layers.setdefault(f"{m[1]}.{m[2]}", {})[m[3]] = list(p.shape)
        else:
            outside[name] = list(p.shape)
    kinds = {}
    for key, shapes in layers.items():
        kinds.setdefault(json.dumps(shapes), []).append(key)
    return kinds, outside


def build_one(arch, cls, kind, config):
    with torch.device("meta"):
        model = cls(config)
    text = config.get_text_config()
    names = dict(model.named_parameters())
    count = lambda f: sum(p.numel() for n, p in names.items() if f(n))  # noqa: E731
    towers = count(lambda n: bool(TOWER.search(n)))
    mtp = count(lambda n: not TOWER.search(n) and bool(MTP.search(n)))
    kv = kv_elements(model, text)
    kv_bytes = 2.0 * sum(kv.values()) + index_bytes(model, text)
    if kind == "hrm_text":
        # Each pass through a stack has a cache of its own.
        kv_bytes *= text.num_hidden_layers / len(kv)
    if kind == "deepseek_v4":
        kv_bytes = compressed_kv(model, text)
    kinds, outside = by_layer(model)
    return {
        "architecture": arch,
        "model_type": kind,
        "params_total": count(lambda n: True),
        "params_towers": towers,
        "params_mtp": mtp,
        "params_text": count(lambda n: True) - towers - mtp,
        "kv_bytes_per_token": kv_bytes,
        "marked": MARKED.get(arch),
        "kv_layers": len(kv),
        "kinds": [{"layers": v, "shapes": json.loads(k)} for k, v in kinds.items()],
        "outside": {k: v for k, v in outside.items() if not TOWER.search(k)},
    }


def build(out):
    types = model_types()
    for arch, section in registered():
        folder = os.path.join(out, arch)
        os.makedirs(folder, exist_ok=True)
        if arch not in types or not hasattr(transformers, arch):
            truth = {"architecture": arch, "section": section, "not_built": "transformers has no such class"}
        else:
            try:
                cls, kind = kind_of(arch, types[arch])
                config = CONFIG_MAPPING[kind](**TYPICAL.get(arch, {}))
                if getattr(cls, "config_class", None) and not isinstance(config, cls.config_class):
                    config = cls.config_class()
                config.architectures = [arch]
                truth = build_one(arch, cls, kind, config) | {"section": section}
                given = json.loads(config.to_json_string(use_diff=False))
                json.dump(given, open(os.path.join(folder, "config.json"), "w"), indent=1)
            except Exception as e:  # noqa: BLE001 - whatever the class raises is the answer
                truth = {"architecture": arch, "section": section, "not_built": f"{type(e).__name__}: {e}"[:300]}
        json.dump(truth, open(os.path.join(folder, "truth.json"), "w"), indent=1)
        print(arch, truth.get("not_built", f"{truth.get('params_text', 0) / 1e9:.3f} G"), flush=True)


# Keys that say nothing of sizes.
NO_SIZE = re.compile(
    r"(token|dropout|_id$|_ids$|_index$|coef|eps$|_std$|_range$|act$|activation|scal|norm_topk|theta|loss|factor|cache|"
    r"router_jitter|summary|jitter|softcap|resid|epsilon|limit|jit|kernel_size_|transformers_version|problem_type|clip|"
    r"^output_|return_dict|chunk_size_feed|scoring_func|feature_|^use_cache|initializer|logit|normaliz|temperature|step_|bias_update|dtype)"
)
KEEP = re.compile(r"(mamba_dt_rank|expand|time_step_rank)")


def class_of(kind):
    """What the reader needs of one class: defaults (null and false left out), synonyms, type of the text part."""
    cls = CONFIG_MAPPING[kind]
    out = {}
    defaults = {}
    for f in dataclasses.fields(cls):
        v = f.default
        if v is dataclasses.MISSING or v is None or v is False:
            continue
        if not isinstance(v, (int, bool, str, list, tuple)) or (isinstance(v, str) and len(v) > 40):
            continue
        if NO_SIZE.search(f.name) and not KEEP.search(f.name):
            continue
        defaults[f.name] = list(v) if isinstance(v, tuple) else v
    if defaults:
        out["defaults"] = defaults
    synonyms = {k: v for k, v in (getattr(cls, "attribute_map", None) or {}).items() if not NO_SIZE.search(k)}
    if synonyms:
        out["synonyms"] = synonyms
    try:
        text = cls().get_text_config(decoder=True)
        if text.model_type and text.model_type != kind:
            out["text"] = text.model_type
    except Exception:  # noqa: BLE001 - a class without usable defaults names no text part
        pass
    return out


def classes(file):
    """Classes of every decoder that transformers has, and the names of those that do not generate from a prompt alone."""
    types = model_types()
    causal = set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) | set(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    seq = set(auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES) | set(auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES)
    masked = set(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    for arch, _ in registered():
        if arch in types and hasattr(transformers, arch):
            causal.add(kind_of(arch, types[arch])[1])
    table, names = {}, {}
    todo = sorted(k for k in causal if k in CONFIG_MAPPING)
    while todo:
        kind = todo.pop()
        if kind in table or kind not in CONFIG_MAPPING:
            continue
        try:
            table[kind] = class_of(kind)
        except Exception:  # noqa: BLE001
            continue
        if "text" in table[kind]:
            todo.append(table[kind]["text"])
    decoder_first = lambda a: min(types[a], key=lambda k: (k not in table, len(k)))  # noqa: E731
    for arch in types:
        kind = decoder_first(arch)
        if hasattr(transformers, arch):
            kind = kind_of(arch, types[arch])[1]
        if kind in table:
            names[arch] = kind
    both = lambda k: getattr(CONFIG_MAPPING[k](), "is_encoder_decoder", False)  # noqa: E731
    encdec = sorted(k for k in seq if k in CONFIG_MAPPING and (k == "whisper" or both(k)))
    result = {
        "source": f"configuration classes of transformers {transformers.__version__} (Apache-2.0), defaults of their fields",
        "encoders": sorted((masked - set(encdec)) & set(CONFIG_MAPPING)),
        "encoder_decoders": encdec,
        "architectures": dict(sorted(names.items())),
        "classes": dict(sorted(table.items())),
    }
    with open(file, "w") as f:
        f.write("{\n")
        for key in ("source", "encoders", "encoder_decoders"):
            f.write(f"{json.dumps(key)}: {json.dumps(result[key])},\n")
        f.write('"architectures": {\n' + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in result["architectures"].items()) + "\n},\n")
        f.write('"classes": {\n' + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in result["classes"].items()) + "\n}\n}\n")


def report(out, dyno, file):
    """Holds dyno's reading of each config.json against what was built."""
    import glob
    import subprocess

    truths = [json.load(open(f)) for f in sorted(glob.glob(os.path.join(out, "*/truth.json")))]
    built = [t for t in truths if "not_built" not in t]
    names = [os.path.join(out, t["architecture"]) for t in built]
    run = subprocess.run([dyno, "model", "--json", *names], capture_output=True, text=True, check=True)
    rows, good, marked = [], 0, 0
    for t, m in zip(built, json.loads(run.stdout)):
        if "error" in m:
            rows.append((t, "refused", "", m["error"].splitlines()[-1].strip()[:120]))
            continue
        off = m["params"] / t["params_text"] - 1
        kv = m["kv_bytes_per_token"] - t["kv_bytes_per_token"]
        right = abs(off) <= 0.005 and abs(kv) < 1
        good += right
        marked += bool(t.get("marked")) and not right
        word = "" if right else t.get("marked") or "WRONG"
        rows.append((t, f"{m['params'] / 1e9:.3f} ({off:+.3%})", f"{m['kv_bytes_per_token']:.0f}", word))
    import importlib.metadata as meta

    version = subprocess.run([dyno, "--version"], capture_output=True, text=True).stdout.strip()
    with open(file, "w") as f:
        f.write(f"""# Sizes of models as dyno reads them, beside the modules that transformers builds

Written by `scripts/meta-models.py` with transformers {transformers.__version__}, PyTorch {torch.__version__} (meta device) and the registry of
vLLM {meta.version('vllm')}; {version}. Configurations are the classes' defaults; for a few architectures, whose defaults
cannot be built or leave out what their models are made of, typical sizes (`TYPICAL` in the script).

Of {len(truths)} architectures that vLLM registers for text generation (multimodal ones included) transformers has classes for
and built {len(built)}; the rest have their code on the hub or in vLLM alone, or could not be built (listed below). Parameters within 0.5 % and
KV bytes a token exact: **{good} of {len(built)}** ({good / len(built):.1%}); {marked} marked, {len(built) - good - marked} wrong or refused.

Parameters are of the language model, without towers; KV bytes a token in 16 bits over all layers, windows not applied, indexes of
sparse attention included. The truth of KV is read off the built projections, not off the configuration.

| architecture | built, G | dyno, G | KV built, bytes | KV dyno | |
|---|---|---|---|---|---|
""")
        for t, params, kv, word in rows:
            f.write(f"| {t['architecture']} | {t['params_text'] / 1e9:.3f} | {params} | {t['kv_bytes_per_token']:.0f} | {kv} | {word} |\n")
        f.write("\n## Not built\n\n")
        for t in truths:
            if "not_built" in t and "no such class" not in t["not_built"]:
                f.write(f"- {t['architecture']}: {t['not_built'].splitlines()[0][:140].strip()}\n")
        none = [t["architecture"] for t in truths if "no such class" in t.get("not_built", "")]
        f.write(f"\nNo class in transformers ({len(none)}): {', '.join(none)}.\n")
    print(good, "of", len(built))


if __name__ == "__main__":
    if sys.argv[1] == "report":
        report(*sys.argv[2:5])
    if sys.argv[1] == "classes":
        classes(sys.argv[2])
    if sys.argv[1] == "build":
        build(sys.argv[2])
