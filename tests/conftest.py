"""What every test runs under."""

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a first call compiles kernels, and a test must not depend on how busy the machine is.
settings.register_profile("steward", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("steward")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with real servers first: they wait for most of their time, and other processes go on meanwhile."""
    items.sort(key=lambda item: "integration" not in item.path.parts)
