"""The literal text of a chat template around message contents, for any tokenizer of transformers.

The template is rendered once per shape of a conversation, with a unique mark in place of every content, and split at
the marks. What lies between them is the template's own text, so nothing has to be searched for in a finished prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seagull_tune.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MARK = "SEAGULLCONTENT{}END"


@dataclass(frozen=True)
class Rendering:
    """A chat template rendered around contents.

    Attributes:
        literals: template text before the first, between, and after the last content: one more than ``order``.
        order: ``order[i]`` is the index of the message whose content follows ``literals[i]``.
        folded: True where the template takes no system message: its text belongs at the start of the first user turn,
            and ``order`` counts the messages without it.
    """

    literals: tuple[str, ...]
    order: tuple[int, ...]
    folded: bool


def render_literals(
    tokenizer: PreTrainedTokenizerFast, roles: tuple[str, ...], add_generation_prompt: bool, own_template: str
) -> Rendering:
    """Render the template around contents of the given roles.

    Args:
        tokenizer: its chat template is used; without one, ``own_template``.
        roles: ``system``, ``user`` or ``assistant``, one per message.
        add_generation_prompt: whether the header of an assistant turn to come is added.
        own_template: Jinja text for tokenizers without a chat template.

    Raises:
        ConfigError: the template refuses these roles, or loses or repeats a message.
    """
    template = None if tokenizer.chat_template else own_template
    if template is not None and tokenizer.eos_token is None:
        raise ConfigError("The tokenizer has neither a chat template nor an end-of-sequence token; set one of the two.")
    text, trouble = _render(tokenizer, roles, add_generation_prompt, template)
    folded = roles[:2] == ("system", "user") and (trouble != "" or _MARK.format(0) not in text)
    if folded:
        text, trouble = _render(tokenizer, roles[1:], add_generation_prompt, template)
    if trouble:
        raise ConfigError(f"The chat template refuses the turns {', '.join(roles)}: {trouble}")
    return _split(text, len(roles) - folded, folded)


def _render(
    tokenizer: PreTrainedTokenizerFast, roles: tuple[str, ...], add_generation_prompt: bool, template: str | None
) -> tuple[str, str]:
    """The rendered text and "", or "" and the template's reason to refuse."""
    import jinja2

    messages = [{"role": role, "content": _MARK.format(i)} for i, role in enumerate(roles)]
    try:
        # Without enable_thinking=False, templates of reasoning models open a turn in another way than they record it.
        text = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            chat_template=template,
            enable_thinking=False,
        )
    except jinja2.TemplateError as error:
        return "", str(error)
    return str(text), ""


def _split(text: str, n_contents: int, folded: bool) -> Rendering:
    marks = [_MARK.format(i) for i in range(n_contents)]
    for i, mark in enumerate(marks):
        if text.count(mark) != 1:
            raise ConfigError(
                f"The chat template writes message {i + 1} of {n_contents} {text.count(mark)} times; "
                "each must occur exactly once. Give the tokenizer another chat_template."
            )
    # A template may put contents in another order (some move the system text into the last user turn).
    order = sorted(range(n_contents), key=lambda i: text.index(marks[i]))
    literals = []
    for i in order:
        before, _, text = text.partition(marks[i])
        literals.append(before)
    return Rendering((*literals, text), tuple(order), folded)
