"""Placeholders are counted per sample and replaced in order."""

from __future__ import annotations

import pytest
import torch

from seagull_tune.errors import DataError
from seagull_tune.model.splice import check_counts, splice, word_ids

IMAGE, GLOBAL, LOCAL, WORD = 90, 91, 92, 5


def _ids(*rows: list[int]) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [WORD] * (longest - len(row)) for row in rows])


GOOD = _ids([IMAGE, IMAGE, WORD, GLOBAL, LOCAL], [IMAGE, IMAGE, GLOBAL, LOCAL, WORD, GLOBAL, LOCAL])


def _check(ids: torch.Tensor, counts: list[int]) -> None:
    check_counts(ids, IMAGE, [GLOBAL, LOCAL], torch.tensor(counts), n_image=2)


def test_surplus_and_lack_that_cancel_across_samples_are_caught() -> None:
    _check(GOOD, [1, 2])  # the right counts pass
    # Three mentions in all, as the placeholders say: only a count per sample sees the swap.
    assert int((GOOD == GLOBAL).sum()) == 3
    with pytest.raises(DataError, match=r"Sample 0 of the batch holds 1 region tokens 91.*2 regions"):
        _check(GOOD, [2, 1])


def test_image_tokens_that_cancel_across_samples_are_caught() -> None:
    ids = _ids([IMAGE, WORD, GLOBAL, LOCAL], [IMAGE, IMAGE, IMAGE, GLOBAL, LOCAL])
    with pytest.raises(DataError, match=r"Sample 0 of the batch holds 1 image tokens; its image has 2"):
        _check(ids, [1, 1])


def test_a_pair_cut_in_half_is_caught() -> None:
    ids = _ids([IMAGE, IMAGE, GLOBAL, LOCAL], [IMAGE, IMAGE, GLOBAL])
    with pytest.raises(DataError, match=r"Sample 1 .* region tokens 92.*truncated"):
        _check(ids, [1, 1])


def test_features_stand_where_their_placeholders_stood() -> None:
    words = torch.zeros(2, GOOD.shape[1], 3)
    image = torch.arange(12.0).view(2, 2, 3) + 100
    regions = torch.arange(18.0).view(3, 2, 3) + 500
    out = splice(GOOD, words, image, regions, IMAGE, [GLOBAL, LOCAL])
    torch.testing.assert_close(out[0, :2], image[0])
    torch.testing.assert_close(out[1, :2], image[1])
    torch.testing.assert_close(out[0, 3:5], regions[0])
    torch.testing.assert_close(out[1, 2:4], regions[1])
    torch.testing.assert_close(out[1, 5:7], regions[2])
    assert out[0, 2].abs().sum() == 0 and out[1, 4].abs().sum() == 0
    assert words.abs().sum() == 0, "the word embeddings were changed in place"


def test_gradients_reach_features_and_words() -> None:
    words = torch.zeros(2, GOOD.shape[1], 3, requires_grad=True)
    image, regions = torch.ones(2, 2, 3, requires_grad=True), torch.ones(3, 2, 3, requires_grad=True)
    splice(GOOD, words, image, regions, IMAGE, [GLOBAL, LOCAL]).sum().backward()
    assert image.grad is not None and regions.grad is not None and words.grad is not None
    assert bool((image.grad == 1).all()) and bool((regions.grad == 1).all())
    is_word = (GOOD == WORD).unsqueeze(-1).expand_as(words)
    assert bool((words.grad[is_word] == 1).all()) and bool((words.grad[~is_word] == 0).all())


def test_placeholders_take_no_row_of_the_embedding_table() -> None:
    table = torch.nn.Embedding(IMAGE, 3)  # the placeholders lie beyond it
    embedded = table(word_ids(GOOD, [IMAGE, GLOBAL, LOCAL]))
    assert embedded.shape == (*GOOD.shape, 3)
    assert bool((word_ids(GOOD, [IMAGE, GLOBAL, LOCAL])[GOOD == WORD] == WORD).all())
