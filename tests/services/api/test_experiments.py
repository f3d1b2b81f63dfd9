"""Experiments over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tapelab.api.middleware import MAX_BODY_BYTES
from tapelab.common import topics
from tapelab.common.codec import decode
from tapelab.common.experiments.reading import ConfigMisfit, parse_config
from tests.services.api.conftest import problem


async def test_a_posted_experiment_is_queued_recorded_and_announced(rig, http):
    config = {"name": "first", "label": {"horizon_s": 10}, "cut_ts_ns": "1793797200000000001", "costs": None}
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
        ({"config": {"name": "../x"}}, "config.name"),
        ({"config": {"name": "a b"}}, "config.name"),
        ({"config": {"name": "x\n"}}, "config.name"),
        ({"config": {"name": "x\x1b[31m"}}, "config.name"),
        ({"config": {"name": "x", "source": {"format": "\x00"}}}, "config"),
        ({"config": {"name": "x", "note": 1}}, "config.note"),
        ({"config": {"name": "x", "label": {"horizon": 5}}}, "config.label.horizon"),
        ({"config": {"name": "x", "label": {"horizon_s": -1}}}, "config.label.horizon_s"),
        ({"config": {"name": "x", "label": {"horizon_s": "soon"}}}, "config.label.horizon_s"),
        ({"config": {"name": "x", "label": {"kind": "quantile"}}}, "config.label.kind"),
        ({"config": {"name": "x", "label": {"upper": 3}}}, "config.label.upper"),
        ({"config": {"name": "x", "label": [1]}}, "config.label"),
        ({"config": {"name": "x", "model": {"n_estimators": 1e9}}}, "config.model.n_estimators"),
        ({"config": {"name": "x", "bars": "tick:none"}}, "config.bars"),
        ({"config": {"name": "x", "feature_set": "mine"}}, "config.feature_set"),
        ({"config": {"name": "x", "normaliser": {}}}, "config.normaliser"),
        ({"config": {"name": "x", "spans": [{"symbol": "WINZ26"}]}}, "config.spans[0].stream"),
        ({"config": {"name": "x", "symbols": ["WINZ26", "NOBODY"]}}, "config.symbols[1]"),
        ({"config": {"name": "x", "symbols": ["WINZ26"], "roots": ["WIN"]}}, "config.symbols"),
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


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_queued_and_a_running_experiment_are_stopped_recorded_and_announced(rig, http, claimed):
    made = (await http.post("/ml/experiments", json={"config": {"name": "x"}})).json()
    if claimed:
        await rig.deps.jobs.claim("w")
    body = {"action": "stop", "reason": "wrong tape"}
    response = await http.post(f"/ml/experiments/{made['id']}/actions", json=body)
    assert response.status_code == 202
    stopped = response.json()
    assert (stopped["status"], stopped["error"]) == ("stopped", "wrong tape")
    shown = (await http.get(f"/ml/experiments/{made['id']}")).json()
    assert [event["data"]["status"] for event in shown["events"]] == ["queued", "stopped"]
    topic, key, value = rig.sent[-1]
    assert (topic, key, decode(topic, value).data) == (
        topics.EVENTS,
        made["id"],
        {"status": "stopped", "reason": "wrong tape"},
    )
    assert not await rig.deps.jobs.heartbeat(made["id"], "w")
    assert b'"status":"stopped"' in rig.deps.experiments.snapshot()


async def test_stopping_what_has_ended_is_a_conflict_that_says_how_it_ended(rig, http):
    made = (await http.post("/ml/experiments", json={"config": {"name": "x"}})).json()
    await rig.deps.jobs.set_status(made["id"], "done")
    said = problem(await http.post(f"/ml/experiments/{made['id']}/actions", json={"action": "stop"}), 409)
    assert (said["code"], said["actual"]) == ("experiment_ended", "done")
    assert "queued or running" in said["expected"]


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "action"), ({"action": "explode"}, "action"), ({"action": "stop", "reason": "a\nb"}, "reason")],
)
async def test_an_action_that_there_is_not_is_refused(http, body, field):
    made = (await http.post("/ml/experiments", json={"config": {"name": "x"}})).json()
    assert problem(await http.post(f"/ml/experiments/{made['id']}/actions", json=body), 422)["field"] == field


async def test_stopping_an_unknown_experiment_is_404_and_needs_a_login(http, locked):
    problem(await http.post("/ml/experiments/exp-9/actions", json={"action": "stop"}), 404)
    async with locked.client() as stranger:
        problem(await stranger.post("/ml/experiments/exp-9/actions", json={"action": "stop"}), 401)


async def test_the_documented_call_starts_an_experiment_that_the_trainer_understands(rig, http, repository):
    text = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    (url, body) = re.search(r"curl -sS -X POST http://127\.0\.0\.1:8800(/\S+)[^`]*? -d '([^']*)'", text).groups()
    headers = {"content-type": "application/json"}
    response = await http.post(url, content=body, headers=headers)
    assert response.status_code == 201, response.text
    config = parse_config((await rig.deps.jobs.claim("w")).config)
    assert (config.name, config.source.kind) == ("first", "ticks_raw")


async def test_the_documented_call_stops_an_experiment(http, repository):
    text = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    (body,) = re.search(r"/ml/experiments/ID/actions[^`]*? -d '([^']*)'", text).groups()
    made = (await http.post("/ml/experiments", json={"config": {"name": "x"}})).json()
    headers = {"content-type": "application/json"}
    response = await http.post(f"/ml/experiments/{made['id']}/actions", content=body, headers=headers)
    assert response.json()["status"] == "stopped"


@pytest.mark.parametrize("path", ["/ml/experiments/%00", "/ml/models/%00"])
async def test_text_that_no_store_can_hold_is_the_requests_fault(http, path):
    assert problem(await http.get(path), 422)["code"] == "invalid_request"


async def test_a_lone_surrogate_is_the_requests_fault(http):
    raw = b'{"config": {"name": "a", "symbols": ["IB\\ud800M"]}}'
    answer = await http.post("/ml/experiments", content=raw, headers={"content-type": "application/json"})
    assert problem(answer, 422)["code"] == "invalid_request"


async def test_a_refusal_says_what_the_trainer_would_have_said(http):
    raw = {"name": "x", "label": {"horizon_s": 0}}
    said = problem(await http.post("/ml/experiments", json={"config": raw}), 422)
    with pytest.raises(ConfigMisfit) as refused:
        parse_config(raw)
    assert (said["expected"], said["actual"]) == (refused.value.expected, refused.value.actual)
    assert said["expected"] == "label.horizon_s >= 0.001"
    assert "correct it" in said["remedy"]


def test_the_door_needs_no_training_library():
    code = (
        "import sys; import tapelab.api.routes.experiments;"
        "assert not {'lightgbm', 'sklearn', 'treelite', 'onnxruntime', 'tapelab.trainer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
