"""Public names: `__all__`, docstrings, annotations."""

from __future__ import annotations

import ast
import importlib

import pytest

import maskwright


def _public_definitions(tree):
    """Functions, classes and methods a user may call, with the class they stand in."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield None, node
            if isinstance(node, ast.ClassDef):
                yield from (
                    (node, method)
                    for method in node.body
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_")
                )


def _where(module, node):
    return f"{module.file}:{node.lineno} {node.name}"


def test_package_names_are_alphabetical():
    assert maskwright.__all__ == sorted(maskwright.__all__)


def test_package_names_are_the_lazy_ones():
    assert {*maskwright.__all__, "networks"} == {*maskwright._MODULES, *maskwright._NAMES}


@pytest.mark.parametrize("name", maskwright.__all__)
def test_package_names_exist(name):
    assert getattr(maskwright, name) is not None
    assert name in dir(maskwright)


def test_package_has_no_other_names():
    with pytest.raises(AttributeError, match="has no attribute 'matte'"):
        maskwright.matte  # noqa: B018


def test_public_names_are_listed(module):
    if module.name in ("", "__main__"):
        pytest.skip("its names are tested above" if not module.name else "a script")
    public = [node for owner, node in _public_definitions(module.tree) if owner is None]
    try:
        imported = importlib.import_module(module.import_name)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "maskwright":
            raise
        pytest.skip(f"needs {error.name}")
    listed = getattr(imported, "__all__", None)
    assert listed is not None or not public, f"{module.file} has public names but no __all__"
    for name in listed or ():
        assert hasattr(imported, name), f"{module.file}: __all__ names {name}, which is not there"
    forgotten = [node.name for node in public if node.name not in (listed or ()) and not _is_command(node)]
    assert not forgotten, f"{module.file}: neither private nor in __all__: {', '.join(forgotten)}"


def _is_command(node):
    """A function that Click calls by the command's name is not there to be imported."""
    decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())]
    return any(text.partition("(")[0].endswith((".command", ".group")) for text in decorators)


def test_docstrings(module):
    missing = [
        _where(module, node)
        for owner, node in _public_definitions(module.tree)
        if not ast.get_docstring(node) and not _is_overridden(owner, node)
    ]
    if not ast.get_docstring(module.tree) and module.tree.body:
        missing.append(f"{module.file}: the file itself")
    assert not missing, "no docstring: " + ", ".join(missing)


def _is_overridden(owner, node):
    """A decorated setter or overload says nothing that its first definition does not say."""
    decorators = {ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())}
    return any(text.endswith((".setter", "overload", "override")) for text in decorators)


def test_annotations(module):
    wrong = []
    for owner, node in _public_definitions(module.tree):
        if isinstance(node, ast.ClassDef):
            continue
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
        if owner is not None and not static:
            named = named[1:]
        rest = [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        wrong += [f"{_where(module, node)}({each.arg})" for each in [*named, *rest] if each.annotation is None]
        if node.returns is None:
            wrong.append(f"{_where(module, node)} -> ?")
    assert not wrong, "not annotated: " + ", ".join(wrong)
