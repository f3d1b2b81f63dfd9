"""Models in memory, loaded and warmed in a thread so that deciding never waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.load import Artifacts, ServingModel, load_manifest, load_model
from tapelab.common.serving.manifest import Manifest
from tapelab.common.storage.pointers import Pointer

#: Models that no pointer names are kept for a while: a replay may ask for the ones before.
_SPARE: Final = 16


class Models:
    """Loaded models by digest.

    Args:
        store: where manifests and model files lie.
        live: the (bar specification, feature set id) pairs that are computed live.
    """

    def __init__(self, store: Artifacts, live: Collection[tuple[str, str]]) -> None:
        self._store = store
        self._live = frozenset(live)
        self._loaded: dict[str, ServingModel] = {}
        self._loading = asyncio.Lock()

    def __getitem__(self, digest: str) -> ServingModel:
        model = self._loaded.pop(digest)
        self._loaded[digest] = model  # the least recently used stands first
        return model

    async def load(self, digest: str) -> ServingModel:
        """The model of a manifest's digest, loaded and warmed if it is not yet.

        Raises:
            ModelMismatch: manifest or model are missing or wrong.
        """
        async with self._loading:
            if digest not in self._loaded:
                self._loaded[digest] = await asyncio.to_thread(self._load, digest)
            return self[digest]

    async def load_for(self, pointer: Pointer) -> Manifest:
        """Load what a pointer names, if it may decide on what is live.

        Raises:
            ModelMismatch: it is of a feature set or of bars that are not live, or cannot be loaded.
        """
        manifest = (await self.load(pointer.digest)).manifest
        if manifest.model_id != pointer.model_id:
            raise ModelMismatch(
                f"the {pointer.role} pointer of {pointer.symbol} contradicts itself",
                expected=f"model {pointer.model_id}",
                actual=f"{manifest.model_id} under its digest {pointer.digest}",
                remedy="promote the model again",
            )
        if (manifest.bar_spec, manifest.feature_set_id) not in self._live:
            live = ", ".join(f"bars {bars} with feature set {feature_set}" for bars, feature_set in sorted(self._live))
            raise ModelMismatch(
                f"model {manifest.model_id} ({pointer.role} of {pointer.symbol}) does not fit what is computed live",
                expected=live or "nothing: pipeline.yaml lists no features",
                actual=f"bars {manifest.bar_spec} with feature set {manifest.feature_set_id} ({manifest.feature_set})",
                remedy="promote a model of a live pair, or add the pair to config/pipeline.yaml and restart",
            )
        return manifest

    def trim(self, in_use: int) -> None:
        """Forget the models that were not used for the longest time, beyond twice those in use and some."""
        for digest in list(self._loaded)[: max(0, len(self._loaded) - 2 * in_use - _SPARE)]:
            del self._loaded[digest]

    def _load(self, digest: str) -> ServingModel:
        return load_model(load_manifest(digest, self._store), self._store)
