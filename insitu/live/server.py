"""The page's server: Starlette under uvicorn, in a thread beside the run."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from insitu.errors import InsituError, ResourceError
from insitu.live.board import Seen
from insitu.live.guard import Asked, Guard, is_here
from insitu.live.message import Messenger
from insitu.live.page import page

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request

    from insitu.live.board import Board

PORT = 8765
PICTURES_PER_S = 15.0
# without a new picture a page is told so often (s), so that it shows the age of what it has
_HEARTBEAT_S = 0.25
_LOOK_S = 0.01
_TRIES = 20
_MOST_PAGES = 16
_LARGEST_POST = 4096
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _Rooms:
    """The answers: one page, one stream, one place to leave a mark."""

    def __init__(self, board: Board, guard: Guard) -> None:
        self._board, self._guard = board, guard
        self._messenger = Messenger(board)
        self.told: dict[int, bool] = {}

    def routes(self) -> list[Route | WebSocketRoute]:
        """Return what can be asked for."""
        return [
            Route("/", self.index, methods=["GET"]),
            WebSocketRoute("/stream", self.stream),
            Route("/mark", self.mark, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        """Answer with the page."""
        if refused := self._refused(request):
            return refused
        found = page()
        headers = {**_HEADERS, "Content-Security-Policy": found.policy}
        return Response(found.html, media_type="text/html; charset=utf-8", headers=headers)

    async def mark(self, request: Request) -> Response:
        """Write a note of the operator."""
        if refused := self._refused(request, changes=True):
            return refused
        try:
            content = json.loads(await _limited(request))
            note, frame = content["note"], content.get("frame")
            if not isinstance(note, str) or not (frame is None or type(frame) is int):
                raise TypeError  # noqa: TRY301 - one answer to whatever is wrong with it
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _said(400, 'a mark is JSON: {"note": "…", "frame": 12}')
        try:
            mark = await run_in_threadpool(self._board.mark, note, frame)
        except InsituError as error:
            return _said(409, f"{error.message}: {error.hint}")
        except OSError as error:
            return _said(507, f"the mark could not be written: {error.strerror}")
        return JSONResponse(mark, 201, headers=_HEADERS)

    async def stream(self, socket: WebSocket) -> None:
        """Tell one page what is new: the next picture only once it has shown the last."""
        if self._guard.refusal(_asked(socket)) is not None or len(self.told) >= _MOST_PAGES:
            await socket.close(1008)
            return
        await socket.accept()
        self.told[id(socket)] = False
        try:
            await self._talk(socket)
        except (WebSocketDisconnect, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
            pass  # it left, or it does not speak as the page does
        finally:
            self.told.pop(id(socket), None)

    async def _talk(self, socket: WebSocket) -> None:
        seen = Seen()
        while True:
            began, ended = time.monotonic(), self._board.ended
            await socket.send_bytes(await run_in_threadpool(self._messenger.message, seen))
            wish = json.loads(await socket.receive_text())
            seen.picture, seen.shot = bool(wish["picture"]), int(wish["shown"])
            if seen.outlines is not bool(wish["outlines"]):
                seen.outlines, seen.shot = not seen.outlines, 0
            self.told[id(socket)] = ended
            await asyncio.sleep(max(0.0, began + 1 / PICTURES_PER_S - time.monotonic()))
            # an event in place of these looks would cost the engine a wake-up a frame
            while self._quiet(seen, ended=ended) and time.monotonic() - began < _HEARTBEAT_S:  # noqa: ASYNC110 - see above
                await asyncio.sleep(_LOOK_S)

    def _quiet(self, seen: Seen, *, ended: bool) -> bool:
        return self._board.ended is ended and not (seen.picture and self._board.taken > seen.shot)

    def _refused(self, request: Request, *, changes: bool = False) -> Response | None:
        refusal = self._guard.refusal(_asked(request), changes=changes)
        return None if refusal is None else _said(*refusal)


def _asked(connection: HTTPConnection) -> Asked:
    client = connection.client.host if connection.client else ""
    return Asked(client, connection.headers, connection.query_params.get("token", ""))


def _said(status: int, text: str) -> Response:
    return PlainTextResponse(text, status, headers=_HEADERS)


async def _limited(request: Request) -> bytes:
    """Return the body of a request; a long one is not read to its end."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_POST:
            raise ValueError("too long")
    return body


class LiveServer:
    """Serves a board, from construction until `close`.

    Parameters
    ----------
    board : Board
    port : int, optional
        8765 or the next free one without it; 0 = any free one.
    host : str
        Address to listen on; other machines reach the page only under another than this one, and with the token.

    Attributes
    ----------
    address : str
        What to open in a browser. The token stands behind ``#``, which browsers send to nobody; for other machines
        behind ``?``.
    note : str
        What a user should know: the port that was wanted is taken.

    Raises
    ------
    ResourceError
        There is no port to listen on.
    """

    def __init__(self, board: Board, port: int | None = None, host: str = "127.0.0.1") -> None:
        self._board = board
        self.guard = Guard.new(host)
        self._rooms = _Rooms(board, self.guard)
        wanted = PORT if port is None else port
        listening = _listen(host, wanted)
        self.port = int(listening.getsockname()[1])
        self.note = "" if wanted in (0, self.port) else f"port {wanted} is taken; the page is at {self.port}"
        name = f"[{host}]" if ":" in host else host
        self.address = f"http://{name}:{self.port}/{'#' if is_here(host) else '?'}token={self.guard.token}"
        # nothing of it may write on stderr, which is the program's, nor take its signals
        config = uvicorn.Config(
            Starlette(routes=self._rooms.routes()),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=_LARGEST_POST,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="live page", daemon=True
        )
        self._thread.start()

    def close(self, linger_s: float = 1.5) -> None:
        """Stop serving, once the pages that are open know how the run ended, or after `linger_s`."""
        until = time.monotonic() + linger_s
        while self._board.ended and not all(list(self._rooms.told.values())) and time.monotonic() < until:
            time.sleep(0.02)
        self._server.should_exit = True
        self._thread.join(5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `port` or one of the next."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [0] if port == 0 else [p for p in range(port, port + _TRIES) if p <= 65535]
    reason = ""
    for candidate in ports:
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, candidate))
            listening.listen(64)
        except OSError as error:
            listening.close()
            reason = error.strerror or str(error)
            continue
        return listening
    raise ResourceError(
        f"the live page cannot listen on {host}, ports {ports[0]} to {ports[-1]}: {reason}",
        "choose another with --live PORT, or leave the page out",
    )
