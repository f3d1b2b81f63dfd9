"""Champions for the rig: small real models that change the position often."""

from __future__ import annotations

from tapelab.common.clock import SystemClock
from tapelab.common.schemas.signals import Signal
from tapelab.common.serving.manifest import Calibration, Decision, encode_manifest
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.postgres import close_pool, create_pool
from tapelab.common.storage.redis import connect
from tapelab.common.storage.registry import Registry
from tapelab.quant.features import FEATURE_SETS
from tests.common.serving.models import manifest, model_txt

_CORE = FEATURE_SETS["core"]
_RESTLESS = Decision(threshold=0.0, cooldown_ns=0, max_hold_ns=10**12, flatten_ns=0, valid_ns=10**9, latency_ns=0)


class Champions:
    """Registers models and points at them; each crowning is another model."""

    def __init__(self, settings: CommonSettings) -> None:
        self._settings = settings
        self._store = ArtifactStore(settings.artifacts)
        self._clock = SystemClock()
        self.digests: list[str] = []

    async def crown(self) -> str:
        """Another model becomes champion; the digest of its manifest."""
        number = len(self.digests) + 1
        files = {"model.txt": self._store.put(model_txt(number, len(_CORE.names)))}
        made = manifest(
            files,
            model_id=f"model-{number}",
            feature_set="core",
            feature_set_id=_CORE.id,
            feature_names=tuple(_CORE.names),
            bar_spec="tick:10",
            calibration=Calibration(slope=1.0),
            decision=_RESTLESS,
        )
        digest = self._store.put(encode_manifest(made))
        self.digests.append(digest)
        redis = connect(self._settings.redis_url)
        pool = await create_pool(self._settings.postgres_dsn, max_size=1)
        try:
            registry = Registry(pool, redis, self._clock, self._settings.namespace)
            await registry.add_model(made, None)
            await registry.set_pointer("champion", made.model_id, "live", reason="a test")
        finally:
            await close_pool(pool)
            await redis.aclose()
        return digest

    def models_of(self, signals: list[Signal]) -> list[str]:
        """Digests in the order in which they first decided."""
        return list(dict.fromkeys(signal.model_digest for signal in signals))
