"""What no file of the package does, or only one of them."""

from __future__ import annotations

import ast

DOORS = ("cli/", "batch/", "cluster.py", "server/", "comfyui/", "compat/")
NATIVE = ("refine/elimination.py",)  # sets the number of threads of a library that SciPy has loaded
NETWORK = ("cluster.py", "models/store.py", "models/fetch.py", "server/")  # the files that may reach out of the process

DANGEROUS_IMPORTS = {
    "pickle",
    "cPickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "cloudpickle",
    "imp",
    "runpy",
}
PROCESS_IMPORTS = {"subprocess", "multiprocessing", "ctypes"}
NETWORK_IMPORTS = {"http", "urllib", "socket", "ssl", "ftplib", "requests", "httpx", "urllib3"}
DANGEROUS_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.execvp"}
CONSOLE_CALLS = {"print", "input", "sys.exit", "exit", "quit", "os._exit"}


def _stands_in(module, places):
    return any(module.file == place or (place.endswith("/") and module.file.startswith(place)) for place in places)


def _calls(module, names):
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield f"{module.file}:{node.lineno} {ast.unparse(node.func)}()"


def _imports(module, libraries):
    for line, name in module.others():
        if name.partition(".")[0] in libraries:
            yield f"{module.file}:{line} imports {name}"


def test_only_the_command_line_talks_to_the_console(module):
    found = list(_calls(module, CONSOLE_CALLS))
    found += [
        f"{module.file}:{node.lineno} raise SystemExit"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc)
    ]
    assert not found or _stands_in(module, ("cli/",)), "\n".join(found)


def test_no_assert(module):
    """`python -O` drops them: input is checked with errors of ours."""
    found = [f"{module.file}:{node.lineno}" for node in ast.walk(module.tree) if isinstance(node, ast.Assert)]
    assert not found, "\n".join(found)


def test_broad_except_only_at_the_doors(module):
    """Elsewhere it would hide a bug. A handler that cleans up and raises again hides nothing."""
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = "" if node.type is None else ast.unparse(node.type)
        broad = not caught or caught in ("Exception", "BaseException")
        again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if broad and not again:
            found.append(f"{module.file}:{node.lineno} except {caught}")
    assert not found or _stands_in(module, DOORS), "\n".join(found)


def test_nothing_runs_code_from_data(module):
    found = [*_calls(module, DANGEROUS_CALLS), *_imports(module, DANGEROUS_IMPORTS)]
    assert not found, "\n".join(found)


def test_only_the_store_starts_programs_or_reaches_the_network(module):
    found = [*_imports(module, PROCESS_IMPORTS | NETWORK_IMPORTS)]
    # The names of a URL's parts are no network, and the number of threads of dense algebra is no process.
    found = [line for line in found if not line.endswith("imports urllib.parse")]
    if _stands_in(module, NATIVE):
        found = [line for line in found if not line.endswith("imports ctypes")]
    assert not found or _stands_in(module, NETWORK), "\n".join(found)


def test_torch_load_reads_weights_only(module):
    found = [
        f"{module.file}:{node.lineno}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("torch.load")
        and not any(keyword.arg == "weights_only" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)
    ]
    assert not found, "torch.load without weights_only=True: " + ", ".join(found)


def test_modules_are_imported_by_name(module):
    """An import by string hides an arrow from the levels. The package's own __init__ needs it to be lazy."""
    found = list(_calls(module, {"import_module", "importlib.import_module"}))
    assert not found or module.name == "", "\n".join(found)


def test_size(module):
    """A generous ceiling: past it a file or function is doing two things."""
    lines = module.path.read_text(encoding="utf-8").count("\n")
    assert lines <= 600, f"{module.file} has {lines} lines; 600 are the most"
    long = [
        f"{module.file}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 80
    ]
    assert not long, "more than 80 lines: " + ", ".join(long)
