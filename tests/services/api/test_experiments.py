"""Experiments over HTTP."""

from __future__ import annotations

import pytest

from tapelab.api.middleware import MAX_BODY_BYTES
from tapelab.common import topics
from tapelab.common.codec import decode
from tests.services.api.conftest import problem


async def test_a_posted_experiment_is_queued_recorded_and_announced(rig, http):
    config = {"name": "first", "horizon_s": 10, "nested": {"a": [1, None]}}
    response = await http.post("/ml/experiments", json={"config": config})
    assert response.status_code == 201
    made = response.json()
    assert (made["name"], made["status"], made["config"]) == ("first", "queued", config)
    assert (await http.get(response.headers["location"])).json() == made
    assert [(event["seq"], event["kind"], event["data"]["status"]) for event in made["events"]] == [
        ("1", "status", "queued")
    ]
    ((topic, key, value),) = rig.sent
    assert (topic, key) == (topics.EVENTS, made["id"])
    assert decode(topics.EVENTS, value).seq == 1
    assert (await rig.deps.jobs.claim("w")).id == made["id"]


async def test_a_list_is_newest_first_and_can_be_paged(http):
    ids = [(await http.post("/ml/experiments", json={"config": {"name": str(n)}})).json()["id"] for n in range(3)]
    first = (await http.get("/ml/experiments", params={"limit": 2})).json()
    assert [item["id"] for item in first["items"]] == [ids[2], ids[1]]
    assert first["seq"] == "3"
    second = (await http.get("/ml/experiments", params={"limit": 2, "cursor": first["next"]})).json()
    assert ([item["id"] for item in second["items"]], second["next"]) == ([ids[0]], None)


async def test_progress_gate_and_result_are_shown(rig, http):
    made = (await http.post("/ml/experiments", json={"config": {"name": "x"}})).json()
    await rig.deps.jobs.claim("w")
    await rig.deps.jobs.heartbeat(made["id"], "w", progress=0.25, stage="train")
    rules = [{"id": "net", "passed": False, "value": -1.5, "limit": 0.0, "reason": "loses"}]
    result = {"model_id": "m1", "gate": {"passed": False, "rules": rules}}
    await rig.deps.jobs.append_event(made["id"], "progress", {"stage": "train"})
    await rig.deps.jobs.set_status(made["id"], "running", result=result)
    shown = (await http.get(f"/ml/experiments/{made['id']}")).json()
    assert (shown["progress"], shown["stage"], shown["model_id"]) == (0.25, "train", "m1")
    assert shown["gate"]["rules"] == [{**rules[0], "evidence": {}}]
    assert [event["kind"] for event in shown["events"]] == ["status", "progress"]
    later = (await http.get(f"/ml/experiments/{made['id']}", params={"after_seq": 1})).json()
    assert [event["seq"] for event in later["events"]] == ["2"]


async def test_a_gate_that_cannot_be_read_is_said_and_the_list_stays(rig, http):
    made = (await http.post("/ml/experiments", json={"config": {"name": "x"}})).json()
    await rig.deps.jobs.set_status(made["id"], "done", result={"gate": {"passed": "maybe"}})
    (item,) = (await http.get("/ml/experiments")).json()["items"]
    assert item["gate"] is None
    assert "gate's result cannot be read" in item["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"config": {}}, "config.name"),
        ({"config": {"name": 7}}, "config.name"),
        ({"config": {"name": "  "}}, "config.name"),
        ({"config": {"name": "x" * 101}}, "config.name"),
        ({"config": ["name"]}, "config"),
        ({}, "config"),
        ({"config": {"name": "x"}, "more": 1}, "more"),
        ([], "body"),
        ("text", "body"),
    ],
)
async def test_a_body_that_is_no_experiment_is_refused_with_the_field(rig, http, body, field):
    assert problem(await http.post("/ml/experiments", json=body), 422)["field"] == field
    assert await rig.deps.jobs.list() == []


async def test_broken_json_is_refused(http):
    headers = {"content-type": "application/json"}
    assert problem(await http.post("/ml/experiments", content=b"{", headers=headers), 422)["field"] == "body"


async def test_an_oversized_body_is_refused_announced_or_not(http):
    big = b'{"config": {"name": "x", "pad": "' + b"y" * MAX_BODY_BYTES + b'"}}'

    async def chunks():
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    headers = {"content-type": "application/json"}
    assert (
        str(MAX_BODY_BYTES)
        in problem(await http.post("/ml/experiments", content=big, headers=headers), 422)["expected"]
    )
    problem(await http.post("/ml/experiments", content=chunks(), headers=headers), 422)


async def test_an_unknown_experiment_is_404(http):
    assert problem(await http.get("/ml/experiments/exp-9"), 404)["code"] == "unknown_experiment"
