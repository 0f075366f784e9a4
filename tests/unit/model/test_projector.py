"""The direct head: likeness to the language model's words, and what a token must hold to be read so."""

from __future__ import annotations

import torch

from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.model.projector import SEVERITY_PLACES, DirectHead

WIDTH = 64


def _head() -> DirectHead:
    torch.manual_seed(0)
    head = DirectHead(WIDTH)
    basis = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
    head.types.copy_(basis[: len(DISTORTION_TYPES)])  # at right angles, so that one likeness can be set at a time
    return head


def _severities(head: DirectHead, likeness: float, name: str) -> torch.Tensor:
    """(8, 6) logits of a local token whose likeness to one type is given, and 0 to the others."""
    tokens = torch.randn(1, 2, WIDTH)
    tokens[0, 1] = likeness * WIDTH**0.5 * head.types[DISTORTION_TYPES.index(name)]
    with torch.no_grad():
        return head(tokens).severity[0]


def test_each_place_of_the_scale_is_the_likeliest_of_its_severity() -> None:
    head = _head()
    for severity, place in enumerate(SEVERITY_PLACES):
        found = _severities(head, place, "noise").argmax(dim=1).tolist()
        expected = [severity if name == "noise" else 0 for name in DISTORTION_TYPES]
        assert found == expected, SEVERITY_NAMES[severity]


def test_far_below_zero_is_no_better_than_zero() -> None:
    head = _head()
    at_zero, below = (_severities(head, likeness, "blur")[0].softmax(0)[0] for likeness in (0.0, -0.6))
    assert below < at_zero


def test_severities_are_read_from_the_local_token_and_levels_from_the_global_one() -> None:
    head = _head()
    tokens = torch.randn(2, 2, WIDTH)
    tokens[1, 0] = tokens[0, 0]
    with torch.no_grad():
        out = head(tokens)
    assert torch.equal(out.quality[0], out.quality[1]) and torch.equal(out.importance[0], out.importance[1])
    assert not torch.allclose(out.severity[0], out.severity[1])
