"""The direct head: likeness to the language model's words; and region tokens that carry what it believes."""

from __future__ import annotations

import torch

from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.model.projector import SEVERITY_PLACES, BeliefWords, DirectHead, DirectLogits
from tests.tiny import make_tiny_model

WIDTH = 64


def _head() -> DirectHead:
    torch.manual_seed(0)
    head = DirectHead(WIDTH)
    basis = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
    head.types.copy_(basis[: len(DISTORTION_TYPES)])  # at right angles, so that one likeness can be set at a time
    return head


def _severities(head: DirectHead, presence: float, severity: float, name: str) -> torch.Tensor:
    """(8, 6) log-probabilities of tokens whose likenesses to one type are given, and 0 to the others."""
    tokens = torch.zeros(1, 2, WIDTH)
    direction = WIDTH**0.5 * head.types[DISTORTION_TYPES.index(name)]
    tokens[0, 0], tokens[0, 1] = severity * direction, presence * direction
    with torch.no_grad():
        return head(tokens).severity[0]


def test_each_place_of_the_scale_is_the_likeliest_of_its_severity() -> None:
    head = _head()
    for severity, place in enumerate(SEVERITY_PLACES, start=1):
        found = _severities(head, 0.3, place, "noise").argmax(dim=1).tolist()
        expected = [severity if name == "noise" else 0 for name in DISTORTION_TYPES]
        assert found == expected, SEVERITY_NAMES[severity]


def test_presence_and_severity_are_told_apart() -> None:
    head = _head()
    place = DISTORTION_TYPES.index("blur")
    unsure, sure = (_severities(head, presence, 0.4, "blur")[place].exp() for presence in (0.0, 0.3))
    assert unsure[0] > 0.9 and sure[0] < 0.1
    assert torch.allclose(unsure[1:] / unsure[1:].sum(), sure[1:] / sure[1:].sum())
    assert torch.allclose(sure.sum(), torch.ones(()))


def test_presence_is_read_from_the_local_token_and_levels_from_the_global_one() -> None:
    head = _head()
    tokens = torch.randn(2, 2, WIDTH)
    tokens[1, 0] = tokens[0, 0]
    with torch.no_grad():
        out = head(tokens)
    assert torch.equal(out.quality[0], out.quality[1]) and torch.equal(out.importance[0], out.importance[1])
    assert not torch.allclose(out.severity[0, :, 0], out.severity[1, :, 0])
    present = out.severity[:, :, 1:].log_softmax(dim=-1)
    assert torch.allclose(present[0], present[1])


def _belief(name: str, severity: int) -> DirectLogits:
    """Logits of one region that surely has one type at one severity, and no other."""
    logits = torch.full((1, len(DISTORTION_TYPES), len(SEVERITY_NAMES)), -50.0)
    logits[:, :, 0] = 50.0
    logits[0, DISTORTION_TYPES.index(name)] = -50.0
    logits[0, DISTORTION_TYPES.index(name), severity] = 50.0
    return DirectLogits(torch.zeros(1, 5), torch.zeros(1, 5), logits)


def test_a_believed_severity_is_told_in_the_direction_of_its_word() -> None:
    torch.manual_seed(0)
    said = BeliefWords(WIDTH)
    words = torch.randn(len(SEVERITY_NAMES) - 1, WIDTH)
    # Levels of which nothing is known cancel out, whatever their words.
    said.set_lexicon(torch.randn(5, WIDTH), torch.randn(5, WIDTH), words)
    tokens = torch.randn(1, 2, WIDTH)
    apart = words - words.mean(dim=0)
    for severity in range(1, len(SEVERITY_NAMES)):
        with torch.no_grad():
            told = said(tokens, _belief("noise", severity)) - tokens
        assert torch.allclose(told[0, 0], told[0, 1], atol=1e-5)  # every token carries it
        nearest = torch.cosine_similarity(told[0, 0], apart, dim=1)
        assert int(nearest.argmax()) == severity - 1 and float(nearest.max()) > 0.999
    nothing = DirectLogits(torch.zeros(1, 5), torch.zeros(1, 5), _belief("noise", 1).severity.clone())
    nothing.severity[:] = torch.tensor([50.0, -50.0, -50.0, -50.0, -50.0, -50.0])
    with torch.no_grad():
        assert torch.allclose(said(tokens, nothing), tokens, atol=1e-5)


def test_what_the_language_model_makes_of_a_belief_does_not_change_the_head() -> None:
    model = make_tiny_model(settings={"region_beliefs": True})[0]
    tokens = torch.randn(3, 2, model.config.text_width)
    model.speak_regions(tokens).square().sum().backward()
    assert model.belief_words is not None and model.belief_words.said.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.direct_head.parameters())
