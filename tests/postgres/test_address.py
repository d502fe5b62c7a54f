"""Addresses are checked without being repeated, and shown without their passwords."""

from __future__ import annotations

import pytest

from hippy.postgres.address import has_password, masked, registry_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://hippy@db.example:5432/registry",
        "postgres:///registry?host=/run/postgresql",
        "postgresql://h1:1,h2:2/registry?target_session_attrs=primary",
        "postgresql://?service=registry",
    ],
)
def test_address_of_a_database_is_taken_as_it_is(url: str) -> None:
    assert registry_url(url) == url
    assert not has_password(url)
    assert masked(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "registry",
        "mysql://db/x:secret",
        "postgresql:/secret",
        "http://secret",
        "postgresql://s\necret/x",
        "postgresql://[secret",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="not an address of a PostgreSQL database") as caught:
        registry_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://hippy:secret@db/x", "postgresql://hippy:***@db/x"),
        ("postgresql://hippy:se@cret@db/x", "postgresql://hippy:***@db/x"),
        ("postgresql://db/x?password=secret&user=hippy", "postgresql://db/x?password=***&user=hippy"),
        ("postgresql://db/x?sslpassword=secret", "postgresql://db/x?sslpassword=***"),
        ("postgresql://hippy:sec/ret@db/x", "postgresql://***"),
        ("postgresql://hippy:sec?ret@db/x", "postgresql://***"),
        ("postgresql://hippy:sec#ret@db/x", "postgresql://***"),
        ("postgresql://hippy:secret@h1,h2:5/x", "postgresql://hippy:***@h1,h2:5/x"),
    ],
)
def test_password_is_found_and_masked(url: str, shown: str) -> None:
    assert has_password(url)
    assert masked(url) == shown
