"""Brokers by name, the seed, and which tests run when."""

from __future__ import annotations

import os

import pytest

from tests.fixtures_kafka import Broker


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long runs only where they are asked for by name: ``-m recovery_long`` (``make test-recovery``)."""
    if "recovery_long" in (config.option.markexpr or ""):
        return
    long = [item for item in items if item.get_closest_marker("recovery_long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of the faults; ``TAPELAB_RECOVERY_SEED`` replays another one."""
    number = int(os.environ.get("TAPELAB_RECOVERY_SEED", "1"))
    print(f"replay with TAPELAB_RECOVERY_SEED={number} python -m pytest '{request.node.nodeid}'")
    return number


@pytest.fixture(params=["embedded", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn."""
    return request.getfixturevalue("embedded_broker" if request.param == "embedded" else "apache_kafka")


@pytest.fixture(params=["embedded", "kafka"])
def broker_behind_proxy(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, for a test that puts a proxy before it."""
    return request.getfixturevalue("embedded_behind_proxy" if request.param == "embedded" else "apache_kafka")
