"""Checks that no scene and no photograph is in two splits."""

from __future__ import annotations

from collections.abc import Iterable


def find_leaks(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """Scenes and photographs that are in more than one split.

    Args:
        rows: (scene_id, sha256 of the source file, split) per image.

    Returns:
        One sentence per leak; empty where there is none.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    for scene, digest, split in rows:
        seen.setdefault(("scene", scene), set()).add(split)
        seen.setdefault(("photograph with SHA-256", digest), set()).add(split)
    return [
        f"The {kind} {name!r} is in the splits {', '.join(sorted(splits))}; it may be in one only."
        for (kind, name), splits in sorted(seen.items())
        if len(splits) > 1
    ]
