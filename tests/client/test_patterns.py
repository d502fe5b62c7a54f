"""What patterns and filters mean."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.client.patterns import Filter, has_pattern, matches_name, matches_path

MATCHES = [
    ("*.bin", "a.bin"),
    ("[!b].bin", "a.bin"),
    ("**", "a.bin"),
    ("**/a.bin", "a.bin"),
    ("runs/**", "runs/x/a.bin"),
    ("runs/**/a.bin", "runs/a.bin"),
    ("r*/**/a.*", "runs/x/y/a.bin"),
    ("*", ".hidden"),
]
MISSES = [
    ("*.bin", "runs/a.bin"),
    ("[ab].bin", "c.bin"),
    ("runs/*", "runs/x/a.bin"),
    ("**/x", "x/a"),
    ("runs/**/a.bin", "other/a.bin"),
    ("?", "ab"),
]


@pytest.mark.parametrize(("pattern", "path"), MATCHES)
def test_a_pattern_matches_a_path(pattern: str, path: str) -> None:
    assert matches_path(pattern.split("/"), path.split("/"))


@pytest.mark.parametrize(("pattern", "path"), MISSES)
def test_a_pattern_does_not_match_another_path(pattern: str, path: str) -> None:
    assert not matches_path(pattern.split("/"), path.split("/"))


def _rest(patterns: list[str], names: list[str]) -> bool:
    """The slow reference: ``**`` stands for every number of names in turn."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_rest(patterns[1:], names[skip:]) for skip in range(len(names) + 1))
    return bool(names) and matches_name(patterns[0], names[0]) and _rest(patterns[1:], names[1:])


NAMES = st.lists(st.sampled_from(["a", "b", "ab", "c"]), max_size=5)
PATTERNS = st.lists(st.sampled_from(["a", "*", "?", "a*", "**", "[!a]"]), max_size=5)


@given(PATTERNS, NAMES)
def test_paths_match_as_the_reference_says(patterns: list[str], names: list[str]) -> None:
    assert matches_path(patterns, names) == _rest(patterns, names)


def test_brackets_make_a_character_literal() -> None:
    assert matches_name("a[*]b", "a*b")
    assert not matches_name("a[*]b", "axb")
    assert has_pattern("a[*]b")
    assert not has_pattern("a b{c}")


def test_case_counts_and_unicode_forms_do_not() -> None:
    assert not matches_name("A*", "a")
    assert matches_name(unicodedata.normalize("NFD", "é*"), unicodedata.normalize("NFC", "éa"))


@pytest.mark.parametrize(
    ("include", "exclude", "kept"),
    [
        ((), (), {"a.tmp", "a.bin", "cache/x.bin", "deep/cache/y.tmp", "deep/z.bin"}),
        ((), ("*.tmp",), {"a.bin", "cache/x.bin", "deep/z.bin"}),
        ((), ("cache",), {"a.tmp", "a.bin", "deep/z.bin"}),
        ((), ("cache/",), {"a.tmp", "a.bin", "deep/z.bin"}),
        ((), ("a.bin/",), {"a.tmp", "a.bin", "cache/x.bin", "deep/cache/y.tmp", "deep/z.bin"}),
        ((), ("/cache",), {"a.tmp", "a.bin", "deep/cache/y.tmp", "deep/z.bin"}),
        ((), ("deep/*.bin",), {"a.tmp", "a.bin", "cache/x.bin", "deep/cache/y.tmp"}),
        (("*.bin",), (), {"a.bin", "cache/x.bin", "deep/z.bin"}),
        (("*.bin",), ("cache",), {"a.tmp", "a.bin", "cache/x.bin", "deep/z.bin"}),
        (("deep/**/y.tmp",), ("*.tmp",), {"a.bin", "cache/x.bin", "deep/cache/y.tmp", "deep/z.bin"}),
        (("deep",), ("*",), {"deep/cache/y.tmp", "deep/z.bin"}),
    ],
)
def test_filters_keep_what_they_say(include: tuple[str, ...], exclude: tuple[str, ...], kept: set[str]) -> None:
    files = {"a.tmp", "a.bin", "cache/x.bin", "deep/cache/y.tmp", "deep/z.bin"}
    chosen = Filter(include=include, exclude=exclude)
    assert {file for file in files if chosen.keeps(file.split("/"))} == kept


def test_a_directory_is_skipped_only_when_nothing_in_it_can_be_meant() -> None:
    assert Filter(exclude=("cache/",)).skips_directory(("deep", "cache"))
    assert not Filter(exclude=("cache/",), include=("*.bin",)).skips_directory(("cache",))
    assert not Filter(include=("*.bin",)).skips_directory(("cache",))
