"""The real server, spoken to as a browser, a script and an attacker would."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import struct
import time
from contextlib import ExitStack
from io import BytesIO

import numpy as np
import psutil
import pytest
from live_cases import board_at, event_of, progress_of, result_of
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from insitu.environment import Following, Sensors
from insitu.errors import ResourceError
from insitu.hook import telling
from insitu.live.page import page
from insitu.live.server import PORT, LiveServer


@pytest.fixture
def board(tmp_path):
    return board_at(tmp_path / "run", frames=3)


@pytest.fixture
def server(board):
    with LiveServer(board, 0) as running:
        yield running


def ask(server, path="/", method="GET", body=None, host=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    named = {"Host": host or f"127.0.0.1:{server.port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if body is not None:
        named["Content-Length"] = str(len(body))
    for name, value in named.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer, text


def joined(server, **kw):
    return connect(f"ws://127.0.0.1:{server.port}/stream", proxy=None, open_timeout=20, **kw)


def heard(socket):
    raw = socket.recv(timeout=20)
    (length,) = struct.unpack(">I", raw[:4])
    values = json.loads(raw[4 : 4 + length])
    if values["picture"]:
        socket.shown = values["picture"]["number"]
    return values, raw[4 + length :]


def acknowledge(socket, *, picture=True, outlines=True, shown=None):
    """Say that what was heard last is shown, or that picture number `shown` is."""
    number = socket.shown if shown is None else shown
    socket.send(json.dumps({"picture": picture, "outlines": outlines, "shown": number}))


class TestReading:
    def test_the_page_comes_whole_and_asks_for_nothing_else(self, server):
        answer, text = ask(server)
        assert answer.status == 200
        assert text == page().html
        for outside in (b"http://", b'src="', b"@import", b"url("):
            assert outside not in text.replace(b"https://github.com/leeoniya/uPlot", b""), outside
        assert b"The MIT License" in text
        assert b"Leon Sorokin" in text

    def test_the_page_is_small(self):
        assert len(page().html) <= 150_000

    def test_its_policy_lets_nothing_else_in(self, server):
        answer, _ = ask(server)
        policy = answer.getheader("Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy.replace("sha256", "")
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Cache-Control") == "no-store"
        assert answer.getheader("Referrer-Policy") == "no-referrer"

    def test_the_token_is_not_in_the_page(self, server):
        assert server.guard.token.encode() not in ask(server)[1]

    @pytest.mark.parametrize(
        "path",
        [
            "/../../etc/passwd",
            "/..%2f..%2fetc/passwd",
            "/%2e%2e/run.json",
            "//etc/passwd",
            "/run.json",
            "/mark/",
            "/page.js",
            "/\\..\\x",
        ],
    )
    def test_there_are_no_files_to_reach(self, server, path):
        answer, text = ask(server, path)
        assert answer.status in (404, 405, 307)
        assert b"root:" not in text

    def test_another_name_is_refused(self, server):
        assert ask(server, host="evil.example")[0].status == 421
        with pytest.raises(InvalidStatus) as refused:
            joined(server, additional_headers={"Origin": "http://evil.example"}).__enter__()
        assert refused.value.response.status_code == 403

    def test_it_listens_here_only(self, server):
        import psutil

        listening = [
            c.laddr.ip
            for c in psutil.Process().net_connections("inet")
            if c.laddr.port == server.port and c.status == "LISTEN"
        ]
        assert listening == ["127.0.0.1"]

    def test_a_page_without_token_is_told_the_same(self, server):
        with joined(server) as socket:
            values, picture = heard(socket)
        assert values["state"] == "LIVE"
        with Image.open(BytesIO(picture)) as shown:
            assert shown.size == (384, 288)


class TestFlow:
    def test_the_next_picture_waits_until_the_last_was_shown(self, server, board):
        with joined(server) as socket:
            heard(socket)
            for k in range(3, 30):
                board.on_result(result_of(k))
                time.sleep(0.002)
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.6)
            acknowledge(socket)
            values, picture = heard(socket)
            assert picture
            assert values["picture"]["frame"] >= 25
            assert values["series"]["x"][-1] == 0.29

    def test_a_slow_page_does_not_hold_up_the_run(self, server, board):
        with joined(server) as socket:
            heard(socket)  # and never acknowledges
            began = time.monotonic()
            for k in range(200):
                board.on_result(result_of(k % 40, events=[event_of(k % 40)]))
            assert time.monotonic() - began < 20
        assert board.broken == ""

    def test_without_news_the_page_is_told_that_it_is_still_there(self, server):
        with joined(server) as socket:
            heard(socket)
            acknowledge(socket)
            began = time.monotonic()
            assert heard(socket)[1] == b""
            assert time.monotonic() - began < 5

    def test_a_picture_that_was_not_shown_comes_again(self, server):
        with joined(server) as socket:
            first = heard(socket)[1]
            acknowledge(socket, picture=False, shown=0)  # it was paused while the picture was on its way
            assert heard(socket)[1] == b""
            acknowledge(socket, shown=0)
            assert heard(socket)[1] == first

    def test_pictures_come_at_most_fifteen_times_a_second(self, server, board):
        with joined(server) as socket:
            heard(socket)
            began, pictures = time.monotonic(), 0
            while time.monotonic() - began < 1.0:
                board.on_result(result_of(pictures))
                time.sleep(0.005)
                acknowledge(socket)
                pictures += bool(heard(socket)[1])
            assert 1 <= pictures <= 16

    def test_outlines_can_be_left_out(self, server, board):
        def colours(jpeg):
            with Image.open(BytesIO(jpeg)) as shown:
                red, _, blue = np.asarray(shown.convert("RGB")).astype(int).transpose(2, 0, 1)
                return abs(red - blue).max()

        with joined(server) as socket:
            assert colours(heard(socket)[1]) > 60
            acknowledge(socket, outlines=False)
            assert colours(heard(socket)[1]) < 20

    def test_pages_hear_how_it_ended_before_the_server_goes(self, board):
        running = LiveServer(board, 0)
        with joined(running) as socket:
            heard(socket)
            board.end("DONE", "3 of 3 frames used")
            import threading

            closing = threading.Thread(target=running.close)
            closing.start()
            acknowledge(socket)
            values, _ = heard(socket)
            acknowledge(socket)
            closing.join()
        assert (values["state"], values["says"]) == ("DONE", "3 of 3 frames used")

    def test_a_page_that_says_nothing_does_not_keep_the_program(self, board):
        running = LiveServer(board, 0)
        with joined(running) as socket:
            heard(socket)
            board.end("DONE", "")
            began = time.monotonic()
            running.close(linger_s=0.2)
            assert time.monotonic() - began < 5
        assert not running._thread.is_alive()

    @pytest.mark.parametrize("word", ["", "{", "[]", "1", '"x"', "{}", '{"picture": 1}', "x" * 10_000, b"\xff\x00"])
    def test_whoever_speaks_another_language_is_let_go_of(self, server, word):
        with joined(server) as socket:
            heard(socket)
            socket.send(word)
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=20)
        assert ask(server)[0].status == 200

    def test_no_more_than_sixteen_pages(self, server):
        with ExitStack() as pages:
            for _ in range(16):
                heard(pages.enter_context(joined(server)))
            with pytest.raises(InvalidStatus):
                joined(server).__enter__()


class TestMarking:
    def mark(self, server, body=b'{"note": "valve", "frame": 1}', **headers):
        return ask(server, "/mark", "POST", body, **headers)

    def test_it_is_written_and_shown(self, server, tmp_path):
        with joined(server) as socket:
            heard(socket)
            answer, text = self.mark(server, X_Insitu_Token=server.guard.token)
            assert answer.status == 201
            acknowledge(socket)
            assert heard(socket)[0]["events"][0]["note"] == "valve"
        (line,) = (tmp_path / "run" / "marks.jsonl").read_text().splitlines()
        assert json.loads(line) == json.loads(text)

    @pytest.mark.parametrize("headers", [{}, {"X_Insitu_Token": "wrong"}, {"Origin": "http://evil.example"}])
    def test_nobody_else_may(self, server, tmp_path, headers):
        assert self.mark(server, **headers)[0].status == 403
        assert not (tmp_path / "run" / "marks.jsonl").exists()

    def test_not_with_the_token_from_another_name_or_page(self, server, tmp_path):
        token = {"X_Insitu_Token": server.guard.token}
        assert self.mark(server, host="evil.example", **token)[0].status == 421
        assert self.mark(server, Origin="http://evil.example", **token)[0].status == 403
        assert not (tmp_path / "run" / "marks.jsonl").exists()

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
    def test_nothing_changes_by_another_method(self, server, tmp_path, method):
        answer, _ = ask(server, "/mark?note=x&frame=1", method, X_Insitu_Token=server.guard.token)
        assert answer.status == 405
        assert not (tmp_path / "run" / "marks.jsonl").exists()

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"1",
            b'{"frame": 1}',
            b'{"note": 1}',
            b'{"note": "x", "frame": "1"}',
            b'{"note": "x", "frame": true}',
            b"[" * 4000,
            b"x" * 9000,
            b"\xff",
        ],
    )
    def test_anything_else_is_refused(self, server, tmp_path, body):
        assert self.mark(server, body, X_Insitu_Token=server.guard.token)[0].status == 400
        assert not (tmp_path / "run" / "marks.jsonl").exists()

    def test_a_frame_that_does_not_exist_is_named(self, server):
        answer, text = self.mark(server, b'{"note": "x", "frame": 99}', X_Insitu_Token=server.guard.token)
        assert answer.status == 409
        assert b"frame 99 has not been reached" in text

    def test_a_full_disk_is_said(self, server, tmp_path):
        (tmp_path / "run" / "marks.jsonl").mkdir()
        answer, text = self.mark(server, X_Insitu_Token=server.guard.token)
        assert answer.status == 507
        assert b"could not be written" in text


class TestPort:
    def test_a_port_that_is_taken_gives_the_next_and_a_note(self, board):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            with LiveServer(board, taken) as running:
                assert taken < running.port <= taken + 20
                assert running.note == f"port {taken} is taken; the page is at {running.port}"
                assert ask(running)[0].status == 200

    def test_two_at_once_are_at_two_ports(self, board):
        with LiveServer(board) as one, LiveServer(board) as other:
            assert one.port >= PORT
            assert other.port > one.port

    def test_an_address_that_is_not_ours_is_an_error_with_a_hint(self, board):
        with pytest.raises(ResourceError, match=r"cannot listen on 203\.0\.113\.1"):
            LiveServer(board, 8765, "203.0.113.1")

    def test_the_address_keeps_its_token_from_the_wire(self, server, board):
        assert server.address == f"http://127.0.0.1:{server.port}/#token={server.guard.token}"
        with LiveServer(board, 0, "0.0.0.0") as outside:
            assert f":{outside.port}/?token=" in outside.address


def test_nothing_is_written_on_the_streams_of_the_program(server, capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        ask(server)
        ask(server, "/nothing")
        with socket.create_connection(("127.0.0.1", server.port)) as rude:
            rude.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            rude.recv(100)
    assert capfd.readouterr() == ("", "")


def test_counts_arrive(server, board):
    board.on_progress(progress_of(7, lag_frames=3, lag_s=0.03))
    with joined(server) as socket:
        assert heard(socket)[0]["counts"]["incoming"] == 10


def listening():
    """Addresses on which this process listens."""
    connections = psutil.Process().net_connections("inet")
    return [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN]


def test_nothing_listens_elsewhere_unless_asked(board, tmp_path):
    before = listening()
    (tmp_path / "log.csv").write_text("time_s,T_C\n0,1\n")
    with LiveServer(board, 0), Following(Sensors(tmp_path / "log.csv", 0.0)), telling("true", tmp_path / "run", print):
        assert sorted([*before, "127.0.0.1"]) == sorted(listening())
    with LiveServer(board, 0, "0.0.0.0"):
        assert "0.0.0.0" in listening()
    assert listening() == before
