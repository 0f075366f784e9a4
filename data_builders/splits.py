"""Divides scenes into train, validation and test, the same way on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from seagull_tune.config.data import SplitName, SplitRule
from seagull_tune.errors import DataError, did_you_mean


def order_ids(ids: Iterable[str], order: str = "sha256") -> list[str]:
    """Distinct ids in the order of the SHA-256 of their UTF-8 text (``sha256``), or of the text itself (``name``).

    The hash order is as good as random, needs no seed, and hardly moves when photographs are added.
    """
    if order == "name":
        return sorted(set(ids))
    return sorted(set(ids), key=lambda name: (hashlib.sha256(name.encode()).hexdigest(), name))


def assign_splits(scene_ids: Iterable[str], rule: SplitRule) -> dict[str, SplitName]:
    """The split of every scene.

    Args:
        scene_ids: the scenes, repeated or not.
        rule: by hand, all into one, or by shares: of n scenes in hash order the last round(test * n) are test, those
            before them round(validation * n) validation, the rest train. A share above 0 gets at least one scene.

    Returns:
        scene -> split.

    Raises:
        DataError: the rule names a scene that does not exist, or there are too few scenes for its shares.
    """
    scenes = order_ids(scene_ids)
    for name in rule.scenes:
        if name not in scenes:
            raise DataError(f"split.scenes names {name!r}, which no photograph has.{did_you_mean(name, scenes)}")
    if rule.all_into is not None:
        return dict.fromkeys(scenes, rule.all_into)
    free = [name for name in scenes if name not in rule.scenes]
    n_test, n_validation = (_count(share, len(free)) for share in (rule.test, rule.validation))
    n_train = len(free) - n_test - n_validation
    if n_train < 0 or (n_train == 0 and rule.test + rule.validation < 1.0 and free):
        raise DataError(
            f"{len(free)} scenes cannot be divided into train, {rule.validation:g} validation and {rule.test:g} test "
            "with one scene in each at least. Add photographs, or lower the shares."
        )
    splits: dict[str, SplitName] = dict(rule.scenes)
    for i, name in enumerate(free):
        splits[name] = "train" if i < n_train else "validation" if i < n_train + n_validation else "test"
    return {name: splits[name] for name in scenes}


def _count(share: float, total: int) -> int:
    return max(1, round(share * total)) if share > 0 and total else 0
