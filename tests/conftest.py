"""Contract suites live in hippy.testing; their assertions explain themselves as those of tests do."""

import pytest

pytest.register_assert_rewrite("hippy.testing")
