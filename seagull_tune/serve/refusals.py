"""Why a request is not answered: status, code and reason, in the shape of OpenAI's errors."""

from __future__ import annotations

from typing import Any

from seagull_tune.errors import LimitError, SeagullError

TOO_LARGE, NOT_READY, TIMED_OUT, BUSY, BAD = 413, 503, 504, 429, 400
CLOSED = 499
"""Status, in the metrics alone, of a request whose client went away."""

_KINDS = {401: "authentication_error", 429: "rate_limit_error"}


class RefusedRequestError(SeagullError):
    """A request is not answered.

    Args:
        message: what was wrong, what was seen, what is allowed.
        status: HTTP status.
        code: a word that programs can compare.
        param: the field that it is about.
    """

    def __init__(
        self, message: str, status: int = BAD, code: str = "invalid_request", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    @property
    def headers(self) -> dict[str, str]:
        """What the reply says beside its body."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": "1"} if self.status in (BUSY, NOT_READY) else {}


def refusal_of(error: SeagullError, param: str | None = None) -> RefusedRequestError:
    """What a client is told of an error of the rest of the program: its input was the reason."""
    if isinstance(error, RefusedRequestError):
        return error
    if isinstance(error, LimitError):
        return RefusedRequestError(str(error), TOO_LARGE, "too_large", param)
    return RefusedRequestError(str(error), param=param)


def error_body(message: str, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
