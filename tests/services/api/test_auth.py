"""Who may talk to the gateway."""

from __future__ import annotations

import pytest

from tapelab.api.auth import COOKIE, SESSION_S
from tapelab.api.settings import ApiSettings, check_exposure, is_loopback
from tapelab.common.errors import ConfigError
from tests.services.api.conftest import TOKEN, build, problem

OTHER = {"origin": "https://evil.example"}


async def test_on_loopback_without_a_token_it_is_open(http):
    assert (await http.get("/ml/signals")).status_code == 200


async def test_a_foreign_host_name_cannot_reach_an_open_gateway(rig):
    async with rig.client("http://evil.example:8800") as http:
        assert problem(await http.get("/ml/signals"), 403)["code"] == "foreign_host"


@pytest.mark.parametrize("host", ["localhost:8800", "127.0.0.1", "[::1]:8800"])
async def test_every_loopback_name_is_fine(rig, host):
    async with rig.client(f"http://{host}") as http:
        assert (await http.get("/healthz")).status_code == 200


async def test_changes_asked_for_by_another_sites_page_are_refused(http):
    body = {"config": {"name": "x"}}
    assert problem(await http.post("/ml/experiments", json=body, headers=OTHER), 403)["code"] == "foreign_origin"
    assert problem(await http.delete("/ml/halts/WINZ26", headers={"origin": "null"}), 403)["code"] == "foreign_origin"
    own = {"origin": "http://127.0.0.1:8800"}
    assert (await http.post("/ml/experiments", json=body, headers=own)).status_code == 201


async def test_an_allowed_origin_may(pool, redis_client, tmp_path, repository, clock):
    rig = build(pool, redis_client, tmp_path, repository, clock, allowed_origins="http://localhost:3000")
    async with rig.client() as http:
        headers = {"origin": "http://localhost:3000"}
        assert (await http.delete("/ml/halts/WINZ26", headers=headers)).status_code == 204


@pytest.mark.parametrize("path", ["/ml/signals", "/ml/data/status", "/openapi.json", "/dashboard/ai-lab/", "/ml/none"])
async def test_with_a_token_everything_needs_a_login(locked, path):
    async with locked.client("http://lab.example") as http:
        response = await http.get(path)
        assert problem(response, 401)["code"] == "login_required"
        assert response.headers["www-authenticate"] == "Bearer"
        assert (await http.get("/healthz")).status_code == 200


async def test_a_browser_is_sent_to_the_login_page_and_back(locked):
    async with locked.client("http://lab.example") as http:
        sent = await http.get("/dashboard/ai-lab/?tab=x", headers={"accept": "text/html"})
        assert (sent.status_code, sent.headers["location"]) == (303, "/auth/login?next=/dashboard/ai-lab/")
        form = await http.get(sent.headers["location"])
        assert 'action="/auth/login?next=/dashboard/ai-lab/"' in form.text
        wrong = await http.post("/auth/login", data={"token": "no"})
        assert (wrong.status_code, "not the token" in wrong.text) == (401, True)
        right = await http.post(sent.headers["location"], data={"token": TOKEN})
        assert (right.status_code, right.headers["location"]) == (303, "/dashboard/ai-lab/")
        cookie = right.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert (await http.get("/ml/signals")).status_code == 200


async def test_login_never_leads_to_another_site(locked):
    async with locked.client("http://lab.example") as http:
        for target in ("https://evil.example", "//evil.example", "/\\evil.example"):
            right = await http.post("/auth/login", params={"next": target}, data={"token": TOKEN})
            assert right.headers["location"] == "/dashboard/ai-lab/"
        page = await http.get("/auth/login", params={"next": '/"><script>alert(1)</script>'})
        assert "<script>" not in page.text


async def test_json_login_and_bearer_tokens(locked):
    async with locked.client("http://lab.example") as http:
        assert problem(await http.post("/auth/login", json={"token": "no"}), 401)["code"] == "wrong_token"
        assert problem(await http.post("/auth/login", json={"tok": 1}), 422)["field"] == "body"
        assert (await http.post("/auth/login", json={"token": TOKEN})).status_code == 204
        assert (await http.get("/ml/signals")).status_code == 200
        await http.post("/auth/logout")
        assert (await http.get("/ml/signals")).status_code == 401
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert (await http.get("/ml/signals", headers=bearer)).status_code == 200
        assert (await http.get("/ml/signals", headers={"authorization": "Bearer no"})).status_code == 401


async def test_a_session_ends(locked, clock):
    async with locked.client("http://lab.example") as http:
        await http.post("/auth/login", json={"token": TOKEN})
        cookie = http.cookies[COOKIE]
        clock.advance(SESSION_S + 1)
        response = await http.get("/ml/signals", headers={"cookie": f"{COOKIE}={cookie}"})
        assert response.status_code == 401


@pytest.mark.parametrize("value", ["", "9999999999", "9999999999.", "9999999999." + "0" * 64, "x.y"])
async def test_a_cookie_that_is_not_ours_is_refused(locked, value):
    async with locked.client("http://lab.example") as http:
        response = await http.get("/ml/signals", headers={"cookie": f"{COOKIE}={value}"})
        assert response.status_code == 401


async def test_an_open_gateway_has_no_login(http):
    assert problem(await http.post("/auth/login", json={"token": ""}), 401)["code"] == "wrong_token"


def test_binding_off_loopback_without_a_token_fails_at_start():
    with pytest.raises(ConfigError, match="TAPELAB_API_TOKEN"):
        check_exposure(ApiSettings(host="0.0.0.0"))
    check_exposure(ApiSettings(host="127.0.0.1"))
    check_exposure(ApiSettings(host="0.0.0.0", token=TOKEN))


@pytest.mark.parametrize("token", ["changeme", "aaaaaaaaaaaaaaaaaaaaaaaa"])
def test_a_token_that_can_be_guessed_fails_at_start(token):
    with pytest.raises(ConfigError, match="guessed") as caught:
        check_exposure(ApiSettings(host="0.0.0.0", token=token))
    assert token not in str(caught.value)


def test_loopback_is_known_by_name_and_address():
    assert [is_loopback(h) for h in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")] == [True] * 5
    assert [is_loopback(h) for h in ("0.0.0.0", "", "10.0.0.1", "localhost.evil.example")] == [False] * 4


def test_a_malformed_list_of_services_is_refused():
    with pytest.raises(ConfigError, match="TAPELAB_API_SERVICES"):
        _ = ApiSettings(services="bars=127.0.0.1:1").service_addresses
