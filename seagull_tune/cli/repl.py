"""The conversation at the terminal: questions, and commands that begin with a slash. Errors never end it."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from seagull_tune.config.answer import AnswerConfig
from seagull_tune.errors import ConfigError, RegionError, SeagullError, did_you_mean
from seagull_tune.images import read_image
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.chat import ChatSession
from seagull_tune.infer.serialise import scores_in_words
from seagull_tune.records import Message, Region
from seagull_tune.regions.parse import (
    RegionSource,
    regions_from_box,
    regions_from_mask_file,
    regions_from_point,
    regions_from_polygon,
)

HELP = """\
  /box X0,Y0,X1,Y1 [name]   add a box, for example /box 10,20,200,300 face
  /point X,Y [name]         add the region under a pixel
  /polygon X,Y;... [name]   add a polygon, for example /polygon 10,20;150,40;120,140 roof
  /mask FILE.png [name]     add a mask
  /all                      add every region that the segmenter finds
  /regions                  list the regions
  /use NAME                 ask about this region from now on; /use image for the whole photograph
  /assess [NAME]            numbers for one region, or for all
  /compare A B [ASPECT]     which of two is better, or has more of a distortion: /compare face sky blur
  /save FILE                keep the conversation; `seagull-tune chat --history FILE` goes on with it
  /image FILE               another photograph
  /reset                    forget the questions, keep photograph and regions
  /help                     this list
  /quit                     end (or Ctrl-D); Ctrl-C stops an answer
Anything else is a question. Names of regions in it stand for the regions: Is the face sharper than region 2?
A question that names two is answered in words, and then with the numbers of both."""

WHOLE_IMAGE = "image"


class Repl:
    """A conversation at the terminal.

    Args:
        assessor: the tuned model.
        segmenter: finds regions for ``/point`` and ``/all``.
        config: limits.
        show: receives the pieces of answers.
        read: gives the next line for a prompt; raises EOFError at the end.
    """

    def __init__(
        self,
        assessor: RegionAssessor,
        segmenter: RegionSource,
        config: AnswerConfig,
        show: Callable[[str], None],
        read: Callable[[str], str] = input,
    ) -> None:
        self._assessor, self._segmenter, self._config = assessor, segmenter, config
        self._show, self._read = show, read
        self._commands: dict[str, Callable[[list[str]], None]] = {
            "/box": self._box, "/point": self._point, "/polygon": self._polygon, "/mask": self._mask, "/all": self._all,
            "/regions": self._list, "/use": self._use, "/assess": self._assess,
            "/compare": self._compare, "/save": self._save, "/image": self._image, "/reset": self._reset,
            "/help": self._help,
        }  # fmt: skip

    def run(self, session: ChatSession) -> None:
        """Talks until ``/quit`` or the end of the input.

        Args:
            session: about a photograph; its turns so far are shown first.
        """
        if sys.stdin.isatty() and importlib.util.find_spec("readline") is not None:
            import readline  # noqa: F401 - gives input() its line editing and history
        self._open(session)
        typer.echo("Ask about the photograph, or type /help.")
        while True:
            try:
                line = self._read(self._prompt()).strip()
            except EOFError:
                typer.echo()
                return
            except KeyboardInterrupt:
                typer.echo("\n(/quit or Ctrl-D ends the conversation)")
                continue
            if line == "/quit":
                return
            if line:
                self._handle(line)

    def _prompt(self) -> str:
        return f"{self._session.current or WHOLE_IMAGE}> "

    def _open(self, session: ChatSession) -> None:
        self._session = session
        height, width = self._size
        typer.echo(f"{session.source or 'photograph'}: {width}x{height} pixels, model {self._assessor.name}")
        for turn in session.turns:
            typer.echo(f"{'>' if turn.role == 'user' else ' '} {self._in_words(turn)}")

    def _in_words(self, turn: Message) -> str:
        """A turn as a person reads it, with the regions' names."""
        names = self._session.names
        parts = (names[part.region] if part.region is not None else part.text for part in turn.parts)
        return "".join(parts)

    def _handle(self, line: str) -> None:
        """One line; what is wrong with it is said, and the conversation goes on."""
        try:
            if line.startswith("/"):
                self._command(line)
            else:
                self._session.ask(line, on_text=self._show, max_new_tokens=self._config.max_new_tokens)
                typer.echo()
                if (numbers := self._session.evidence(line)) is not None:
                    typer.echo(f"[numbers] {numbers.text}")
        except SeagullError as error:
            typer.echo(str(error))
        except KeyboardInterrupt:
            typer.echo(" (stopped)")

    def _command(self, line: str) -> None:
        try:
            name, *arguments = shlex.split(line)
        except ValueError as error:
            raise ConfigError(f"{line!r} cannot be read: {error}. Close the quotation mark.") from error
        if name not in self._commands:
            raise ConfigError(f"There is no command {name!r}.{did_you_mean(name, (*self._commands, '/quit'))}")
        self._commands[name](arguments)

    # -- regions --------------------------------------------------------------------------------------------------

    def _box(self, arguments: list[str]) -> None:
        text, name = _value_and_name(arguments, "/box X0,Y0,X1,Y1 [name]")
        self._add(regions_from_box(text, *self._size), name)

    def _point(self, arguments: list[str]) -> None:
        text, name = _value_and_name(arguments, "/point X,Y [name]")
        self._add(regions_from_point(text, self._session.image, self._segmenter), name)

    def _polygon(self, arguments: list[str]) -> None:
        text, name = _value_and_name(arguments, "/polygon X,Y;... [name]")
        self._add(regions_from_polygon(text, *self._size), name)

    def _mask(self, arguments: list[str]) -> None:
        path, name = _value_and_name(arguments, "/mask FILE.png [name]")
        self._add(regions_from_mask_file(path, *self._size), name)

    def _all(self, arguments: list[str]) -> None:
        self._add(self._segmenter.segment(self._session.image), "")

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self._session.image.shape[:2]
        return height, width

    def _add(self, regions: list[Region], name: str) -> None:
        for region in regions:
            added = self._session.add_region(region, name)
            typer.echo(f"Added {added}: {_where(region)}")

    def _list(self, arguments: list[str]) -> None:
        if not self._session.regions:
            typer.echo("No region yet.")
        for name, region in zip(self._session.names, self._session.regions, strict=True):
            typer.echo(f"{'*' if name == self._session.current else ' '} {name}: {_where(region)}")

    def _use(self, arguments: list[str]) -> None:
        name = " ".join(arguments)
        if not name:
            raise RegionError("Say which region: /use NAME, or /use image for the whole photograph.")
        whole = name == WHOLE_IMAGE and WHOLE_IMAGE not in self._session.names
        self._session.use(None if whole else name)

    # -- the rest -------------------------------------------------------------------------------------------------

    def _assess(self, arguments: list[str]) -> None:
        name = " ".join(arguments) or None
        answers = self._session.assess(name)
        names = self._session.names if name is None else (name,)
        for shown, answer in zip(names, answers, strict=True):
            typer.echo(f"{shown}: {scores_in_words(answer.scores)}")

    def _compare(self, arguments: list[str]) -> None:
        if len(arguments) not in (2, 3):
            raise RegionError('Name two regions: /compare face sky, or /compare "left eye" sky blur.')
        typer.echo(self._session.compare(arguments[0], arguments[1], *arguments[2:]).text)

    def _save(self, arguments: list[str]) -> None:
        if not arguments:
            raise ConfigError("Say where: /save FILE.json.")
        path = Path(" ".join(arguments))
        self._session.save(path)
        typer.echo(f"Saved. Go on with it: seagull-tune chat --history {shlex.quote(str(path))}")

    def _image(self, arguments: list[str]) -> None:
        if not arguments:
            raise ConfigError("Say which photograph: /image FILE.")
        path = Path(" ".join(arguments))
        self._open(ChatSession(self._assessor, read_image(path, self._config.max_pixels), path))
        typer.echo("The regions and questions of the earlier photograph are gone.")

    def _reset(self, arguments: list[str]) -> None:
        self._session.reset()
        typer.echo("The questions so far are forgotten; photograph and regions stay.")

    def _help(self, arguments: list[str]) -> None:
        typer.echo(HELP)


def _value_and_name(arguments: list[str], usage: str) -> tuple[str, str]:
    if not arguments:
        raise RegionError(f"Something is missing: {usage}.")
    return arguments[0], " ".join(arguments[1:])


def _where(region: Region) -> str:
    share = region.area / (region.height * region.width)
    return f"box {','.join(map(str, region.box_xyxy))}, {share:.1%} of the photograph"
