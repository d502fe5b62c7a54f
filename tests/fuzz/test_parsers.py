"""Whatever bytes a stranger sends, a parser accepts them or raises a HippyError."""

from __future__ import annotations

import time
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import HippyError
from tests.fuzz.mutate import Mutator
from tests.fuzz.parsers import PARSERS, Parser

FEW = 150
MANY = 20_000
each_parser = pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
quick = settings(derandomize=True, deadline=None, max_examples=25, database=None)


def holds(parser: Parser, count: int, seed: int) -> int:
    """Feed a parser and return how many inputs it accepted; any error but ours is shown with its input."""
    mutator, accepted = Mutator(seed), 0
    for number in range(count):
        body = mutator.mutate(parser.samples)
        try:
            parser.parse(body)
            accepted += 1
        except HippyError:
            pass
        except Exception as error:
            raise AssertionError(
                f"{parser.name}, seed {seed}, input {number}: {error!r} for {body[:2000]!r}"
            ) from error
    return accepted


@each_parser
def test_samples_are_read_as_they_are(parser: Parser) -> None:
    for sample in parser.samples:
        with suppress(HippyError):  # a signature or path of the samples need not be right
            parser.parse(sample)


@each_parser
def test_a_mutated_sample_is_refused_with_an_error_of_ours(parser: Parser) -> None:
    accepted = holds(parser, FEW, zlib.crc32(parser.name.encode()))
    assert accepted < FEW / 2  # else nothing was mutated


@each_parser
def test_any_bytes_are_refused_with_an_error_of_ours(parser: Parser) -> None:
    @quick
    @given(
        st.one_of(
            st.binary(max_size=300), st.tuples(st.sampled_from(parser.samples), st.binary(max_size=40)).map(b"".join)
        )
    )
    def check(body: bytes) -> None:
        with suppress(HippyError):
            parser.parse(body)

    check()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_parser
def test_many_mutated_samples_are_refused_with_errors_of_ours(parser: Parser) -> None:
    seed, began = time.time_ns() % 2**32, time.monotonic()
    accepted = holds(parser, MANY, seed)
    rate = MANY / (time.monotonic() - began)
    print(f"{parser.name}: seed {seed}, {MANY:,} inputs, {accepted:,} accepted, {rate:,.0f} a second")
