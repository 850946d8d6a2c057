"""Models: what is known of them (`catalog`), and where their weights lie (`store`)."""

from .card import Hash, ModelCard, Packaged, Postprocess, Preprocess, Recipe, Url, Weights, WheelFile
from .catalog import catalog, find_card
from .store import Store, StoredWeights, default_store

__all__ = [
    "Hash",
    "ModelCard",
    "Packaged",
    "Postprocess",
    "Preprocess",
    "Recipe",
    "Store",
    "StoredWeights",
    "Url",
    "Weights",
    "WheelFile",
    "catalog",
    "default_store",
    "find_card",
]
