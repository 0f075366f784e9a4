"""Text -> token ids with character offsets, safe against typed special tokens; and the ids of candidate words."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seagull_tune.errors import ConfigError, DataError
from seagull_tune.instructions.rendering import Rendering, render_literals

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_CACHED_TEXTS = 20_000  # bound of each cache; questions repeat, so far fewer are in use


@dataclass(frozen=True)
class TokenLayout:
    """Which token ids stand for the image and for a region; the model puts features in their place.

    Attributes:
        image_token_id: id that is repeated for every image token.
        n_image_tokens: image tokens per image.
        region_token_ids: ids of one region's tokens, in order (global ones, local ones).
        keep_blanks: blanks before image and region keep their token, for a model that was tuned with it.
    """

    image_token_id: int
    n_image_tokens: int
    region_token_ids: tuple[int, ...]
    keep_blanks: bool = False

    def __post_init__(self) -> None:
        if self.n_image_tokens < 1:
            raise ConfigError(f"n_image_tokens is {self.n_image_tokens}; at least 1 is needed.")
        if not self.region_token_ids or self.image_token_id in self.region_token_ids:
            raise ConfigError(
                f"region_token_ids are {self.region_token_ids!r} and image_token_id is {self.image_token_id}; "
                "a region needs at least one token, and none of them may be the image's."
            )


class TokenizerView:
    """What encoding needs of one tokenizer, with caches. Get it from :func:`tokenizer_view`.

    Attributes:
        special_ids: ids of control tokens of the tokenizer.
        reserved_ids: ``special_ids`` and the ids of the layout: none of them ever comes from message text.
        eos_token_id: end of sequence, or None.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, layout: TokenLayout) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(
                f"{type(tokenizer).__name__} is not a fast tokenizer and gives no character offsets; "
                "load it with AutoTokenizer.from_pretrained(..., use_fast=True)."
            )
        # A weak reference: the view is cached under the tokenizer and must not keep it alive.
        self._tokenizer = weakref.ref(tokenizer)
        marked = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.special_ids = frozenset(marked | set(tokenizer.all_special_ids))
        self.reserved_ids = self.special_ids | {layout.image_token_id, *layout.region_token_ids}
        self.eos_token_id: int | None = tokenizer.eos_token_id
        self._unk_token_id: int | None = tokenizer.unk_token_id
        self._renderings: dict[tuple[tuple[str, ...], bool, str], Rendering] = {}
        self._literals: dict[str, list[int]] = {}
        self._contents: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}
        self._candidates: dict[tuple[str, tuple[str, ...], str], tuple[int, ...]] = {}

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer that the view belongs to."""
        tokenizer = self._tokenizer()
        assert tokenizer is not None
        return tokenizer

    def rendering(self, roles: tuple[str, ...], add_generation_prompt: bool, own_template: str) -> Rendering:
        """The chat template around contents of these roles; see :func:`rendering.render_literals`."""
        key = (roles, add_generation_prompt, own_template)
        if key not in self._renderings:
            _make_room(self._renderings)
            self._renderings[key] = render_literals(self.tokenizer, roles, add_generation_prompt, own_template)
        return self._renderings[key]

    def literal_ids(self, text: str) -> list[int]:
        """Ids of template text; control tokens in it are recognised."""
        if text not in self._literals:
            _make_room(self._literals)
            self._literals[text] = list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
        return self._literals[text]

    def content_ids(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of message text and the (start, end) characters of each; never a reserved id, whatever is typed.

        Raises:
            DataError: a single character is itself a control token, so it has no other tokens.
        """
        if text not in self._contents:
            _make_room(self._contents)
            self._contents[text] = self._encode_content(text)
        return self._contents[text]

    def _encode_content(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        if not text:
            return [], []
        encoded = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
        )
        ids = list(encoded["input_ids"])
        offsets = [(int(start), int(end)) for start, end in encoded["offset_mapping"]]
        for token, (start, end) in zip(ids, offsets, strict=True):
            if token not in self.reserved_ids or (token == self._unk_token_id and end - start <= 1):
                continue
            if end - start <= 1:
                raise DataError(
                    f"The character {text[start:end]!r} is a control token of this tokenizer; leave it out."
                )
            # A tokenizer may know an added token even when told to split special ones: cut the text inside it.
            left, left_offsets = self._encode_content(text[: start + 1])
            right, right_offsets = self._encode_content(text[start + 1 :])
            return left + right, left_offsets + [(a + start + 1, b + start + 1) for a, b in right_offsets]
        return ids, offsets

    def candidate_ids(self, left: str, words: Sequence[str], right: str) -> tuple[int, ...]:
        """For each word, the id of its first token between ``left`` and ``right``.

        Raises:
            ConfigError: two words begin with the same token, or the tokens before a word depend on the word.
        """
        key = (left, tuple(words), right)
        if key not in self._candidates:
            _make_room(self._candidates)
            self._candidates[key] = self._find_candidates(*key)
        return self._candidates[key]

    def _find_candidates(self, left: str, words: tuple[str, ...], right: str) -> tuple[int, ...]:
        firsts: dict[int, str] = {}
        before: list[int] | None = None
        for word in words:
            ids, offsets = self.content_ids(left + word + right)
            place = token_at(offsets, len(left))
            first = ids[place]
            if first in firsts:
                raise ConfigError(
                    f"The tokenizer begins {firsts[first]!r} and {word!r} with the same token "
                    f"({self.tokenizer.convert_ids_to_tokens(first)!r}), so no score can be read there. Choose another "
                    f"tokenizer, or add these words with the blank before them: "
                    f"tokenizer.add_tokens({[' ' + w for w in words]!r}), and resize the model's embeddings."
                )
            if before is not None and ids[:place] != before:
                raise ConfigError(
                    f"The tokens before {word!r} differ from those before {words[0]!r} in {left + word!r}, so no score "
                    "can be read there. Put a blank before the value word in the prompt file, or change the tokenizer."
                )
            before = ids[:place]
            firsts[first] = word
        return tuple(firsts)


def token_at(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """Index of the first token whose span covers a character.

    Raises:
        DataError: no token covers it.
    """
    for i, (start, end) in enumerate(offsets):
        if start <= character < end:
            return i
    raise DataError(f"No token covers character {character}; the tokenizer drops parts of the text.")


_VIEWS: weakref.WeakKeyDictionary[object, dict[tuple[TokenLayout, int, str], TokenizerView]] = (
    weakref.WeakKeyDictionary()
)


def tokenizer_view(tokenizer: PreTrainedTokenizerFast, layout: TokenLayout) -> TokenizerView:
    """The cached view of a tokenizer; a new one if its vocabulary or its chat template has changed."""
    views = _VIEWS.setdefault(tokenizer, {})
    key = (layout, len(tokenizer), str(tokenizer.chat_template))
    if key not in views:
        views[key] = TokenizerView(tokenizer, layout)
    return views[key]


def _make_room(cache: dict) -> None:
    if len(cache) >= _CACHED_TEXTS:
        cache.clear()
