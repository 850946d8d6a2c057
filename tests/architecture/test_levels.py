"""Who may import whom: the table of docs/architecture.md, enforced."""

from __future__ import annotations

import sys

# A room is a file or a folder; the longest name that fits counts. `engines.__init__` is the factory itself.
LEVELS = {
    "errors": 0,
    "networks": 0,
    "options": 1,
    "types": 1,
    "models.card": 1,
    "imageio": 2,
    "decode": 2,
    "encode": 2,
    "png": 2,
    "metadata": 2,
    "geometry": 2,
    "tiles": 2,
    "contact_sheet": 2,
    "engines.base": 2,
    "engines.fake": 2,
    "engines.tflite_file": 3,
    "models.__init__": 2,
    "models.catalog": 2,
    "models.store": 2,
    "models.fetch": 2,
    "models.bundle": 2,
    "models.known": 2,
    "models.notes": 2,
    "models.recipes": 2,
    "models.onnx_file": 2,
    "models.onnx_weights": 2,
    "models.convert": 2,
    "refine": 3,
    "metrics": 3,
    "decisions": 3,
    "engines.onnx": 3,
    "engines.litert": 3,
    "engines.torch": 3,
    "segmenters.base": 3,
    "cutout_options": 4,
    "models.export": 4,
    "models.importing": 4,
    "engines.__init__": 4,
    "segmenters": 4,
    "detail.resample": 4,
    "detail.segs": 4,
    "segmenters.__init__": 5,
    "finish": 5,
    "detail": 5,
    "detail.__init__": 5,
    "comfyui.control": 5,
    "comfyui.convert": 5,
    "person": 6,
    "pipeline": 6,
    "anime": 6,
    "detail.diffusers": 6,
    "detail.diffusers_files": 6,
    "detail.diffusers_prompts": 6,
    "detail.diffusers_single": 6,
    "comfyui.sampling": 6,
    "batch": 7,
    "video": 7,
    "cluster": 7,
    "server": 7,
    "compat": 7,
    "doctor": 7,
    "quality": 7,
    "comfyui": 7,
    "cli": 8,
    "__main__": 8,
    "__init__": 8,
}

# Rooms of one level that may use each other all the same.
NEIGHBOURS = {
    ("imageio", "png"),
    ("imageio", "decode"),
    ("imageio", "encode"),
    ("decode", "metadata"),
    ("encode", "decode"),
    ("encode", "metadata"),
    ("encode", "png"),
    ("imageio", "metadata"),
    ("quality", "batch"),
    ("video", "batch"),
    ("cluster", "batch"),
    ("server", "batch"),
    ("server", "video"),
    ("__main__", "cli"),
}

# Arrows that the levels alone would allow.
NEVER = {
    ("segmenters", "refine"): "the pipeline composes segmenters and edge work",
    ("refine", "models"): "edge work never knows a model",
    ("refine", "segmenters"): "edge work never knows a model",
    ("engines", "models"): "an engine never knows a card",
    ("cli", "comfyui"): "the nodes are a door of their own",
    ("__init__", "comfyui"): "the nodes are a door of their own",
}
# The exceptions: a file that reads weights into networks knows no card either.
ALLOWED = {("engines.torch", "models.convert")}
NETWORKS_FOR = {"engines.torch", "models.convert", "models.known", "models.onnx_weights"}

# Third-party library -> the files or folders that may import it. A library that is not here is refused.
FREE = {"numpy", "PIL"}
HOMES = {
    "ai_edge_litert": ["engines/litert.py"],
    "av": ["video/library.py"],
    "click": ["cli/"],
    "comfy": ["comfyui/"],
    "diffusers": ["detail/diffusers_files.py", "detail/diffusers_single.py", "detail/diffusers_steppers.py"],
    "filelock": ["models/notes.py", "video/journal.py"],
    "flatbuffers": ["engines/litert.py"],
    "folder_paths": ["comfyui/"],
    "fsspec": ["batch/places.py"],
    "nodes": ["comfyui/"],
    "onnx": ["models/export.py"],
    "onnxruntime": ["engines/onnx.py"],
    "onnxscript": ["models/export.py"],
    "pillow_heif": ["decode.py", "imageio.py"],
    "ray": ["cluster.py"],
    "rich": ["cli/"],
    "safetensors": ["engines/torch.py", "models/convert.py", "networks/", "detail/", "comfyui/"],
    "scipy": ["refine/", "metrics.py", "detail/"],
    "starlette": ["server/"],
    "torch": [
        "engines/torch.py",
        "models/convert.py",
        "models/export.py",
        "models/known.py",
        "models/onnx_weights.py",
        "networks/",
        "detail/",
        "comfyui/",
        "refine/alpha_torch.py",
    ],
    "transformers": ["detail/diffusers_files.py", "detail/diffusers_prompts.py", "detail/diffusers_single.py"],
    "uvicorn": ["server/"],
    "zlib_ng": ["png.py"],
}


def _key(module):
    """The name under which a module stands in the tables."""
    return f"{module.name}.__init__".lstrip(".") if module.path.name == "__init__.py" else module.name


def _level(key):
    """The level of the longest entry that fits; None where there is none."""
    name = key
    while name:
        if name in LEVELS:
            return LEVELS[name]
        name = name.rpartition(".")[0]
    return None


def _target_key(name, modules):
    return next(_key(module) for module in modules if module.name == name)


def test_every_file_has_a_level(module):
    assert _level(_key(module)) is not None, (
        f"maskwright/{module.file} has no level: enter it in LEVELS of tests/architecture/test_levels.py "
        "and in the table of docs/architecture.md"
    )


def test_imports_point_downwards(module, modules, known):
    key = _key(module)
    level = _level(key)
    if level is None:
        return  # the test above speaks of it
    wrong = []
    for line, name in module.ours(known):
        if name not in known:
            continue  # a file that is not there fails elsewhere
        target = _target_key(name, modules)
        room, other = key.partition(".")[0], target.partition(".")[0]
        if room == other or (room, other) in NEIGHBOURS or _level(target) is None:
            continue
        if _level(target) >= level:
            wrong.append(f"{module.file}:{line} (level {level}) imports {name} (level {_level(target)})")
    assert not wrong, "\n".join(wrong)


def test_arrows_that_must_not_be(module, known):
    room = module.room or "__init__"
    wrong = []
    for line, name in module.ours(known):
        other = name.partition(".")[0]
        reason = None if (module.name, name) in ALLOWED else NEVER.get((room, other))
        if other == "comfyui" and room != "comfyui":
            reason = "comfyui is imported by nobody but the repository's __init__.py"
        named = not module.name  # the package's own __init__ only names it, for type checkers
        if other == "networks" and room != "networks" and not named and module.name not in NETWORKS_FOR:
            reason = f"networks are used by {', '.join(sorted(NETWORKS_FOR))} alone"
        if reason:
            wrong.append(f"{module.file}:{line} imports {name}: {reason}")
    assert not wrong, "\n".join(wrong)


def test_no_circles(modules, known):
    # The package's own __init__ is lazy: the arrows in it are for type checkers.
    arrows = {module.name: {name for _, name in module.ours(known) if name in known} for module in modules}
    arrows.pop("", None)
    done: set[str] = set()

    def walk(name, trail):
        assert name not in trail, "a circle of imports: " + " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(arrows.get(name, set()) - {name}):
                walk(other, [*trail, name])
            done.add(name)

    for name in sorted(arrows):
        walk(name, [])


def test_imports_of_ours_exist(module, modules, known):
    missing = [
        f"{module.file}:{line} imports {name or 'the package itself'}"
        for line, name in module.ours(known)
        if name not in known
    ]
    assert not missing, "\n".join(missing)


def test_third_party_homes(module):
    wrong = []
    for line, name in module.others():
        library = name.partition(".")[0]
        if library in sys.stdlib_module_names or library in FREE or library == "maskwright":
            continue
        homes = HOMES.get(library)
        if homes is None:
            wrong.append(
                f"{module.file}:{line} imports {library}, which has no home: give it one in HOMES of "
                "tests/architecture/test_levels.py and a row in docs/dependencies.md"
            )
        elif not any(module.file == home or (home[-1] == "/" and module.file.startswith(home)) for home in homes):
            wrong.append(f"{module.file}:{line} imports {library}, whose home is {', '.join(homes)}")
    assert not wrong, "\n".join(wrong)


def test_only_relative_imports_of_ours(module):
    """ComfyUI loads the package under another name: an absolute import would make a second copy."""
    wrong = [f"{module.file}:{line}" for line, name in module.others() if name.partition(".")[0] == "maskwright"]
    assert not wrong, "\n".join(wrong)
