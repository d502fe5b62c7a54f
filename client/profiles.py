"""Which erasure code a put uses: the one that was asked for, or the one that suits how many miners are live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hippy.erasure.geometry import LOCAL, STANDARD, Profile, parse_profile
from hippy.errors import TemporaryError

if TYPE_CHECKING:
    from hippy.client.session import Session

STANDARD_MINERS_MIN: Final = 30
"""Independent miners from which on the standard profile is the default."""

AUTO: Final = "auto"


class Profiles:
    """The choice of one client; ``name`` is ``auto``, a profile's name or ``k/n``."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    async def available(self) -> Profile:
        """Return the profile to use now.

        Raises TemporaryError when it has more pieces than there are live independent miners.
        """
        miners = await self._session.miners.independent_count()
        profile = self.wanted(miners)
        if profile.n > miners:
            raise TemporaryError(
                f"the code {profile} needs {profile.n} independent miners, {miners} are live",
                hint=f"wait for more miners, or choose a smaller code{_smaller_code(miners)}",
            )
        return profile

    def wanted(self, miners: int) -> Profile:
        """Return the profile for so many live miners, whether they are enough for it or not."""
        if self._name != AUTO:
            return parse_profile(self._name)
        return STANDARD if miners >= STANDARD_MINERS_MIN else LOCAL


def _smaller_code(miners: int) -> str:
    return f": --ec {(miners + 1) // 2}/{miners}" if miners > 1 else ""
