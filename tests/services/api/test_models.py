"""Models, promotion, rollback and halts over HTTP."""

from __future__ import annotations

import pytest

from tapelab.common.storage.halts import read_halts
from tapelab.common.storage.pointers import read_pointers
from tapelab.common.storage.registry import GateRule
from tests.common.storage.manifests import manifest
from tests.services.api.conftest import problem

GOOD = GateRule(id="net", passed=True, value=1.0, limit=0.0)
BAD = GateRule(id="baseline", passed=False, value=0.4, limit=0.95, reason="within noise")


@pytest.fixture
async def models(rig):
    """A model that passed, one that failed, one that was not judged."""
    await rig.deps.registry.add_model(manifest("good"), "exp-1", [GOOD])
    await rig.deps.registry.add_model(manifest("bad"), "exp-2", [GOOD, BAD])
    await rig.deps.registry.add_model(manifest("new"), "exp-3")
    return rig.deps.registry


async def test_a_model_that_passed_goes_live_and_shows_its_role(rig, http, models, redis_client):
    response = await http.post("/ml/models/good/promote", json={"reason": "better"})
    assert response.status_code == 200
    pointer = response.json()
    assert (pointer["role"], pointer["symbol"], pointer["mode"]) == ("champion", "default", "live")
    (held,) = await read_pointers(redis_client)
    assert (held.model_id, held.digest) == ("good", manifest("good").digest)
    shown = (await http.get("/ml/models/good")).json()
    assert shown["pointers"] == [pointer]
    assert [(change["action"], change["reason"]) for change in shown["history"]] == [("set", "better")]
    assert shown["manifest"]["created_ns"] == "1700000000000000001"
    assert (await http.get("/ml/data/status")).json()["champion"] == pointer
    assert [event.kind for event in await rig.deps.jobs.events("good")] == ["promotion"]
    listed = (await http.get("/ml/models")).json()
    assert {item["model_id"]: len(item["pointers"]) for item in listed["items"]} == {"good": 1, "bad": 0, "new": 0}
    assert listed["seq"] == str(pointer["version"])


@pytest.mark.parametrize("mode", ["live", "canary"])
async def test_a_model_whose_gate_failed_is_refused_with_the_rules(http, models, redis_client, mode):
    refused = problem(await http.post("/ml/models/bad/promote", json={"mode": mode}), 409)
    assert refused["code"] == "gate_failed"
    assert [rule["id"] for rule in refused["rules"]] == ["baseline"]
    assert await read_pointers(redis_client) == []


async def test_a_model_that_was_not_judged_is_refused(http, models):
    assert problem(await http.post("/ml/models/new/promote", json={}), 409)["code"] == "gate_missing"


async def test_any_model_may_run_as_a_shadow(http, models):
    body = {"mode": "shadow", "role": "challenger", "symbol": "WINZ26"}
    assert (await http.post("/ml/models/bad/promote", json=body)).json()["symbol"] == "WINZ26"


async def test_a_model_of_a_pair_that_is_not_live_is_refused(rig, http):
    await rig.deps.registry.add_model(manifest("odd", bar_spec="tick:999"), None, [GOOD])
    refused = problem(await http.post("/ml/models/odd/promote", json={"mode": "shadow"}), 409)
    assert (refused["code"], "core over tick:50" in refused["expected"]) == ("pair_not_live", True)


async def test_rolling_back_over_http(http, models, redis_client):
    await http.post("/ml/models/bad/promote", json={"mode": "shadow"})
    await http.post("/ml/models/good/promote", json={})
    back = (await http.post("/ml/models/rollback", json={"reason": "worse"})).json()
    assert (back["model_id"], back["mode"]) == ("bad", "shadow")
    assert problem(await http.post("/ml/models/rollback", json={}), 409)["code"] == "registry_error"


async def test_rolling_back_behind_a_runs_start_has_to_be_forced(rig, http, models):
    await http.post("/ml/models/good/promote", json={})
    await rig.deps.registry.retire("champion", reason="a run starts")
    await http.post("/ml/models/bad/promote", json={"mode": "shadow"})
    refused = problem(await http.post("/ml/models/rollback", json={}), 409)
    assert "a run starts" in refused["actual"]
    assert (await http.post("/ml/models/rollback", json={"force": True})).json()["model_id"] == "good"


@pytest.mark.parametrize(
    ("url", "body", "field"),
    [
        ("/ml/models/good/promote", {"symbol": "no such symbol"}, "symbol"),
        ("/ml/models/good/promote", {"mode": "paper"}, "mode"),
        ("/ml/models/good/promote", {"reason": ""}, "reason"),
        ("/ml/models/rollback", {"role": "king"}, "role"),
        ("/ml/halts/WINZ26", {}, "reason"),
        ("/ml/halts/no such symbol", {"reason": "x"}, "symbol"),
    ],
)
async def test_a_wrong_request_names_its_field(http, models, url, body, field):
    assert problem(await http.post(url, json=body), 422)["field"] == field


async def test_an_unknown_model_is_404(http):
    assert problem(await http.get("/ml/models/none"), 404)["code"] == "unknown_model"
    assert problem(await http.post("/ml/models/none/promote", json={}), 404)["code"] == "unknown_model"


async def test_halts_are_set_shown_and_ended(rig, http, redis_client):
    made = (await http.post("/ml/halts/WINZ26", json={"reason": "news"})).json()
    await http.post("/ml/halts/*", json={"reason": "all"})
    assert made == {
        "symbol": "WINZ26",
        "reason": "news",
        "by": "api",
        "set_ns": str(rig.deps.clock.now_ns()),
        "warning": "",
    }
    assert {item["symbol"] for item in (await http.get("/ml/halts")).json()["items"]} == {"WINZ26", "*"}
    assert set(rig.deps.status.halts) == {"WINZ26", "*"}
    for symbol in ("WINZ26", "*", "WINZ26"):
        assert (await http.delete(f"/ml/halts/{symbol}")).status_code == 204
    assert await read_halts(redis_client) == {}


async def test_a_store_that_does_not_answer_is_503(rig, http, pool):
    await pool.close()
    response = await http.get("/ml/models")
    assert problem(response, 503)["code"] == "store_unavailable"
    assert response.headers["retry-after"] == "5"
