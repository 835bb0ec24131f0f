from __future__ import annotations

import pytest

from insitu.live.guard import Asked, Guard

HERE, WORLD = Guard("secret"), Guard("secret", "0.0.0.0")


def asked(client="127.0.0.1", host="127.0.0.1:8765", token="", **headers):
    return Asked(client, {"host": host, **{k.replace("_", "-"): v for k, v in headers.items()}}, token)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "LOCALHOST", "localhost:9000"])
def test_reading_here_needs_no_token(host):
    """The port may be another one: that of a tunnel."""
    assert HERE.refusal(asked(host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8765",
        "",
        "10.0.0.5:8765",
        "[::2]:8765",
    ],
)
def test_another_name_that_leads_here_is_refused_even_with_the_token(host):
    assert HERE.refusal(asked(host=host, token="secret"))[0] == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "file://", "http://localhost:8765"]
)
def test_a_page_from_elsewhere_is_refused(origin):
    assert HERE.refusal(asked(origin=origin))[0] == 403
    assert HERE.refusal(asked(origin=origin, x_insitu_token="secret"), changes=True)[0] == 403


def test_its_own_page_may_ask():
    assert HERE.refusal(asked(origin="http://127.0.0.1:8765")) is None


@pytest.mark.parametrize("token", ["", "wrong", "secre", "sécret"])
def test_a_change_needs_the_token(token):
    assert HERE.refusal(asked(x_insitu_token=token), changes=True)[0] == 403


def test_a_change_needs_the_token_in_its_header_not_in_an_address():
    assert HERE.refusal(asked(token="secret"), changes=True)[0] == 403
    assert HERE.refusal(asked(x_insitu_token="secret"), changes=True) is None


def test_another_machine_needs_the_token_to_read():
    there = {"client": "10.0.0.7", "host": "10.0.0.5:8765"}
    assert WORLD.refusal(asked(**there))[0] == 403
    assert WORLD.refusal(asked(**there, token="wrong"))[0] == 403
    assert WORLD.refusal(asked(**there, token="secret")) is None


def test_another_machine_cannot_call_itself_this_one():
    assert WORLD.refusal(asked(client="10.0.0.7", host="127.0.0.1:8765"))[0] == 403


def test_this_machine_under_an_outer_address_needs_the_token():
    assert WORLD.refusal(asked(host="10.0.0.5:8765"))[0] == 403
    assert WORLD.refusal(asked(host="127.0.0.1:8765")) is None


def test_an_empty_token_lets_nobody_write():
    assert HERE.refusal(asked(x_insitu_token=""), changes=True)[0] == 403
    assert len(Guard.new().token) >= 24
    assert Guard.new().token != Guard.new().token
