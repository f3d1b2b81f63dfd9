"""The static page and the headers around it."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest

from tapelab.api.page import content_security_policy
from tests.services.api.conftest import build, problem

HTML = '<!doctype html><script src="/_next/static/a.js"></script><script>self.x = "</b> &amp;"\n</script>'


def digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@pytest.fixture
async def site(pool, redis_client, tmp_path, repository, clock):
    out = tmp_path / "out"
    (out / "dashboard/ai-lab").mkdir(parents=True)
    (out / "_next/static").mkdir(parents=True)
    (out / "dashboard/ai-lab/index.html").write_text(HTML)
    (out / "404.html").write_text("<script>lost()</script>")
    (out / "_next/static/a.js").write_text("1;" * 2000)
    async with build(pool, redis_client, tmp_path, repository, clock).client() as http:
        yield http


async def test_the_root_leads_to_the_page(site):
    response = await site.get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/dashboard/ai-lab/")


async def test_the_page_is_served_with_a_policy_of_exactly_its_own_scripts(site, tmp_path):
    response = await site.get("/dashboard/ai-lab/")
    assert response.text == HTML
    policy = response.headers["content-security-policy"]
    inline = digest('self.x = "</b> &amp;"\n')
    assert f"script-src 'self' {inline};" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["cache-control"] == "no-cache"
    index = tmp_path / "out/dashboard/ai-lab/index.html"
    index.write_text("<script>new()</script>")
    os.utime(index, ns=(1, 1))
    assert digest("new()") in (await site.get("/dashboard/ai-lab/")).headers["content-security-policy"]


async def test_a_deep_link_without_its_slash_and_with_a_query_works(site):
    response = await site.get("/dashboard/ai-lab?tab=x", follow_redirects=True)
    assert (response.status_code, str(response.url)) == (200, "http://127.0.0.1:8800/dashboard/ai-lab/?tab=x")


async def test_hashed_assets_are_kept_and_compressed(site):
    response = await site.get("/_next/static/a.js", headers={"accept-encoding": "gzip"})
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_missing_page_is_the_sites_own_404_and_a_missing_call_is_a_problem(site):
    lost = await site.get("/nothing/")
    assert lost.status_code == 404
    assert digest("lost()") in lost.headers["content-security-policy"]
    problem(await site.get("/ml/nothing"), 404)
    problem(await site.get("/auth/nothing"), 404)
    problem(await site.post("/dashboard/ai-lab/"), 405)


async def test_no_path_leaves_the_folder(site, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/dashboard/../../secret.txt"):
        assert "secret" not in (await site.get(path)).text


async def test_without_a_build_the_answer_names_the_command(http):
    response = await http.get("/dashboard/ai-lab/")
    assert response.status_code == 503
    assert "make page" in response.text
    assert (await http.get("/")).headers["location"] == "/dashboard/ai-lab/"
    assert (await http.get("/ml/signals")).status_code == 200


async def test_api_answers_run_nothing_and_are_not_kept(http):
    headers = (await http.get("/ml/signals")).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"


def test_line_ends_are_hashed_as_a_browser_reads_them():
    assert digest("a\nb") in content_security_policy("<script>a\r\nb</script>")
