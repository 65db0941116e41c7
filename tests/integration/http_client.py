#!/usr/bin/python3
"""A client of the HTTP interface as Keboola's PHP client is one: registers, stores, lists, shows,
seals, deletes, and shows what is refused. Prints one line a request: its name, the status and the
body, with what is new in every run replaced; a test compares the lines with a golden file.

http_client.py ORIGIN MANAGE_TOKEN TOKEN OTHER_TOKEN"""
import json
import re
import sys
import urllib.error
import urllib.request

ORIGIN, MANAGE, TOKEN, OTHER = sys.argv[1:5]
PAIR = "/credentials/acme.ex-drive"


def ask(name, method, path, body=None, token=None, manage=None, content_type=None):
    request = urllib.request.Request(ORIGIN + path, method=method)
    request.add_header("X-Request-Id", name)
    if body is not None:
        request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        # urllib would say that a body is a form; the original sends JSON, and a PATCH nothing.
        request.add_header("Content-Type", content_type or "application/json")
    if token:
        request.add_header("X-StorageApi-Token", token)
    if manage:
        request.add_header("X-KBC-ManageApiToken", manage)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    assert "canary" not in text, "a value came back: " + text
    shown = re.sub(r"token/[0-9a-f]{32}", "token/ID", text)
    shown = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", shown)
    shown = re.sub(r"(KBC::\w+::)[A-Za-z0-9+/=_-]+", r"\1SEALED", shown)
    print(f"{name}: {method} {path} {status} {shown}".rstrip())
    return text


def main():
    component = {"component_id": "acme.ex-drive", "friendly_name": "Drive",
                 "app_key": "w51u7j30oghe412", "app_secret": "component secret",
                 "auth_url": "https://drive.example/authorize?client_id=%%client_id%%",
                 "token_url": "https://drive.example/token", "oauth_version": "2.0"}
    ask("register", "POST", "/manage", component, manage=MANAGE)
    ask("register-again", "POST", "/manage", component, manage=MANAGE)
    ask("components", "GET", "/manage", manage=MANAGE)
    ask("component", "GET", "/manage/acme.ex-drive", manage=MANAGE)
    ask("change", "PATCH", "/manage/acme.ex-drive", {"friendly_name": "Acme Drive"}, manage=MANAGE)

    raw = b'{"id":"main","authorizedFor":"Myself","data":{ "access_token" : "canary-1" }}'
    ask("store-older", "POST", PAIR, raw, token=TOKEN)
    ask("store-current", "POST", PAIR,
        {"id": "own-app", "authorizedFor": "Ann", "#data": '{"access_token":"canary-2"}',
         "appKey": "own", "appSecret": "canary-3"}, token=TOKEN)
    ask("list", "GET", PAIR, token=TOKEN)
    shown = ask("show", "GET", PAIR + "/main", token=TOKEN)
    keys = json.loads(shown)
    eight = ["id", "authorizedFor", "creator", "created", "#data", "oauthVersion", "appKey",
             "#appSecret"]
    assert "code" in keys or list(keys) == eight, shown
    ask("encrypt", "POST", "/encrypt?componentId=acme.ex-drive&projectId=acme",
        {"#password": "canary-4", "host": "db.example", "nested": [{"#key": None}]}, token=TOKEN)
    ask("encrypt-text", "POST", "/encrypt?componentId=acme.ex-drive&projectId=acme",
        b"canary-5", token=TOKEN, content_type="text/plain")

    ask("no-token", "GET", PAIR)
    ask("wrong-token", "GET", PAIR, token="ovt_" + "0" * 64)
    ask("manage-token-for-a-project", "GET", PAIR, token=MANAGE)
    ask("project-token-for-manage", "GET", "/manage", manage=TOKEN)
    ask("other-project-list", "GET", PAIR, token=OTHER)
    ask("other-project-show", "GET", PAIR + "/main", token=OTHER)
    ask("other-project-absent", "GET", PAIR + "/absent", token=OTHER)
    ask("other-project-delete", "DELETE", PAIR + "/main", token=OTHER)
    ask("other-project-encrypt", "POST", "/encrypt?componentId=acme.ex-drive&projectId=acme",
        {"#a": "b"}, token=OTHER)
    ask("bad-id", "GET", PAIR + "/canary%20x", token=TOKEN)
    ask("no-json", "POST", PAIR, b"canary", token=TOKEN)
    ask("twice", "POST", PAIR, b'{"id":"a","id":"canary"}', token=TOKEN)
    ask("both-forms", "POST", PAIR, {"id": "a", "data": {}, "#data": "x"}, token=TOKEN)
    ask("no-route", "GET", "/v2/credentials", token=TOKEN)
    ask("no-method", "PUT", PAIR, {}, token=TOKEN)
    ask("too-large", "POST", PAIR, b"x" * (256 * 1024 + 1), token=TOKEN)
    ask("authorize", "POST", "/authorize/acme.ex-drive", b"id=main",
        content_type="application/x-www-form-urlencoded")
    ask("callback", "GET", "/authorize/acme.ex-drive/callback?code=canary")

    ask("delete", "DELETE", PAIR + "/main", token=TOKEN)
    ask("delete-again", "DELETE", PAIR + "/main", token=TOKEN)
    ask("in-use", "DELETE", "/manage/acme.ex-drive", manage=MANAGE)
    ask("health", "GET", "/health")
    ask("live", "GET", "/health/live")


main()
