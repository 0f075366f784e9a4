"""Messages -> token ids, with exactly known trained spans and the places of images, regions and value words.

Template text and message contents are tokenised apart: control tokens are recognised in the former only. The text of
one content between two place-holders is one string, tokenised once; value words are found in it by character offsets.
The spans that are trained are known by construction and never searched for.

Blanks: a blank between template text and content belongs to the content (" The", as a language model writes it), so a
prompt that ends before an answer is a prefix of the same prompt with the answer. Blanks before a place-holder are
dropped, unless the layout keeps them: they would cost a token and say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seagull_tune.errors import ConfigError, DataError
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.instructions.tokens import TokenizerView, TokenLayout, token_at, tokenizer_view
from seagull_tune.records import Message, Part, Slot

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["EncodedChat", "RegionPosition", "SlotPosition", "TokenLayout", "encode_chat"]

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class SlotPosition:
    """A value word in the token sequence.

    Attributes:
        index: into ``input_ids``: the first token of the word. The logits that predict it are at ``index - 1``.
        candidate_ids: for each candidate word, the id of its first token there; all different.
        target: probabilities over the candidates.
        kind, key, region: as in :class:`seagull_tune.records.Slot`.
    """

    index: int
    candidate_ids: tuple[int, ...]
    target: tuple[float, ...]
    kind: str
    key: str
    region: int | None = None


@dataclass(frozen=True)
class RegionPosition:
    """One mention of a region: ``index`` of its first token in ``input_ids``; ``region`` as in ``Part.region``."""

    index: int
    region: int


@dataclass
class EncodedChat:
    """A tokenised conversation.

    Attributes:
        input_ids: (T,) token ids.
        trained: (T,) True on the tokens of assistant contents and on the tokens that end those turns.
        slots: value words, in order.
        region_positions: mentions of regions, in order; each takes ``len(layout.region_token_ids)`` tokens.
        image_position: index of the first of ``layout.n_image_tokens`` image tokens; None without an image.
    """

    input_ids: list[int] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    slots: list[SlotPosition] = field(default_factory=list)
    region_positions: list[RegionPosition] = field(default_factory=list)
    image_position: int | None = None

    @property
    def n_trained(self) -> int:
        """How many tokens are trained."""
        return sum(self.trained)

    def extend(self, ids: Sequence[int], trained: bool) -> None:
        """Append tokens that are all trained or all not."""
        self.input_ids.extend(ids)
        self.trained.extend([trained] * len(ids))


@dataclass
class _Run:
    """Text of one content between two place-holders, with its value words and the characters where they begin."""

    text: str = ""
    slots: list[tuple[int, str, Slot]] = field(default_factory=list)


def encode_chat(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    layout: TokenLayout,
    add_generation_prompt: bool = False,
    own_template: str | None = None,
) -> EncodedChat:
    """Tokenise a conversation with the tokenizer's chat template.

    Args:
        tokenizer: a fast tokenizer; without a chat template, ``own_template`` is used.
        messages: at most one image in all. For a template that takes no system message, its text goes into the first
            user turn.
        layout: the ids of image and region tokens.
        add_generation_prompt: whether the sequence ends with the header of an assistant turn to be generated.
        own_template: Jinja text for tokenizers without a template; None takes ``prompts/chat_template.yaml``.

    Raises:
        DataError: unknown role, two images, or a slot whose word is none of its candidates.
        ConfigError: the tokenizer is not fast, its template refuses the turns, or candidate words share their first
            token.
    """
    _check(messages)
    view = tokenizer_view(tokenizer, layout)
    if own_template is None:
        own_template = "" if tokenizer.chat_template else load_prompts().chat_template
    rendering = view.rendering(tuple(m.role for m in messages), add_generation_prompt, own_template)
    contents = _folded(messages) if rendering.folded else list(messages)
    chat = EncodedChat()
    after_assistant = False
    blanks = ""
    for literal, place in zip(rendering.literals, (*rendering.order, None), strict=True):
        opens = place is not None and layout.keep_blanks and contents[place].parts[:1] == (Part(image=True),)
        stripped = literal if opens else literal.rstrip(" ")
        _add_literal(chat, view, stripped if place is not None or add_generation_prompt else literal, after_assistant)
        if place is not None:
            blanks = literal[len(stripped) :]
            after_assistant = contents[place].role == "assistant"
            _add_content(chat, view, layout, contents[place], blanks)
    return chat


def _check(messages: Sequence[Message]) -> None:
    for i, message in enumerate(messages):
        if message.role not in _ROLES:
            raise DataError(f"Message {i + 1} has the role {message.role!r}; allowed: {', '.join(_ROLES)}.")
        for part in message.parts:
            if part.slot is not None and (part.text not in part.slot.words or message.role != "assistant"):
                raise DataError(
                    f"Message {i + 1} ({message.role}) has a {part.slot.kind} slot with the word {part.text!r}; "
                    f"allowed: one of {', '.join(part.slot.words)}, in an assistant message."
                )
    images = sum(part.image for message in messages for part in message.parts)
    if images > 1:
        raise DataError(f"The conversation has {images} images; at most one is allowed.")


def _folded(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system text at the start of the first user turn, on a line of its own."""
    system, user, *rest = messages
    return [Message("user", (*system.parts, Part(text="\n"), *user.parts)), *rest]


def _add_literal(chat: EncodedChat, view: TokenizerView, literal: str, after_assistant: bool) -> None:
    """Append template text. After an assistant's content, its first control token ends the turn and is trained."""
    ids = view.literal_ids(literal)
    if not after_assistant:
        chat.extend(ids, trained=False)
        return
    end = next((i for i, token in enumerate(ids) if token in view.special_ids), None)
    if end is None:
        if view.eos_token_id is None:
            raise ConfigError("The chat template marks no end of a turn and the tokenizer has no eos_token; set one.")
        chat.extend([view.eos_token_id], trained=True)
        chat.extend(ids, trained=False)
    else:
        chat.extend(ids[: end + 1], trained=True)
        chat.extend(ids[end + 1 :], trained=False)


def _add_content(chat: EncodedChat, view: TokenizerView, layout: TokenLayout, message: Message, blanks: str) -> None:
    """Append one message's content; ``blanks`` come before it."""
    trained = message.role == "assistant"
    run = _Run(text=blanks)
    for part in message.parts:
        if not part.image and part.region is None:
            if part.slot is not None:
                run.slots.append((len(run.text), part.text, part.slot))
            run.text += part.text
            continue
        if not layout.keep_blanks:
            run.text = run.text.rstrip(" ")
        _add_run(chat, view, run, trained)
        run = _Run()
        if part.image:
            chat.image_position = len(chat.input_ids)
            chat.extend([layout.image_token_id] * layout.n_image_tokens, trained=False)
        elif part.region is not None:
            chat.region_positions.append(RegionPosition(len(chat.input_ids), part.region))
            chat.extend(layout.region_token_ids, trained=False)
    _add_run(chat, view, run, trained)


def _add_run(chat: EncodedChat, view: TokenizerView, run: _Run, trained: bool) -> None:
    ids, offsets = view.content_ids(run.text)
    first = len(chat.input_ids)
    ends = [0] + [start + len(word) for start, word, _ in run.slots]
    starts = [start for start, _, _ in run.slots] + [len(run.text)]
    for i, (start, word, slot) in enumerate(run.slots):
        place = token_at(offsets, start)
        chosen = slot.words.index(word)
        # The text up to the neighbouring value words is context enough for nearly every tokenizer, and can be cached.
        candidates = view.candidate_ids(run.text[ends[i] : start], slot.words, run.text[ends[i + 1] : starts[i + 1]])
        if candidates[chosen] != ids[place]:
            candidates = view.candidate_ids(run.text[:start], slot.words, run.text[ends[i + 1] :])
        chat.slots.append(SlotPosition(first + place, candidates, slot.target, slot.kind, slot.key, slot.region))
    chat.extend(ids, trained)
