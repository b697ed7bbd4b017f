"""What a header field can hold, and what proxies say in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.core.structured_fields import before_control, forwarded_proto, is_token, token_start


@pytest.mark.parametrize(
    ("value", "proto"),
    [
        ("proto=https", "https"),
        ("Proto=HTTPS", "https"),
        ('proto="https"', "https"),
        ('proto="ht\\tps"', "https"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "http"),
        ('For="[2001:db8:cafe::17]:4711" ; proto=https', "https"),
        ('For="[2001:db8:cafe::17]:4711"; proto=https', "https"),
        ("for=192.0.2.43, for=198.51.100.17;proto=https", "https"),
        ("proto=https;for=a, proto=http;for=b", "https"),
        ("proto=http, proto=https", "http"),
        ('for="a;proto=https", by=x', ""),
        ('for="a\\";proto=https"', ""),
        ("xproto=https", ""),
        ("proto = https", ""),
        ("", ""),
        (";;,,proto=wss", "wss"),
    ],
)
def test_forwarded(value, proto):
    """The first scheme that a Forwarded field states, whatever else its elements hold."""
    assert forwarded_proto(value) == proto


@given(st.text(st.characters(max_codepoint=255)))
def test_any_text(text):
    """No text gives an error, and what is taken of it holds what it says."""
    forwarded_proto(text)
    head = before_control(text)
    assert text.startswith(head)
    assert not any((c < " " and c != "\t") or c == "\x7f" for c in head)
    assert head == text or text[len(head)] < " " or text[len(head)] == "\x7f"
    start = token_start(text)
    assert text.startswith(start)
    assert is_token(text) == (start == text != "")
