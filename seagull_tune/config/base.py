"""Configuration: strict pydantic models filled from YAML files and dotted overrides.

A file may name another one as ``base: other.yaml`` (a path relative to itself, or ``configs/...`` for a shipped one),
or several as a list; it is merged deeply over them, and of several the later over the earlier.
Overrides come last: ``a.b=c`` sets one key, ``c`` is read as YAML, and a number in the path indexes a list. Whatever
is wrong is reported at once, in one :class:`~seagull_tune.errors.ConfigError` with one line per problem.
"""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from seagull_tune.errors import ConfigError, did_you_mean

BASE_KEY = "base"
"""The reserved top-level key of a YAML file that names the file, or files, it builds on."""

_ASSET_FOLDERS = ("configs", "prompts")
_LONGEST_VALUE = 80


class StrictModel(pydantic.BaseModel):
    """Base of every configuration model: unknown keys are errors, values never change, nan and inf are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


T = TypeVar("T", bound=StrictModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a repeated key is an error and ``1e-4`` is a number (YAML 1.1 reads it as text)."""


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping whose keys occur once (a second one would silently win otherwise)."""
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
        if isinstance(key, list | dict):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} occurs twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return typing.cast("dict[Any, Any]", yaml.SafeLoader.construct_mapping(loader, node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def parse_yaml(text: str) -> Any:
    """Read one YAML document safely: no tags, no repeated keys, ``1e-4`` is a float.

    Raises:
        yaml.YAMLError: the text is not such a document.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader


class _Tree:
    """A nested mapping under construction that remembers which file or override set each key."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[tuple[str, ...], str] = {}
        self.problems: list[str] = []

    def merge(self, new: Mapping[str, Any], origin: str) -> None:
        """Lay ``new`` over the values: mappings are merged, anything else is replaced."""
        self._merge(self.values, new, (), origin)

    def _merge(self, into: dict[str, Any], new: Mapping[str, Any], at: tuple[str, ...], origin: str) -> None:
        for key, value in new.items():
            name = str(key)
            old = into.get(name)
            if isinstance(old, dict) and isinstance(value, Mapping):
                self._merge(old, value, (*at, name), origin)
                continue
            into[name] = {} if isinstance(value, Mapping) else value
            self.origins[(*at, name)] = origin
            if isinstance(value, Mapping):
                self._merge(into[name], value, (*at, name), origin)

    def override(self, text: str) -> None:
        """Apply one ``a.b=c``; what is wrong with it is added to the problems."""
        key, equals, value_text = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or not all(path):
            self.problems.append(f"override {text!r}: allowed: 'key=value' or 'group.key=value'")
            return
        try:
            value = parse_yaml(value_text)
        except yaml.YAMLError as error:
            self.problems.append(f"override {text!r}: the value is not YAML ({_one_line(error)})")
            return
        try:
            self._set(path, value)
        except LookupError as error:
            self.problems.append(f"override {text!r}: {error.args[0]}")
            return
        self.origins[path] = f"override {text!r}"

    def _set(self, path: tuple[str, ...], value: Any) -> None:
        node: Any = self.values
        for i, part in enumerate(path):
            last = i == len(path) - 1
            slot: Any = part
            if isinstance(node, list):
                if not part.isdecimal() or int(part) >= len(node):
                    here = ".".join(path[:i])
                    raise LookupError(f"{here!r} is a list of {len(node)}; allowed: {here}.0 to {here}.{len(node) - 1}")
                slot = int(part)
            elif not isinstance(node, dict):  # a plain value
                raise LookupError(f"{'.'.join(path[:i])!r} is {_shown(node)}, which has no keys")
            elif not last and node.get(part) is None:
                node[part] = {}
            if last:
                node[slot] = value
            else:
                node = node[slot]

    def origin_of(self, path: tuple[str, ...]) -> str:
        """Where the key at ``path``, or the nearest group around it, was set ("" for nowhere)."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return ""


def load_config(model: type[T], file: Path | str | None = None, overrides: Sequence[str] = ()) -> T:
    """Fill ``model`` from a YAML file and overrides.

    Args:
        model: the configuration model.
        file: a YAML file; a relative path that does not exist here is looked up among the shipped files, so
            ``configs/data/benchmark.yaml`` works anywhere. None starts from the model's defaults.
        overrides: ``a.b=c`` texts, applied in order over the file; each value is read as YAML.

    Raises:
        ConfigError: with one line per problem: dotted key, value seen, what is allowed, a near-name hint, the file.
    """
    if BASE_KEY in model.model_fields:
        raise TypeError(f"{model.__name__} has a field {BASE_KEY!r}, which is reserved in configuration files.")
    tree = _Tree()
    if file is not None:
        for path, values in _read_chain(_find(file)):
            tree.merge(values, str(path))
    for text in overrides:
        tree.override(text)
    config: T | None = None
    try:
        config = model.model_validate(tree.values)
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False)
        tree.problems += [_problem(model, typing.cast("dict[str, Any]", detail), tree) for detail in details]
    if config is None or tree.problems:
        where = f" in {file}" if file is not None else ""
        count = len(tree.problems)
        heading = f"{count} problem{'s' if count > 1 else ''}{where}:"
        raise ConfigError("\n".join([heading, *(f"  {line}" for line in tree.problems)]))
    return config


def dump_config(config: StrictModel) -> str:
    """The resolved configuration as YAML that :func:`load_config` reads back to an equal one."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def resolve_asset(name: str) -> Path:
    """The path of a shipped file or folder, from a checkout or from an installed wheel.

    Args:
        name: path inside the project with forward slashes, for example ``prompts/quality.yaml``.

    Raises:
        ConfigError: there is no such file (with a near-name hint), or the name leaves ``configs`` and ``prompts``.
    """
    parts = name.split("/")
    if parts[0] not in _ASSET_FOLDERS or ".." in parts:
        raise ConfigError(f"{name!r} is no shipped file; allowed: a path that starts with configs/ or prompts/.")
    package = Path(__file__).resolve().parent.parent
    installed = package / "_assets"
    root = installed if installed.is_dir() else package.parent
    path = root.joinpath(*parts)
    if not path.exists():
        shipped = (p.relative_to(root).as_posix() for p in (root / parts[0]).rglob("*.yaml"))
        raise ConfigError(f"There is no shipped file {name!r}.{did_you_mean(name, shipped)}")
    return path


def _find(file: Path | str) -> Path:
    path = Path(file)
    if path.exists() or path.is_absolute() or path.parts[0] not in _ASSET_FOLDERS:
        return path
    return resolve_asset(path.as_posix())


def _read_chain(path: Path, above: tuple[Path, ...] = ()) -> list[tuple[Path, dict[str, Any]]]:
    """The file and those it builds on, deepest first; of several that one file names, the later lies over the earlier.

    Args:
        path: the file.
        above: the files that build on it.
    """
    if path.resolve() in above:
        raise ConfigError(f"{path}: the files build on each other in a circle.")
    values = _read_mapping(path)
    base = values.pop(BASE_KEY, None)
    names = [base] if isinstance(base, str) else [] if base is None else base
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{path}: {BASE_KEY} is {_shown(base)}; allowed: the path of one YAML file, or a list of them."
        )
    line = (*above, path.resolve())
    under = [entry for name in names for entry in _read_chain(_beside(path, name), line)]
    return [*under, (path, values)]


def _beside(file: Path, name: str) -> Path:
    """A file that ``file`` builds on: a path from there, or a shipped one, which an installed package has elsewhere."""
    near = file.parent / name
    return near if near.exists() or Path(name).parts[:1] != ("configs",) else resolve_asset(Path(name).as_posix())


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = (p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else ()
        names = sorted(near)
        raise ConfigError(f"There is no file {path}.{did_you_mean(path.name, names) if names else ''}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Name a YAML file in UTF-8.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {_one_line(error)}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {_shown(values)}; allowed: a mapping of keys to values.")
    return values


def _problem(model: type[StrictModel], detail: Mapping[str, Any], tree: _Tree) -> str:
    """One line for one pydantic error."""
    path = tuple(str(part) for part in detail["loc"])
    origin = tree.origin_of(path)
    key = ".".join(path) or "configuration"
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        text = f"unknown key (value {_shown(value)}).{did_you_mean(path[-1], _fields_at(model, path[:-1]))}"
    elif kind == "missing":
        text = "is missing; a value is required"
    else:
        rule = re.sub(r"^(Value error, |Assertion failed, |Input should be )", "", detail["msg"])
        allowed = rule if kind in ("value_error", "assertion_error") else f"allowed: {rule}"
        text = allowed if isinstance(value, Mapping | pydantic.BaseModel) else f"is {_shown(value)}; {allowed}"
        if kind == "literal_error" and isinstance(value, str):
            words = [
                quoted or bare for quoted, bare in re.findall(r"'([^']*)'|\b(\w+)\b", str(detail["ctx"]["expected"]))
            ]
            hint = did_you_mean(value, (word for word in words if word != "or"))
            text += f".{hint}" if "Did you mean" in hint else ""
    return f"{key}: {text}" + (f" [{origin}]" if origin else "")


def _fields_at(model: type[pydantic.BaseModel], path: Sequence[str]) -> list[str]:
    """Names of the fields that exist at a path of keys and list positions."""
    models: list[type[pydantic.BaseModel]] = [model]
    for part in path:
        inner = [
            m for outer in models if part in outer.model_fields for m in _models_in(outer.model_fields[part].annotation)
        ]
        # A list position or the tag of a union is part of pydantic's path but not a field: stay where we are.
        models = inner or models
    return [name for m in models for name in m.model_fields]


def _models_in(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """The models inside an annotation, through unions, lists and mappings."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, pydantic.BaseModel):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split(os.linesep)).replace("\n", " ").strip()
