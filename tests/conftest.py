"""No test fails because a machine is slow, and none reads or fills the cache of who runs it."""

import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_CACHE = tempfile.mkdtemp(prefix="angioshare-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(_CACHE, ignore_errors=True)
