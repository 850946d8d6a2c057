"""Every error a caller can meet.

The tree, and the builtin that a class also is:

    `Error`
    ├── InputError (ValueError)        the caller's values are wrong
    │   ├── ShapeError                 an array has the wrong axes or size
    │   ├── RangeError                 a number or an array lies outside its range
    │   └── OptionError                an option has no such value, or two options contradict each other
    ├── ModelError                     something about a model or its weights
    │   ├── UnknownModel (LookupError) no catalog row has this name
    │   ├── LicenseNotAccepted         the model's terms must be accepted once
    │   ├── WeightsMissing             the weights are not here and may not or cannot be fetched
    │   ├── DownloadError              fetching failed
    │   ├── HashMismatch               a file is not the one that was published or accepted
    │   └── CacheNotWritable           the store cannot write its folder
    ├── EngineError                    something about a runtime
    │   ├── EngineUnavailable (ImportError)  the runtime or device is not on this machine
    │   └── EngineFailed               the runtime refused the file or stopped while computing
    ├── RefineError                    edge work could not be done
    │   └── EmptyTrimap                a trimap without foreground or without background
    ├── DetailError                    redrawing could not be done
    └── MediaError                     a picture or film cannot be read or written
        ├── TooManyPixels              it is larger than may be decoded
        └── UnknownFormat              it is of no format that is read here

A message has one form: *thing* must be *expected*, got *actual*; then one cure.
"""

from __future__ import annotations

__all__ = [
    "CacheNotWritable",
    "DetailError",
    "DownloadError",
    "EmptyTrimap",
    "EngineError",
    "EngineFailed",
    "EngineUnavailable",
    "Error",
    "HashMismatch",
    "InputError",
    "LicenseNotAccepted",
    "MediaError",
    "ModelError",
    "OptionError",
    "RangeError",
    "RefineError",
    "ShapeError",
    "TooManyPixels",
    "UnknownFormat",
    "UnknownModel",
    "WeightsMissing",
]


class Error(Exception):
    """Base of all errors of this package.

    Args:
        what: What is wrong, a sentence without its full stop; or, with `expected`, the thing that is wrong.
        expected: What the thing must be.
        got: What came instead.
        hint: One cure: a flag, an extra to install, an environment variable, a size that would work.
    """

    def __init__(
        self, what: str, *, expected: str | None = None, got: str | None = None, hint: str | None = None
    ) -> None:
        self.what = what
        self.expected = expected
        self.got = got
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        message = self.what
        if self.expected is not None:
            message += f" must be {self.expected}"
        if self.got is not None:
            message += f", got {self.got}"
        if self.hint is not None:
            message += f"; {self.hint}"
        return message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.expected, self.got, self.hint))


def _rebuild(kind: type[Error], what: str, expected: str | None, got: str | None, hint: str | None) -> Error:
    """An equal error in another process: keyword arguments do not survive pickling by themselves."""
    return kind(what, expected=expected, got=got, hint=hint)


class InputError(Error, ValueError):
    """The caller's values are wrong."""


class ShapeError(InputError):
    """An array has the wrong axes or size."""


class RangeError(InputError):
    """A number or an array lies outside its range."""


class OptionError(InputError):
    """An option has no such value, or two options contradict each other."""


class ModelError(Error):
    """Something about a model or its weights is wrong."""


class UnknownModel(ModelError, LookupError):
    """No catalog row has this name."""


class LicenseNotAccepted(ModelError):
    """The model's terms must be accepted once before it is fetched or run."""


class WeightsMissing(ModelError):
    """The weights are not on this machine and may not or cannot be fetched."""


class DownloadError(ModelError):
    """Fetching failed."""


class HashMismatch(ModelError):
    """A file is not the one that was published or accepted."""


class CacheNotWritable(ModelError):
    """The store cannot write its folder."""


class EngineError(Error):
    """Something about a runtime is wrong."""


class EngineUnavailable(EngineError, ImportError):
    """The runtime or the device asked for is not on this machine."""


class EngineFailed(EngineError):
    """The runtime refused the file or stopped while computing."""


class RefineError(Error):
    """Edge work could not be done."""


class EmptyTrimap(RefineError):
    """A trimap has no foreground or no background."""


class DetailError(Error):
    """Redrawing inside masks could not be done."""


class MediaError(Error):
    """A picture or film cannot be read or written."""


class TooManyPixels(MediaError):
    """A picture is larger than may be decoded."""


class UnknownFormat(MediaError):
    """A file is of no format that is read here."""
