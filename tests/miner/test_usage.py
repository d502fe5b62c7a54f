"""du against what is accounted."""

from __future__ import annotations

import pytest

from hippy.miner.background import background
from hippy.miner.store import PieceStore
from hippy.miner.usage import FIRST_ROUND_SECONDS, ROUND_SECONDS, Usage
from tests.miner.issuing import settled
from tests.miner.telling import OTHER_ROOT, ROOT
from tests.miner.world import World

STEPS = 12
"""In each round, of four folders: time that passes while a thread looks is never a whole turn."""


async def steps(world: World, seconds: float) -> None:
    for _ in range(STEPS):
        await settled(lambda: any(not woken.done() for _, _, woken in world.clock._sleepers))
        await world.clock.advance(seconds / STEPS)


def known(store: PieceStore) -> int | None:
    return store.figures.allocated_bytes


async def test_what_files_take_is_known_after_a_first_round_and_refreshed_in_ten_minutes(
    stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stored.store() as store:
        files = [stored.files().path(root) for root in (ROOT, OTHER_ROOT)]
        sizes = [sum(path.stat().st_blocks * 512 for path in file.parent.iterdir() if path.is_file()) for file in files]
        others = [folder for folder in store.folders() if folder not in {file.parent for file in files}][:2]
        monkeypatch.setattr(store, "folders", lambda: [*others, *(file.parent for file in files)])
        async with background(Usage(store, stored.clock).run()):
            await steps(stored, FIRST_ROUND_SECONDS / 2)
            assert known(store) is None
            await steps(stored, FIRST_ROUND_SECONDS)
            await settled(lambda: known(store) == sum(sizes))
            assert sum(sizes) >= store.space()[1]
            gone = files[0].stat().st_blocks * 512
            files[0].unlink()
            await steps(stored, ROUND_SECONDS)
            await steps(stored, ROUND_SECONDS)
            await settled(lambda: known(store) == sum(sizes) - gone)


async def test_folders_are_all_that_the_data_directory_has(stored: World) -> None:
    async with stored.store() as store:
        with_files = {path.parent for path in stored.data_dir.rglob("*") if path.is_file()}
        assert with_files <= set(store.folders())


async def test_folder_that_cannot_be_measured_hides_no_other(
    stored: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stored.store() as store:
        broken, *others = store.folders()[:3]
        monkeypatch.setattr(store, "folders", lambda: [broken, *others])
        broken.rename(stored.data_dir / "away")
        broken.write_bytes(b"no directory")
        async with background(Usage(store, stored.clock).run()):
            await steps(stored, FIRST_ROUND_SECONDS)
            assert known(store) in (None, 0)
            broken.unlink()
            (stored.data_dir / "away").rename(broken)
            await steps(stored, ROUND_SECONDS)
            await steps(stored, ROUND_SECONDS)
            await settled(lambda: known(store) is not None)
